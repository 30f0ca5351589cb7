"""Files hold pixels, all of them and nothing else, or a sentence says why not."""

import io
import struct

import numpy as np
import pytest
from folders import photograph
from modes import SHAPES, check_sentence, pixels
from PIL import Image

from vim_jax.data import DataError, as_mode, decode, encode


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (11, 7)])
@pytest.mark.parametrize("mode", SHAPES)
@pytest.mark.parametrize("shuffled", [False, True])
def test_png_round_trip(tmp_path, mode, size, shuffled):
    image = pixels(mode, *size)
    path = tmp_path / "image.png"
    path.write_bytes(encode(image, "png", shuffled=shuffled))
    decoded = decode(path)
    assert (decoded.mode, decoded.note) == (mode, None)
    assert decoded.image.dtype == image.dtype
    np.testing.assert_array_equal(decoded.image, image)
    assert decoded.image.flags.writeable
    assert decoded.image.flags.c_contiguous


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (11, 7)])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_webp_round_trip_through_the_mode(tmp_path, mode, size):
    for image in (pixels(mode, *size), np.full_like(pixels(mode, *size), 255)):
        path = tmp_path / "image.webp"
        path.write_bytes(encode(image, "webp"))
        restored = as_mode(decode(path).image, mode)
        np.testing.assert_array_equal(restored, image)


def test_encode_takes_one_channel_as_third_axis_and_views():
    image = pixels("RGB", 8, 8)[::2, ::-1]
    decoded = Image.open(io.BytesIO(encode(image, "png")))
    np.testing.assert_array_equal(np.array(decoded), image)
    grey = encode(image[..., :1], "png")
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(grey))), image[..., 0])


@pytest.mark.parametrize(
    ("image", "fmt", "words"),
    [
        (np.zeros((2, 2), np.uint16), "webp", ["16-bit grey", "png"]),
        (np.zeros((1, 16384), np.uint8), "webp", ["16384x1", "16383", "png"]),
        (np.zeros((2, 2), np.uint8), "gif", ["'gif'", "png"]),
        (np.zeros((2, 2), np.float32), "png", ["float32", "uint8"]),
        (np.zeros((2, 2, 3), np.uint16), "png", ["uint16", "(2, 2, 3)"]),
        (np.zeros((2, 2, 5), np.uint8), "png", ["(2, 2, 5)"]),
        (np.zeros((0, 2), np.uint8), "png", ["(0, 2)"]),
        (np.zeros((2, 2, 1, 1), np.uint8), "png", ["(2, 2, 1, 1)"]),
    ],
)
def test_encode_refuses(image, fmt, words):
    with pytest.raises(DataError) as error:
        encode(image, fmt)
    check_sentence(error, *words)


def test_published_files_hold_pixels_only():
    data = encode(pixels("RGBA"), "png")
    kinds, at = [], 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kinds.append(data[at + 4 : at + 8])
        at += 12 + length
    assert set(kinds) == {b"IHDR", b"IDAT", b"IEND"}
    data = encode(pixels("RGBA"), "webp")
    assert data[12:16] == b"VP8L"
    assert len(data) == 20 + -(-int.from_bytes(data[16:20], "little") // 2) * 2


def test_looking_for_runs_only_makes_shuffled_files_hardly_larger():
    image = np.tile(photograph(sides=(16, 32)), (6, 4, 1))
    shuffled = np.random.default_rng(0).permutation(image.reshape(-1, 3), axis=0)

    def ratio(image):
        usual, runs = (len(encode(image, "png", shuffled=x)) for x in (False, True))
        return runs / usual

    assert ratio(shuffled.reshape(image.shape)) < 1.02
    assert ratio(image) > 2  # Of images with repetitions: it is what was asked for.
