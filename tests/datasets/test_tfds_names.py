"""Data sets of TFDS that have no description here."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from keras_gradattn import datasets

pytestmark = pytest.mark.any_backend
PARTS = ("train", "validation", "test")


def write(folder, splits, *, file_format, shape=(10, 12, 3), names=("cat", "dog")):
    """A data set that TFDS has prepared; called `pets`."""
    features = tfds.features.FeaturesDict(
        {
            "id": np.int64,
            "picture": tfds.features.Image(shape=shape, encoding_format="png"),
            "kind": tfds.features.ClassLabel(names=names),
        }
    )

    class Pets(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")
        name = "pets"

        def _info(self):
            return self.dataset_info_from_configs(
                features=features, supervised_keys=("picture", "kind")
            )

        def _split_generators(self, dl_manager):
            return {
                name: self._generate_examples(count) for name, count in splits.items()
            }

        def _generate_examples(self, count):
            for row in range(count):
                height = shape[0] or 8 + row
                pixels = np.full((height, shape[1] or 9, 3), 100 * (row % 2) + row)
                yield (
                    row,
                    {
                        "id": row // 2,
                        "picture": pixels.astype("uint8"),
                        "kind": row % 2,
                    },
                )

    builder = Pets(data_dir=str(folder), file_format=file_format)
    builder.download_and_prepare()
    return builder


@pytest.fixture
def pets(tmp_path, monkeypatch):
    """Prepares `pets` and makes its name known."""

    def prepare(splits, **options):
        builder = write(tmp_path, splits, **options)
        monkeypatch.setattr(tfds, "list_builders", lambda **_: ["pets", "beans"])
        monkeypatch.setattr(tfds, "builder", lambda *_, **__: builder)
        return tmp_path

    return prepare


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
@pytest.mark.parametrize(
    ("splits", "sizes"),
    [
        ({"train": 40}, [28, 6, 6]),
        ({"train": 20, "validation": 6, "test": 8}, [20, 6, 8]),
        ({"train": 20, "test": 8}, [17, 3, 8]),
        ({"everything": 40}, [28, 6, 6]),
    ],
)
def test_any_name(pets, file_format, splits, sizes):
    folder = pets(splits, file_format=file_format)
    loaded = datasets.load("pets", data_dir=folder)
    spec = loaded.spec
    assert (spec.name, spec.class_names) == ("pets", ("cat", "dog"))
    assert spec.input_shape == (10, 10, 3)
    assert [len(getattr(loaded, part)) for part in PARTS] == sizes
    for part in PARTS:
        split = getattr(loaded, part)
        levels = np.asarray(split.images)[:, 0, 0, 0]
        np.testing.assert_array_equal(levels >= 100, split.labels)
    assert "prepare pets" in spec.how_to_get


def test_images_of_any_size_and_groups(pets):
    folder = pets({"train": 40}, file_format="array_record", shape=(None, None, 3))
    loaded = datasets.from_tfds("pets", data_dir=folder, size=6, group="id", limit=9)
    assert loaded.spec.input_shape == (6, 6, 3)
    # Two images have one number, and the level tells the image.
    groups = [
        {int(level) % 100 // 2 for level in np.asarray(split.images)[:, 0, 0, 0]}
        for split in (loaded.train, loaded.validation, loaded.test)
    ]
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]


def test_wrong_names_and_features(pets):
    folder = pets({"train": 40}, file_format="array_record")
    with pytest.raises(
        ValueError, match=r"Did you mean 'pets'.*Received: name='pests'"
    ):
        datasets.load("pests", data_dir=folder)
    with pytest.raises(ValueError, match=r"has the features .*Received: 'label'"):
        datasets.from_tfds("pets", data_dir=folder, label="label")
    with pytest.raises(ValueError, match="resize='no'"):
        datasets.from_tfds("pets", data_dir=folder, resize="no")


def test_not_prepared(tmp_path):
    with pytest.raises(datasets.DatasetNotFoundError, match="prepare beans"):
        datasets.load("beans", data_dir=tmp_path)
