"""A table of image files."""

import csv

import numpy as np
import pandas
import pytest

from keras_gradattn import datasets
from tests.datasets.image_folders import flat, write_image

pytestmark = pytest.mark.any_backend
PARTS = ("train", "validation", "test")


def rows_of(count=24):
    """Three images a patient; the level says the image."""
    return [
        {
            "file": f"scans/{number}.png",
            "finding": ("none", "tumour")[number // 3 % 2],
            "patient": f"P{number // 3}",
            "set": ("train", "train", "val", "test")[number // 3 % 4],
            "edema": str(number % 2),
            "cough": str(number % 3 == 0),
        }
        for number in range(count)
    ]


def write_table(folder, rows, name="labels.csv", separator=",", encoding="utf-8"):
    for number, row in enumerate(rows):
        if row["file"]:
            write_image(folder / row["file"], flat(number))
    path = folder / name
    with path.open("w", newline="", encoding=encoding) as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=separator)
        writer.writeheader()
        writer.writerows(rows)
    return path


def levels(part):
    return np.asarray(part.images)[:, 0, 0, 0]


@pytest.mark.parametrize(
    ("name", "separator", "encoding"),
    [
        ("labels.csv", ",", "utf-8"),
        ("labels.tsv", "\t", "utf-8-sig"),
        ("labels.csv", ";", "utf-8"),
    ],
)
def test_patients_are_in_one_part(tmp_path, name, separator, encoding):
    table = write_table(tmp_path, rows_of(), name, separator, encoding)
    splits = datasets.from_table(table, images="file", label="finding", group="patient")
    assert splits.spec.class_names == ("none", "tumour")
    assert splits.spec.name == "labels"
    patients = [set(levels(getattr(splits, part)) // 3) for part in PARTS]
    assert sum(map(len, patients)) == 8
    assert min(map(len, patients)) >= 1
    for part in PARTS:
        split = getattr(splits, part)
        np.testing.assert_array_equal(levels(split) // 3 % 2, split.labels)


def test_a_column_of_parts(tmp_path):
    table = write_table(tmp_path, rows_of())
    splits = datasets.from_table(table, images="file", label="finding", part="set")
    assert [len(getattr(splits, part)) for part in PARTS] == [12, 6, 6]
    assert set(levels(splits.validation) // 3) == {2, 6}
    with pytest.raises(
        ValueError, match=r"should say train, val or test. Received: 'P"
    ):
        datasets.from_table(table, images="file", label="finding", part="patient")


def test_a_data_frame_and_bare_names(tmp_path):
    rows = rows_of()
    write_table(tmp_path, rows)
    frame = pandas.DataFrame(rows)
    frame["file"] = [str(number) for number in range(len(rows))]
    frame["grade"] = [number % 3 + 1 for number in range(len(rows))]
    splits = datasets.from_table(
        frame, images="file", label="grade", folder=tmp_path, name="lungs"
    )
    assert splits.spec.class_names == ("1", "2", "3")
    assert splits.spec.title == "lungs"
    for part in PARTS:
        split = getattr(splits, part)
        np.testing.assert_array_equal(levels(split) % 3, split.labels)


def test_several_columns_of_labels(tmp_path):
    table = write_table(tmp_path, rows_of())
    splits = datasets.from_table(table, images="file", label=["edema", "cough"])
    assert splits.spec.multi_label
    assert splits.spec.class_names == ("edema", "cough")
    expected = np.stack([levels(splits.train) % 2, levels(splits.train) % 3 == 0], 1)
    np.testing.assert_array_equal(splits.train.labels, expected)
    with pytest.raises(ValueError, match="'finding' of several should be 0 and 1"):
        datasets.from_table(table, images="file", label=["edema", "finding"])


def test_bad_rows_and_files_are_in_one_list(tmp_path):
    rows = rows_of(30)
    rows[1]["finding"] = ""
    rows[2]["file"] = ""
    rows[3]["patient"] = ""
    table = write_table(tmp_path, rows)
    (tmp_path / "scans" / "5.png").unlink()
    (tmp_path / "scans" / "6.png").write_bytes(b"")
    arguments = {"images": "file", "label": "finding", "group": "patient"}
    with pytest.raises(datasets.BadFilesError) as error:
        datasets.from_table(table, **arguments)
    message = str(error.value)
    assert message.startswith("5 of 30 files")
    for part in (
        "'row 2' (no finding)",
        "'row 3' (no file)",
        "'row 4' (no patient)",
        "'scans/5.png' (no such file)",
        "6.png' (empty)",
    ):
        assert part in message
    with pytest.warns(UserWarning, match="5 of 30 files"):
        splits = datasets.from_table(table, on_bad="skip", **arguments)
    assert sum(splits.spec.split_sizes.values()) == 25
    assert len(splits.bad_files) == 5


def test_what_is_wrong_with_a_table(tmp_path):
    table = write_table(tmp_path, rows_of())
    with pytest.raises(
        ValueError, match=r"Did you mean 'finding'.*Received: 'findings'"
    ):
        datasets.from_table(table, images="file", label="findings")
    with pytest.raises(datasets.DatasetNotFoundError, match="no such table"):
        datasets.from_table(tmp_path / "none.csv", images="file", label="finding")
    broken = tmp_path / "broken.csv"
    broken.write_text("file,finding\na.png,x\nb.png\n")
    with pytest.raises(ValueError, match="Received: 1 cells in row 2"):
        datasets.from_table(broken, images="file", label="finding")
    broken.write_bytes(b"file,finding\n\xff\xfe,\xfa\n")
    with pytest.raises(ValueError, match="in UTF-8"):
        datasets.from_table(broken, images="file", label="finding")
    broken.write_text("")
    with pytest.raises(ValueError, match="Received: 0 rows"):
        datasets.from_table(broken, images="file", label="finding")
    twice = rows_of()
    twice[4]["file"] = twice[5]["file"]
    table = write_table(tmp_path, twice)
    with pytest.raises(ValueError, match=r"list an image once.*5\.png"):
        datasets.from_table(table, images="file", label="finding")


def test_rare_classes_count_patients(tmp_path):
    rows = rows_of()
    for row in rows[:6]:
        row["finding"] = "rare"
    table = write_table(tmp_path, rows)
    arguments = {"images": "file", "label": "finding", "group": "patient"}
    with pytest.raises(ValueError, match=r"3 groups.*Received: 'rare' \(2\)"):
        datasets.from_table(table, **arguments)
    splits = datasets.from_table(table, on_rare="train", **arguments)
    rare = splits.spec.class_names.index("rare")
    assert [int((getattr(splits, part).labels == rare).sum()) for part in PARTS] == [
        6,
        0,
        0,
    ]


def test_a_path_means_the_file_in_its_folder(tmp_path):
    """Another folder's file of the same name is another image."""
    rows = [{"file": f"{kind}/{n}", "kind": kind} for n in range(9) for kind in "ab"]
    for number, row in enumerate(rows):
        write_image(tmp_path / f"{row['file']}.png", flat(number))
    (tmp_path / "a" / "4.png").unlink()
    table = tmp_path / "labels.csv"
    lines = [f"{row['file']}.png,{row['kind']}" for row in rows]
    table.write_text("\n".join(["file,kind", *lines]))
    with pytest.raises(datasets.BadFilesError, match=r"1 of 18 .*'a/4\.png' \(no such"):
        datasets.from_table(table, images="file", label="kind")
    # Without endings: `./` is no other folder.
    frame = pandas.DataFrame(rows).drop(index=8)
    frame["file"] = "./" + frame["file"]
    splits = datasets.from_table(frame, images="file", label="kind", folder=tmp_path)
    assert sum(splits.spec.split_sizes.values()) == 17
    for part in PARTS:
        split = getattr(splits, part)
        np.testing.assert_array_equal(levels(split) % 2, split.labels)


def test_a_name_that_several_files_have(tmp_path):
    rows = [{"file": f"{n}.png", "kind": "ab"[n % 2]} for n in range(16)]
    for number, row in enumerate(rows):
        write_image(tmp_path / "scans" / row["file"], flat(number))
    write_image(tmp_path / "old" / "3.png", flat(99))
    (tmp_path / "links").symlink_to(tmp_path / "scans")
    frame = pandas.DataFrame(rows)
    arguments = {"images": "file", "label": "kind", "folder": tmp_path}
    for ending in (".png", ""):
        frame["file"] = [f"{n}{ending}" for n in range(16)]
        with pytest.raises(datasets.BadFilesError) as error:
            datasets.from_table(frame, **arguments)
        found = [(bad.path, bad.reason) for bad in error.value.files]
        assert found == [(f"3{ending}", "several files of this name")]
    frame.loc[3, "file"] = "scans/3.png"
    splits = datasets.from_table(frame, **arguments)
    seen = np.concatenate([levels(getattr(splits, part)) for part in PARTS])
    assert sorted(seen) == list(range(16))


def test_an_image_that_is_listed_twice_in_other_words(tmp_path):
    rows = rows_of()
    write_table(tmp_path, rows)
    rows[4]["file"] = "./scans/../scans/5.png"
    frame = pandas.DataFrame(rows)
    with pytest.raises(ValueError, match=r"list an image once.*5\.png"):
        datasets.from_table(frame, images="file", label="finding", folder=tmp_path)


def test_a_column_that_is_there_twice(tmp_path):
    """Its cells would stand one behind the other, beside other images."""
    table = write_table(tmp_path, rows_of())
    lines = table.read_text().splitlines()
    lines = [f"{line},{line.split(',')[1]},," for line in lines[1:]]
    header = "file,finding,patient,set,edema,cough,"
    table.write_text("\n".join([f"{header}finding,,", *lines]))
    message = r"each column once.*Received: 'finding' several times"
    with pytest.raises(ValueError, match=message):
        datasets.from_table(table, images="file", label="finding")
    frame = pandas.DataFrame(rows_of())
    frame = pandas.concat([frame, frame[["finding"]]], axis=1)
    with pytest.raises(ValueError, match=message):
        datasets.from_table(frame, images="file", label="finding", folder=tmp_path)
    # What has no name is no column.
    table.write_text("\n".join([f"{header}again,,", *lines]))
    splits = datasets.from_table(table, images="file", label="again")
    assert sum(splits.spec.split_sizes.values()) == 24
    np.testing.assert_array_equal(levels(splits.test) // 3 % 2, splits.test.labels)


def test_columns_of_different_lengths(tmp_path):
    columns = {"file": ["1.png", "2.png"], "kind": ["a", "b", "a"]}
    with pytest.raises(ValueError, match=r"one length. Received: 2 rows of 'file', 3"):
        datasets.from_table(columns, images="file", label="kind", folder=tmp_path)
