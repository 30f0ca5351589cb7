"""Pixels survive files bit for bit, or a sentence says why not."""

import concurrent.futures
import importlib
import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from modes import SHAPES, check_sentence, pixels
from PIL import Image, ImageOps

from vim_jax.data import DataError, as_mode, decode, encode, mode_of

# `vim_jax.data.decode` is the function; the module of that name lies behind it.
decode_module = importlib.import_module("vim_jax.data.decode")


def png(depth, colour_type, rows):
    """A PNG written chunk by chunk: Pillow writes no 16-bit colour."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    height, width = len(rows), 2
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", data)
        + chunk(b"IEND", b"")
    )


def reopened(path):
    return Image.open(io.BytesIO(path.read_bytes()))


@pytest.mark.parametrize("origin", SHAPES)
@pytest.mark.parametrize("target", SHAPES)
def test_as_mode_is_exact_or_refused(origin, target):
    image = pixels(origin)
    widening = {("L", "LA"), ("L", "RGB"), ("L", "RGBA"), ("LA", "RGBA")}
    widening |= {("RGB", "RGBA")}
    if origin == target or (origin, target) in widening:
        wide = as_mode(image, target)
        assert mode_of(wide) == target
        np.testing.assert_array_equal(as_mode(wide, origin), image)
    else:
        with pytest.raises(DataError) as error:
            as_mode(image, target)
        check_sentence(error, origin, target)


def test_as_mode_names_an_unknown_mode():
    with pytest.raises(DataError, match="'CMYK': choose one of L"):
        as_mode(pixels("RGB"), "CMYK")


@pytest.mark.parametrize("suffix", [".bmp", ".tif", ".TIFF", ".Png"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_lossless_files_keep_mode_and_pixels(tmp_path, mode, suffix):
    image, path = pixels(mode), tmp_path / f"a b é{suffix}"
    Image.fromarray(image).save(path)
    decoded = decode(path)
    assert (decoded.mode, decoded.note) == (mode, None)
    np.testing.assert_array_equal(decoded.image, image)


@pytest.mark.parametrize("mode", ["LA", "RGBA", "I;16"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_tiff_keeps_alpha_and_16_bit_grey(tmp_path, mode, compression):
    image, path = pixels(mode), tmp_path / "a.tif"
    Image.fromarray(image).save(path, compression=compression)
    decoded = decode(path)
    assert (decoded.mode, decoded.image.dtype) == (mode, image.dtype)
    np.testing.assert_array_equal(decoded.image, image)


def test_big_endian_tiff_becomes_native_uint16(tmp_path):
    image, path = pixels("I;16"), tmp_path / "a.tif"
    Image.fromarray(image.astype(">u2")).save(path)
    decoded = decode(path)
    assert decoded.mode == "I;16"
    assert decoded.image.dtype == np.uint16
    np.testing.assert_array_equal(decoded.image, image)


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".webp"])
def test_lossy_files_are_what_pillow_decodes(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(pixels("RGB", 40, 30)).save(path, quality=70)
    np.testing.assert_array_equal(decode(path).image, np.array(reopened(path)))


def test_content_counts_more_than_the_suffix(tmp_path):
    path = tmp_path / "really_a_jpeg.png"
    Image.fromarray(pixels("L", 16, 16)).save(path, "JPEG")
    np.testing.assert_array_equal(decode(path).image, np.array(reopened(path)))


def palette_image(**transparency):
    image = Image.fromarray(np.array([[0, 1], [2, 3]], np.uint8), "P")
    image.putpalette(bytes(range(12)))
    image.info.update(transparency)
    return image


def saved(path, image, **options):
    image.save(path, **options)
    return path


def test_palette_becomes_rgb(tmp_path):
    for suffix in (".png", ".bmp", ".tif"):
        decoded = decode(saved(tmp_path / f"a{suffix}", palette_image()))
        assert decoded.mode == "RGB"
        assert decoded.note == "converted from a palette to RGB"
        expected = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
        np.testing.assert_array_equal(decoded.image, expected)


@pytest.mark.parametrize("transparency", [1, b"\xff\x00\x80\xff"])
def test_palette_with_transparency_becomes_rgba(tmp_path, transparency):
    path = saved(tmp_path / "a.png", palette_image(), transparency=transparency)
    decoded = decode(path)
    assert decoded.mode == "RGBA"
    assert decoded.note == "converted from a palette to RGBA"
    assert decoded.image[0, 1].tolist() == [3, 4, 5, 0]
    assert decoded.image[0, 0].tolist() == [0, 1, 2, 255]


def test_one_bit_becomes_grey(tmp_path):
    bits = pixels("L") > 127
    decoded = decode(saved(tmp_path / "a.png", Image.fromarray(bits)))
    assert (decoded.mode, decoded.note) == ("L", "converted from 1-bit to L")
    np.testing.assert_array_equal(decoded.image, bits * np.uint8(255))


@pytest.mark.parametrize(
    ("mode", "suffix"), [("CMYK", ".jpg"), ("CMYK", ".tif"), ("YCbCr", ".tif")]
)
def test_other_colour_spaces_become_rgb(tmp_path, mode, suffix):
    image = Image.fromarray(pixels("RGB", 16, 16)).convert(mode)
    path = saved(tmp_path / f"a{suffix}", image)
    if reopened(path).mode != mode:
        pytest.skip(f"this Pillow converts {mode} itself")
    decoded = decode(path)
    assert (decoded.mode, decoded.note) == ("RGB", f"converted from {mode} to RGB")
    np.testing.assert_array_equal(
        decoded.image, np.array(reopened(path).convert("RGB"))
    )


def test_lab_becomes_rgb(tmp_path):
    image = Image.new("LAB", (4, 3), (128, 128, 128))
    decoded = decode(saved(tmp_path / "a.tif", image))
    assert (decoded.mode, decoded.image.shape) == ("RGB", (3, 4, 3))
    assert decoded.note == "converted from LAB to RGB"


@pytest.mark.parametrize(
    ("mode", "key", "alpha_mode"),
    [("L", 7, "LA"), ("RGB", (1, 2, 3), "RGBA"), ("1", 0, "LA")],
)
def test_transparent_colour_becomes_alpha(tmp_path, mode, key, alpha_mode):
    image = Image.new(mode, (3, 2), key)
    image.putpixel((0, 0), 1 if mode == "1" else (9, 9, 9)[: 3 if mode == "RGB" else 1])
    decoded = decode(saved(tmp_path / "a.png", image, transparency=key))
    assert decoded.mode == alpha_mode
    assert decoded.note == f"converted from {mode} with a transparent colour to " + (
        alpha_mode
    )
    assert decoded.image[0, 0, -1] == 255
    assert not decoded.image[1, :, -1].any()


@pytest.mark.parametrize("colour_type", [2, 4, 6])
def test_16_bit_colour_png_is_refused(tmp_path, colour_type):
    channels = {2: 3, 4: 2, 6: 4}[colour_type]
    path = tmp_path / "deep.png"
    path.write_bytes(png(16, colour_type, [bytes(range(2 * 2 * channels))] * 2))
    reopened(path).load()  # Pillow itself sees nothing wrong with it
    with pytest.raises(DataError) as error:
        decode(path)
    check_sentence(error, "deep.png", "16 bits", "convert")


def test_16_bit_grey_png_is_read(tmp_path):
    path = tmp_path / "deep.png"
    path.write_bytes(png(16, 0, [bytes([1, 2, 3, 4])] * 2))
    assert decode(path).image.tolist() == [[0x102, 0x304]] * 2


def test_16_bit_colour_tiff_is_refused(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    path = tmp_path / "deep.tif"
    tifffile.imwrite(path, np.ones((4, 5, 3), np.uint16), photometric="rgb")
    with pytest.raises(DataError) as error:
        decode(path)
    check_sentence(error, "deep.tif", "16 bits")


@pytest.mark.parametrize(("mode", "word"), [("F", "floating"), ("I", "32-bit")])
def test_numbers_that_no_image_format_holds_are_refused(tmp_path, mode, word):
    path = saved(tmp_path / "numbers.tif", Image.new(mode, (3, 2)))
    with pytest.raises(DataError) as error:
        decode(path)
    check_sentence(error, "numbers.tif", word, "convert")


@pytest.mark.parametrize("suffix", [".webp", ".tif", ".png"])
def test_several_frames_are_refused(tmp_path, suffix):
    first, second = (Image.fromarray(pixels("RGB", seed=seed)) for seed in (0, 1))
    path = tmp_path / f"film{suffix}"
    first.save(path, save_all=True, append_images=[second])
    with pytest.raises(DataError) as error:
        decode(path)
    check_sentence(error, f"film{suffix}", "2 frames", "split")


def test_main_picture_of_a_phone_is_kept_and_said(tmp_path):
    first, second = (Image.fromarray(pixels("RGB", seed=seed)) for seed in (0, 1))
    path = tmp_path / "phone.jpg"
    first.save(path, "MPO", save_all=True, append_images=[second])
    decoded = decode(path)
    assert decoded.note == "kept the main picture of 2"
    np.testing.assert_array_equal(decoded.image, np.array(reopened(path)))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tif"])
@pytest.mark.parametrize("keep", [0.1, 0.6])
def test_truncated_file(tmp_path, suffix, keep):
    path = tmp_path / f"cut{suffix}"
    Image.fromarray(pixels("RGB", 60, 60)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(DataError) as error:
        decode(path)
    check_sentence(error, f"cut{suffix}", "damaged", "replace or remove")


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"", "0 bytes"), (b"no image at all", "not an image"), (b"\0" * 99, "99 bytes")],
)
def test_file_without_an_image(tmp_path, content, word):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        decode(path)
    check_sentence(error, "x.png", word)


def test_image_without_pixels(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(png(8, 0, []))
    with pytest.raises(DataError) as error:
        decode(path)
    check_sentence(error, "x.png")


def test_what_is_no_readable_file(tmp_path):
    (tmp_path / "folder.png").mkdir()
    for name, word in [
        ("missing.png", "does not exist"),
        ("folder.png", "directory"),
        ("film.gif", ".png, .jpg"),
        ("plain", "suffix"),
    ]:
        with pytest.raises(DataError) as error:
            decode(tmp_path / name)
        check_sentence(error, name, word)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_pixel_limit(tmp_path, monkeypatch, suffix):
    path = saved(tmp_path / f"large{suffix}", Image.fromarray(pixels("RGB", 60, 60)))
    with pytest.raises(DataError) as error:
        decode(path, max_pixels=3599)
    check_sentence(error, f"large{suffix}", "3,600", "3,599", "max_pixels=3600")
    # Pillow's own limit is the default, and max_pixels raises it; 60*60 is more than
    # double, where Pillow would raise rather than warn.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match="limit of 1,000"):
        decode(path)
    np.testing.assert_array_equal(
        decode(path, max_pixels=3600).image.shape, (60, 60, 3)
    )
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_pixel_limit_holds_while_another_thread_decodes(tmp_path, monkeypatch):
    path = saved(tmp_path / "large.png", Image.fromarray(pixels("RGB", 60, 60)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with decode_module._quiet_pillow():  # as the other thread does
            assert Image.MAX_IMAGE_PIXELS is None
            result = pool.submit(decode, path)
            concurrent.futures.wait([result], timeout=0.1)
        with pytest.raises(DataError, match="limit of 1,000"):
            result.result()


def with_orientation(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_exif_orientation_is_applied(tmp_path, orientation, suffix):
    image = Image.fromarray(pixels("RGB"))
    path = tmp_path / f"a{suffix}"
    image.save(path, exif=with_orientation(orientation), lossless=True)
    image.getexif()[0x0112] = orientation
    expected = np.array(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(decode(path).image, expected)


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_every_mode_is_turned(tmp_path, mode):
    image = pixels(mode)
    path = tmp_path / "a.png"
    Image.fromarray(image).save(path, exif=with_orientation(6))
    np.testing.assert_array_equal(decode(path).image, np.rot90(image, -1))


def test_photograph_on_its_side_comes_upright_and_without_its_place(tmp_path):
    image = np.zeros((16, 32), np.uint8)
    image[:8, :8] = 255  # the stored top left is the upright top right
    exif = with_orientation(6)
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0)})
    exif[0x010E] = "secret place"
    path = tmp_path / "photo.jpg"
    Image.fromarray(image).save(path, exif=exif, quality=95)
    assert reopened(path).getexif().get_ifd(0x8825)
    decoded = decode(path)
    assert decoded.image.shape == (32, 16)
    assert decoded.image[:8, 8:].min() > 250
    assert decoded.image[8:].max() < 5
    for fmt in ("png", "webp"):
        data = encode(decoded.image, fmt)
        assert b"secret place" not in data
        published = Image.open(io.BytesIO(data))
        assert not dict(published.getexif())
        assert not {"exif", "icc_profile", "xmp"} & set(published.info)


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_damaged_exif_is_ignored_and_said(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    image = Image.fromarray(pixels("RGB"))
    image.save(path, exif=b"Exif\0\0no TIFF header", lossless=True)
    decoded = decode(path)
    assert decoded.note == "ignored a damaged EXIF block"
    np.testing.assert_array_equal(decoded.image, pixels("RGB"))


def test_pillow_warnings_stay_inside(tmp_path, monkeypatch):
    open_image = Image.open

    def open_and_warn(*args, **kwargs):
        warnings.warn("odd file", UserWarning, stacklevel=2)
        return open_image(*args, **kwargs)

    path = saved(tmp_path / "odd.png", Image.fromarray(pixels("RGB", 16, 16)))
    monkeypatch.setattr(Image, "open", open_and_warn)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert decode(path).image.shape == (16, 16, 3)
    assert not caught


def test_threads_share_pillow(tmp_path):
    images = [pixels("RGB", 30, 30, seed) for seed in range(8)]
    paths = [tmp_path / f"{i}{'.tif' if i % 2 else '.png'}" for i in range(8)]
    for image, path in zip(images, paths, strict=True):
        Image.fromarray(image).save(path)
    limit, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        decoded = list(pool.map(decode, paths * 10))
    for i, result in enumerate(decoded):
        np.testing.assert_array_equal(result.image, images[i % 8])
    assert limit == Image.MAX_IMAGE_PIXELS
    assert filters == warnings.filters
