"""Small folders of image files."""

import numpy as np
from PIL import Image


def write_image(path, pixels=None, seed=0, **options):
    """An image file, with folders that lead to it; returns the path."""
    if pixels is None:
        pixels = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), "uint8")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def flat(level, shape=(12, 12, 3)):
    """Pixels of one level."""
    return np.full(shape, level, "uint8")


def write_classes(folder, classes=("cat", "dog"), count=10):
    """PNG files, each of one level that tells its class and number."""
    for code, name in enumerate(classes):
        for number in range(count):
            pixels = flat(100 * code + number)
            write_image(folder / name / f"{number}.png", pixels)
    return folder
