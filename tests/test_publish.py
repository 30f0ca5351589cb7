"""Publishing: what is mixed, under which names, and what is refused."""

import dataclasses
import os

import numpy as np
import pytest
from folders import (
    MODES,
    is_sentence,
    photograph,
    photographs,
    pixels,
    save,
    tree,
)
from PIL import Image

from vim_jax import SecretKey, VisualMixer
from vim_jax.data import DataError, encode, folder, manifest
from vim_jax.data.publish import publish
from vim_jax.data.restore import restore

MIXER = VisualMixer(region_size=5)
KEY = SecretKey(bytes(range(32)))


def run(src, dst, key: SecretKey | None = KEY, mixer=MIXER, **options):
    return publish(folder(src), dst, mixer, key, **options)


def check_round_trip(src, tmp_path, fmt="png", mixer=MIXER):
    report = run(src, tmp_path / "dst", mixer=mixer, fmt=fmt)
    assert report.failures == {}
    result = restore(tmp_path / "dst", tmp_path / "back", KEY)
    assert result.failures == {}
    originals = {example.id: example.image for example in folder(src)}
    restored = pixels(tmp_path / "back")
    assert len(restored) == len(originals)
    for id, image in originals.items():
        back = restored[f"{os.path.splitext(id)[0]}.png"]
        assert back.dtype == image.dtype
        np.testing.assert_array_equal(back, image)
    return report


SCRAMBLED = VisualMixer(region_size=4, channels="mixed", scramble_regions=True)
HALF = VisualMixer(level=0.5, channels="joint")


@pytest.mark.parametrize(
    ("fmt", "mixer", "modes"),
    [
        ("png", MIXER, MODES),
        ("webp", MIXER, ["L", "LA", "RGB", "RGBA"]),
        ("png", SCRAMBLED, ["RGBA", "I;16"]),
        ("png", HALF, ["L", "I;16"]),
    ],
)
def test_every_mode_comes_back_bit_for_bit(tmp_path, fmt, mixer, modes):
    for seed, mode in enumerate(modes):
        save(tmp_path / "src" / f"{mode[0]}{seed}.png", photograph(mode, seed))
    report = check_round_trip(tmp_path / "src", tmp_path, fmt, mixer)
    published = pixels(tmp_path / "dst")
    assert all(name.endswith(f".{fmt}") for name in published)
    for record in report.records:
        assert not np.array_equal(
            published[record["id"]].ravel(), pixels(tmp_path / "src").popitem()[1]
        )
        assert record["vfe_after"] > record["vfe"]


@pytest.mark.parametrize(("level", "shuffled"), [(0.005, False), (0.8, True)])
def test_files_are_packed_for_what_is_in_them(tmp_path, level, shuffled):
    save(tmp_path / "src/a.png", photograph())
    mixer = VisualMixer(level=level, clip=True)
    (record,) = run(tmp_path / "src", tmp_path / "dst", mixer=mixer).records
    assert (record["left_in_place"] < 0.5) == shuffled
    mixed = pixels(tmp_path / "dst")["a.png"]
    expected = encode(mixed, "png", shuffled=shuffled)
    assert (tmp_path / "dst/a.png").read_bytes() == expected
    assert expected != encode(mixed, "png", shuffled=not shuffled)


def test_16_bit_grey_in_webp_is_one_failure(tmp_path):
    save(tmp_path / "src/deep.png", photograph("I;16"))
    save(tmp_path / "src/other.png", photograph("L"))
    report = run(tmp_path / "src", tmp_path / "dst", fmt="webp")
    assert "deep.png: image is 16-bit grey" in report.failures["deep.png"]
    assert sorted(pixels(tmp_path / "dst")) == ["other.webp"]


def test_alpha_is_mixed_too(tmp_path):
    image = np.zeros((16, 24, 4), np.uint8)
    image[4:12, 6:18, 3] = 255  # A silhouette in the alpha channel only.
    save(tmp_path / "src/a.png", image)
    check_round_trip(tmp_path / "src", tmp_path, mixer=VisualMixer(region_size=16))
    mixed = pixels(tmp_path / "dst")["a.png"][..., 3]
    assert (mixed != image[..., 3]).mean() > 0.2


@pytest.mark.parametrize(
    ("mode", "suffix", "words"),
    [
        ("P", ".png", "converted from a palette to RGB"),
        ("1", ".png", "converted from 1-bit to L"),
        ("CMYK", ".tif", "converted from CMYK to RGB"),
        ("CMYK", ".jpg", "converted from CMYK to RGB"),
    ],
)
def test_other_modes_are_converted_and_said_so(tmp_path, mode, suffix, words):
    path = tmp_path / "src" / f"a{suffix}"
    path.parent.mkdir()
    Image.fromarray(photograph()).convert(mode).save(path)
    report = check_round_trip(tmp_path / "src", tmp_path)
    assert report.notes == {path.name: words}


def test_what_is_no_image_fails_by_name_and_the_rest_is_done(tmp_path):
    src = photographs(tmp_path / "src", 2)
    good = (src / "dogs/0.png").read_bytes()
    (src / "cut.png").write_bytes(good[: len(good) // 2])
    (src / "empty.png").write_bytes(b"")
    (src / "text.jpg").write_text("not an image")
    save(src / "colour16.tif", np.zeros((4, 4), np.float32))
    report = run(src, tmp_path / "dst")
    assert sorted(report.failures) == [
        "colour16.tif",
        "cut.png",
        "empty.png",
        "text.jpg",
    ]
    for id, sentence in report.failures.items():
        assert is_sentence(sentence)
        assert id in sentence
    assert sorted(pixels(tmp_path / "dst")) == ["cats/1.png", "dogs/0.png"]
    assert report.mixed == 2


@pytest.mark.parametrize("sides", [(1, 1), (5, 300)])
def test_odd_shapes(tmp_path, sides):
    save(tmp_path / "src/a.png", photograph(sides=sides))
    report = check_round_trip(tmp_path / "src", tmp_path)
    assert report.unchanged == (["a.png"] if sides == (1, 1) else [])


def test_long_strip(tmp_path):
    save(tmp_path / "src/strip.png", photograph("L", sides=(20, 15_000)))
    check_round_trip(tmp_path / "src", tmp_path)


def test_names_with_spaces_and_letters_of_all_kinds(tmp_path):
    names = ["ein Hund (1).png", "日本 語/ねこ.png", "ünï/[red]🙂.png", "a\nb.png"]
    for seed, name in enumerate(names):
        save(tmp_path / "src" / name, photograph(seed=seed))
    check_round_trip(tmp_path / "src", tmp_path)
    assert sorted(pixels(tmp_path / "dst")) == sorted(names)


def test_copies_of_one_photograph_come_out_different(tmp_path):
    for i in range(8):
        save(tmp_path / "src" / f"{i}.png", photograph())
    check_round_trip(tmp_path / "src", tmp_path)
    assert len({image.tobytes() for image in pixels(tmp_path / "dst").values()}) == 8


def test_of_two_images_for_one_name_the_later_is_refused_and_named(tmp_path):
    image = photograph()
    save(tmp_path / "src/d/a.jpg", image)
    save(tmp_path / "src/d/a.png", image)
    report = run(tmp_path / "src", tmp_path / "dst")
    assert sorted(pixels(tmp_path / "dst")) == ["d/a.png"]
    assert list(report.failures) == ["d/a.png"]
    assert "d/a.jpg" in report.failures["d/a.png"]


def test_orientation_is_applied_and_metadata_stripped(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # Turn by a quarter.
    exif.get_ifd(0x8825)[1] = "N"
    exif[0x010E] = "at home in Musterstadt"
    path = save(tmp_path / "src/a.jpg", photograph(), exif=exif)
    assert b"Musterstadt" in path.read_bytes()
    check_round_trip(tmp_path / "src", tmp_path)
    for name, content in tree(tmp_path / "dst").items():
        assert b"Musterstadt" not in content
        assert b"eXIf" not in content, name
    with Image.open(tmp_path / "dst/a.png") as published:
        assert published.size == (16, 24)
        assert published.info == {}


def test_labels_of_sub_folders_are_kept(tmp_path):
    report = run(photographs(tmp_path / "src"), tmp_path / "dst")
    assert {r["id"]: r["label"] for r in report.records} == {
        "cats/1.png": "cats",
        "cats/3.png": "cats",
        "dogs/0.png": "dogs",
        "dogs/2.png": "dogs",
    }
    assert folder(tmp_path / "dst").label_names == ("cats", "dogs")


def test_renamed_images_show_no_name_anywhere(tmp_path):
    names = ["cats/minka.png", "cats/minka.jpg", "cats/Jane Doe/minka.png"]
    for seed, name in enumerate(names):
        save(tmp_path / "src" / name, photograph(seed=seed))
    run(tmp_path / "src", tmp_path / "dst", rename=True)
    found = tree(tmp_path / "dst")
    numbers = {"cats/000001.png", "cats/000002.png", "cats/000003.png"}
    assert set(found) == {"cats", "manifest.jsonl", *numbers}
    for content in found.values():
        assert b"minka" not in content
        assert b"Jane" not in content
    result = restore(tmp_path / "dst", tmp_path / "back", KEY)
    assert sorted(result.names) == [
        "cats/Jane Doe/minka.png",
        "cats/minka.png",
        "cats/minka.png.png",
    ]
    np.testing.assert_array_equal(
        pixels(tmp_path / "back")["cats/minka.png.png"], photograph(seed=0)
    )


def test_discarded_key_leaves_nothing_to_restore_with(tmp_path):
    run(photographs(tmp_path / "src"), tmp_path / "dst", None)
    head, _, entries = manifest.read(tmp_path / "dst/manifest.jsonl")
    assert head["key"] is None
    allowed = {"id", "shape", "vfe", "expected_vfe", "vfe_after", "label"}
    allowed |= {"left_in_place", "regions", "bits_per_region"}
    for record, _ in entries:
        assert set(record) == allowed
    with pytest.raises(DataError, match="nobody can restore it"):
        restore(tmp_path / "dst", tmp_path / "back", KEY)


def test_discarded_key_is_another_in_every_run(tmp_path):
    src = photographs(tmp_path / "src", 1)
    for name in ("one", "two"):
        run(src, tmp_path / name, None)
    one, two = (pixels(tmp_path / name)["dogs/0.png"] for name in ("one", "two"))
    assert not np.array_equal(one, two)


def test_images_that_come_out_unchanged_are_named(tmp_path):
    src = photographs(tmp_path / "src", 2)
    save(src / "flat.png", np.full((16, 24, 3), 7, np.uint8))
    report = run(src, tmp_path / "dst")
    assert report.unchanged == ["flat.png"]
    assert run(src, tmp_path / "dst").unchanged == ["flat.png"]
    untouched = VisualMixer(level=0.0)
    assert len(run(src, tmp_path / "zero", mixer=untouched).unchanged) == 3


def test_target_out_of_reach_fails_by_name(tmp_path):
    board = (np.indices((16, 24)).sum(0) % 2 * 255).astype(np.uint8)
    save(tmp_path / "src/board.png", board)
    save(tmp_path / "src/photo.png", photograph("L"))
    report = run(tmp_path / "src", tmp_path / "dst", mixer=HALF)
    assert list(report.failures) == ["board.png"]
    assert "means nothing for this image" in report.failures["board.png"]
    clipped = dataclasses.replace(HALF, clip=True)
    assert not run(tmp_path / "src", tmp_path / "dst2", mixer=clipped).failures


def test_equal_runs_write_equal_bytes_whatever_the_workers(tmp_path):
    src = photographs(tmp_path / "src")
    for workers in (1, 5):
        run(src, tmp_path / str(workers), workers=workers)
    assert tree(tmp_path / "1") == tree(tmp_path / "5")


def test_links_in_the_output_lead_nowhere(tmp_path):
    src = photographs(tmp_path / "src", 1)
    run(src, tmp_path / "dst")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "dst/cats").symlink_to(tmp_path / "elsewhere")
    save(src / "cats/new.png", photograph(seed=3))
    report = run(src, tmp_path / "dst")
    assert "is a link to elsewhere" in report.failures["cats/new.png"]
    assert tree(tmp_path / "elsewhere") == {}


def test_output_folder_may_be_reached_by_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert not run(photographs(tmp_path / "src"), tmp_path / "link").failures


def test_name_too_long_for_the_output_is_one_failure(tmp_path):
    long = "x" * 251
    save(tmp_path / f"src/{long}.png", photograph())
    save(tmp_path / "src/y.png", photograph(seed=1))
    report = run(tmp_path / "src", tmp_path / "dst", fmt="webp")
    assert list(report.failures) == [f"{long}.png"]
    assert "File name too long" in report.failures[f"{long}.png"]
    again = run(tmp_path / "src", tmp_path / "dst", fmt="webp")
    assert (again.found, list(again.failures)) == (1, [f"{long}.png"])


def test_name_that_leads_out_of_the_folder_is_one_failure(tmp_path):
    save(tmp_path / "src/a\\b.png", photograph())
    save(tmp_path / "src/good.png", photograph(seed=1))
    report = run(tmp_path / "src", tmp_path / "dst")
    assert list(report.failures) == ["a\\b.png"]
    assert sorted(pixels(tmp_path / "dst")) == ["good.png"]


def test_unknown_format_and_number_of_workers(tmp_path):
    src = photographs(tmp_path / "src", 1)
    with pytest.raises(DataError, match="fmt is 'jpg'"):
        run(src, tmp_path / "dst", fmt="jpg")
    with pytest.raises(DataError, match="workers is 0"):
        run(src, tmp_path / "dst", workers=0)
    assert not (tmp_path / "dst").exists()


def test_report_holds_nothing_sealed(tmp_path):
    src = photographs(tmp_path / "src", 2)
    for _ in range(2):
        report = run(src, tmp_path / "dst")
        assert not any("sealed" in record for record in report.records)


def test_progress_is_told(tmp_path):
    seen = []
    src = photographs(tmp_path / "src", 3)
    run(src, tmp_path / "dst", progress=lambda *numbers: seen.append(numbers))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
