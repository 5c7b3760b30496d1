"""Small data sets in the real file formats."""

import csv
import io
import pickle
import struct
import tarfile
import zipfile

import numpy as np
from PIL import Image

from keras_gradattn.datasets import SPECS
from keras_gradattn.datasets.med_mnist.facts import FACTS


def write_med_mnist(path, flag="bloodmnist", size=28, counts=(24, 8, 8), seed=0):
    """A file in the MedMNIST layout; returns its arrays."""
    random = np.random.default_rng(seed)
    facts = FACTS[flag]
    arrays = {}
    for part, count in zip(("train", "val", "test"), counts, strict=True):
        shape = (count, size, size, 3) if facts.channels == 3 else (count, size, size)
        arrays[f"{part}_images"] = random.integers(0, 256, shape, dtype="uint8")
        classes = len(facts.class_names)
        arrays[f"{part}_labels"] = (
            random.integers(0, 2, (count, classes), dtype="uint8")
            if facts.multi_label
            else (np.arange(count, dtype="uint8") % classes)[:, None]
        )
    np.savez(path, **arrays)
    return arrays


def image_bytes(image, kind):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind)
    return stream.getvalue()


def write_tiny_imagenet(
    path, classes=3, leave_out=(), extra=(), root="tiny-imagenet-200"
):
    """An archive in the layout of `tiny-imagenet-200.zip`."""
    random = np.random.default_rng(0)
    names = [f"n{10000000 + index}" for index in range(200)]
    members = {f"{root}/wnids.txt": "\n".join(names).encode() + b"\n"}
    lines = []
    for index, name in enumerate(names[:classes]):
        for image in range(4):
            shape = (64, 64) if image == 0 else (64, 64, 3)
            pixels = random.integers(0, 256, shape, dtype="uint8")
            members[f"{root}/train/{name}/images/{name}_{image}.JPEG"] = image_bytes(
                pixels, "JPEG"
            )
        members[f"{root}/train/{name}/{name}_boxes.txt"] = b"box\n"
        pixels = random.integers(0, 256, (64, 64, 3), dtype="uint8")
        members[f"{root}/val/images/val_{index}.JPEG"] = image_bytes(pixels, "JPEG")
        lines.append(f"val_{index}.JPEG\t{name}\t0\t0\t10\t10")
    members[f"{root}/val/val_annotations.txt"] = "\n".join(lines).encode() + b"\n"
    members[f"{root}/test/images/test_0.JPEG"] = members[
        f"{root}/val/images/val_0.JPEG"
    ]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if name.removeprefix(f"{root}/") not in leave_out:
                archive.writestr(name, content)
        for name in extra:
            archive.writestr(name, b"")


CIFAR10_CLASSES = SPECS["cifar10"].class_names


def cifar10_arrays(count=20):
    """Images and labels of each file of a small CIFAR-10."""
    random = np.random.default_rng(0)
    files = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    return {
        name: (
            random.integers(0, 256, (count, 32, 32, 3), dtype="uint8"),
            random.integers(0, 10, count),
        )
        for name in files
    }


def cifar10_members(layout, arrays, class_names=CIFAR10_CLASSES):
    """Files of the python or binary layout by name."""
    members = {}
    for name, (images, labels) in arrays.items():
        data = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        if layout == "binary":
            records = np.concatenate([labels[:, None].astype("uint8"), data], axis=1)
            members[f"{name}.bin"] = records.tobytes()
        else:
            batch = {
                b"batch_label": b"some batch",
                b"labels": labels.tolist(),
                b"data": data,
                b"filenames": [b"a.png"] * len(labels),
            }
            members[name] = pickle_of_python2(batch)
    if layout == "binary":
        members["batches.meta.txt"] = ("\n".join(class_names) + "\n\n").encode()
    else:
        names = [name.encode() for name in class_names]
        members["batches.meta"] = pickle_of_python2({b"label_names": names})
    return members


class _Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote its text."""

    def save_string(self, content):
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)

    dispatch = pickle._Pickler.dispatch | {bytes: save_string}


def pickle_of_python2(value):
    """The pickle that Python 2 with an old NumPy would have written."""
    stream = io.BytesIO()
    _Python2Pickler(stream, protocol=2).dump(value)
    return stream.getvalue().replace(
        b"numpy._core.multiarray", b"numpy.core.multiarray"
    )


def write_members(path, members, root):
    """Files as a folder, a zip or a tar archive, by the name of `path`."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(f"{root}/{name}", content)
    elif ".tar" in path.name:
        with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
            for name, content in members.items():
                entry = tarfile.TarInfo(f"{root}/{name}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    else:
        for name, content in members.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(content)


PAD_DIAGNOSES = ("BCC", "ACK", "NEV", "SEK", "SCC", "MEL")


def write_pad_ufes_20(folder, count=12, zipped=True, diagnoses=PAD_DIAGNOSES):
    """A folder in the layout of the Mendeley data set; returns the image names."""
    random = np.random.default_rng(0)
    images = folder / "images"
    images.mkdir(parents=True)
    rows = []
    for index in range(count):
        patient = f"PAT_{index // 2}"
        rows.append(
            {
                "patient_id": patient,
                "lesion_id": str(index),
                "smoke": "",
                "diagnostic": diagnoses[index % len(diagnoses)],
                "img_id": f"{patient}_{index}_{100 + index}.png",
                "biopsed": "True",
            }
        )
        pixels = random.integers(0, 256, (40 + index, 50, 3), dtype="uint8")
        content = image_bytes(pixels, "PNG")
        if zipped and index % 2:
            with zipfile.ZipFile(images / "imgs_part_1.zip", "a") as archive:
                archive.writestr(f"imgs_part_1/{rows[-1]['img_id']}", content)
        else:
            (images / rows[-1]["img_id"]).write_bytes(content)
    with (folder / "metadata.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return [row["img_id"] for row in rows]
