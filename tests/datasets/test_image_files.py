"""From image files of every kind to pixels."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from keras_gradattn.datasets.image_files import (
    BadFileError,
    ImageFiles,
    Reading,
    fit_array,
    read_header,
    read_image,
)
from tests.datasets.image_folders import flat, write_image

pytestmark = pytest.mark.any_backend


def noise(shape, dtype="uint8", high=256, seed=0):
    return np.random.default_rng(seed).integers(0, high, shape, dtype)


def test_a_png_of_the_size_comes_as_it_is(tmp_path):
    pixels = noise((9, 9, 3))
    path = write_image(tmp_path / "a.png", pixels)
    found = read_image(str(path), Reading(9, 3))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, pixels)


def test_grey_and_colour_become_one_another(tmp_path):
    grey = noise((9, 9))
    path = str(write_image(tmp_path / "a.png", grey))
    np.testing.assert_array_equal(
        read_image(path, Reading(9, 3)), np.repeat(grey[..., None], 3, axis=-1)
    )
    colour = noise((9, 9, 3))
    path = str(write_image(tmp_path / "b.png", colour))
    luma = colour @ np.array([0.299, 0.587, 0.114])
    found = read_image(path, Reading(9, 1))
    assert found.shape == (9, 9, 1)
    np.testing.assert_allclose(found[..., 0], luma, atol=1)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("bits", [12, 16])
def test_deep_grey_files_keep_their_levels(tmp_path, suffix, bits):
    white = 2**bits - 1
    pixels = noise((7, 7), "uint16", white + 1)
    path = str(write_image(tmp_path / f"a.{suffix}", pixels))
    header = read_header(path)
    assert (header.deep, header.integers, header.channels) == (True, True, 1)
    found = read_image(path, Reading(7, 1, levels=(0, white), deep=True))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[..., 0], pixels * (255 / white), rtol=1e-5)
    # Seen as 8 bits, never black.
    found = read_image(path, Reading(7, 3, levels=(0, white)))
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found[..., 2], pixels * (255 / white), atol=0.51)


def test_float_tiff(tmp_path):
    pixels = np.random.default_rng(0).random((7, 7), "float32")
    path = str(write_image(tmp_path / "a.tif", pixels))
    assert not read_header(path).integers
    found = read_image(path, Reading(7, 1, levels=(0, 1), deep=True))
    np.testing.assert_allclose(found[..., 0], 255 * pixels, rtol=1e-5)


def test_what_is_transparent_is_white(tmp_path):
    pixels = np.zeros((8, 8, 4), "uint8")
    pixels[:4] = (10, 20, 30, 255)
    path = str(write_image(tmp_path / "a.png", pixels))
    found = read_image(path, Reading(8, 3))
    assert (found[:4] == (10, 20, 30)).all()
    assert (found[4:] == 255).all()
    # Whoever asks for the opacity gets it.
    np.testing.assert_array_equal(read_image(path, Reading(8, 4)), pixels)


def test_transparent_palette_and_grey(tmp_path):
    palette = Image.fromarray(np.array([[0, 1]] * 2, "uint8"), "P")
    palette.putpalette([0, 0, 0, 200, 100, 50])
    palette.save(tmp_path / "a.png", transparency=0)
    found = read_image(str(tmp_path / "a.png"), Reading(2, 3))
    assert (found[:, 0] == 255).all()
    assert (found[:, 1] == (200, 100, 50)).all()
    grey = Image.fromarray(np.array([[[0, 0], [77, 255]]] * 2, "uint8"), "LA")
    grey.save(tmp_path / "b.png")
    found = read_image(str(tmp_path / "b.png"), Reading(2, 1))
    np.testing.assert_array_equal(found[..., 0], [[255, 77]] * 2)


def test_one_bit_and_cmyk(tmp_path):
    bits = Image.fromarray(noise((8, 8)) > 127)
    bits.save(tmp_path / "a.png")
    found = read_image(str(tmp_path / "a.png"), Reading(8, 1))
    np.testing.assert_array_equal(found[..., 0], np.asarray(bits) * 255)
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "b.jpg")
    found = read_image(str(tmp_path / "b.jpg"), Reading(8, 3))
    assert (np.abs(found.astype(int) - (255, 0, 0)) < 6).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_photographs_are_upright(tmp_path, orientation, suffix):
    pixels = np.zeros((16, 16, 3), "uint8")
    pixels[:8, :8] = 255
    pixels[:8, 8:] = 128
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = write_image(tmp_path / f"a.{suffix}", pixels, exif=exif)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    found = read_image(str(path), Reading(16, 3))
    np.testing.assert_array_equal(found, upright)
    if orientation != 1:
        assert (found != pixels).any()


@given(
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    size=st.integers(1, 24),
    channels=st.sampled_from((1, 3, 4)),
    resize=st.sampled_from(("stretch", "crop", "pad")),
)
@settings(max_examples=60, deadline=None)
def test_every_shape_becomes_the_square(width, height, size, channels, resize):
    reading = Reading(size, channels, resize)
    found = fit_array(np.full((height, width, channels), 90, "uint8"), reading)
    assert found.shape == (size, size, channels)
    if resize != "pad":
        assert (found == 90).all()
        return
    # Bars beside the image are black, and as wide as its shape says.
    inner = [
        max(1, round(side * size / max(width, height))) for side in (height, width)
    ]
    seen = found[..., 0] == 90
    assert seen.sum() == inner[0] * inner[1]
    assert (found[~seen] == 0).all()


def test_crop_cuts_the_middle_out(tmp_path):
    pixels = np.repeat(np.arange(20, dtype="uint8")[None, :], 10, axis=0)
    path = str(write_image(tmp_path / "a.png", pixels))
    found = read_image(path, Reading(10, 1, "crop"))
    np.testing.assert_array_equal(found[..., 0], pixels[:, 5:15])


def test_a_large_photograph_is_read_at_a_smaller_scale(tmp_path):
    coarse = Image.fromarray(noise((12, 16, 3)))
    smooth = np.asarray(coarse.resize((640, 480), Image.Resampling.BICUBIC))
    path = write_image(tmp_path / "a.jpg", smooth, quality=95)
    found = read_image(str(path), Reading(64, 3))
    with Image.open(path) as image:
        whole = image.resize((64, 64), Image.Resampling.BILINEAR)
    difference = np.abs(found.astype(int) - np.asarray(whole))
    assert difference.mean() < 2


def test_arrays_with_many_channels(tmp_path):
    pixels = np.random.default_rng(0).random((6, 8, 5), "float32")
    np.save(tmp_path / "a.npy", pixels)
    header = read_header(str(tmp_path / "a.npy"))
    assert (header.width, header.height, header.channels) == (8, 6, 5)
    found = read_image(
        str(tmp_path / "a.npy"), Reading(6, 5, "crop", levels=(0, 1), deep=True)
    )
    np.testing.assert_allclose(found, 255 * pixels[:, 1:7], rtol=1e-5)
    with pytest.raises(BadFileError, match="5 channels instead of 3"):
        read_image(str(tmp_path / "a.npy"), Reading(6, 3))


def bad_files(folder):
    """A file of each kind that gives no image, by the reason."""
    folder.mkdir(exist_ok=True)
    contents = {}
    for kind in ("png", "jpeg", "gif", "tiff", "bmp", "webp"):
        stream = io.BytesIO()
        Image.fromarray(noise((64, 64, 3))).save(stream, kind)
        content = stream.getvalue()
        contents[f"half.{kind}"] = content[: len(content) // 2]
        contents[f"head.{kind}"] = content[:12]
    contents |= {
        "empty.png": b"",
        "text.jpg": b"not an image",
        "empty.npy": b"",
        "half.npy": b"\x93NUMPY\x01\x00",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return sorted(contents)


def test_bad_files_give_a_reason_and_no_pixels(tmp_path):
    for name in bad_files(tmp_path):
        with pytest.raises(BadFileError) as error:
            read_image(str(tmp_path / name), Reading(16, 3))
        assert str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(BadFileError, match=r"^empty$"):
        read_image(str(tmp_path / "empty.png"), Reading(16, 3))
    with pytest.raises(BadFileError, match="not an image"):
        read_image(str(tmp_path / "text.jpg"), Reading(16, 3))
    with pytest.raises(BadFileError, match="No such file"):
        read_image(str(tmp_path / "none.jpg"), Reading(16, 3))


@given(position=st.floats(0, 1), content=st.binary(min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_damaged_files_raise_nothing_else(tmp_path_factory, position, content):
    stream = io.BytesIO()
    Image.fromarray(flat(3, (24, 24, 3))).save(stream, "PNG")
    whole = bytearray(stream.getvalue())
    start = int(position * len(whole))
    whole[start : start + len(content)] = content
    path = tmp_path_factory.getbasetemp() / "damaged.png"
    path.write_bytes(whole)
    try:
        found = read_image(str(path), Reading(8, 3))
    except BadFileError:
        return
    assert found.shape == (8, 8, 3)


def test_files_look_like_an_array(tmp_path):
    paths = [
        write_image(tmp_path / f"{level}.png", flat(level, (8, 8)))
        for level in range(5)
    ]
    images = ImageFiles(paths, Reading(4, 1))
    assert images.shape == (5, 4, 4, 1)
    assert images.dtype == np.uint8
    levels = np.arange(5, dtype="uint8")
    np.testing.assert_array_equal(images[np.array([3, 0])][:, 0, 0, 0], [3, 0])
    np.testing.assert_array_equal(images[levels > 2][:, 0, 0, 0], [3, 4])
    assert images[-1].shape == (4, 4, 1)
    assert images[-1][0, 0, 0] == 4
    assert len(images[1:3]) == 2
    np.testing.assert_array_equal(np.asarray(images)[:, 0, 0, 0], levels)
    paths[2].write_bytes(b"")
    with pytest.raises(BadFileError, match=r"cannot be read now.*2\.png.*empty"):
        images[[2]]
