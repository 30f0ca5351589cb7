"""What an audit looks at in a published folder."""

import audited
import numpy as np
import pytest
from audited import (
    KEY,
    labelled,
    opened,
    opened_labelled,
    picture,
    published,
    same_regions,
)
from folders import photograph, photographs, save

from vim_jax import VisualMixer
from vim_jax.attacks import audit as audits
from vim_jax.attacks import published as published_sets
from vim_jax.attacks.audit import audit
from vim_jax.attacks.published import from_published
from vim_jax.data import DataError, folder, large, open_source
from vim_jax.data.publish import publish


@pytest.fixture(scope="module")
def digits():
    return audited.digits()


@pytest.mark.parametrize("rename", [False, True])
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(
    "mixer",
    [VisualMixer(region_size=5), VisualMixer(level=0.3)],
    ids=["uniform", "adaptive"],
)
def test_published_images_are_matched_with_their_originals(
    tmp_path, mixer, mode, rename
):
    published(tmp_path, mixer, modes=(mode,), rename=rename)
    case = opened(tmp_path)
    assert len(case.published) == 3
    assert same_regions(case)
    plain = {picture(mode, seed=i).tobytes() for i in range(3)}
    assert {x.tobytes() for x in case.originals} == plain
    assert case.name == "dst"
    assert case.notes == ()
    assert case.one_shape
    assert len(case.whole[0]) == 3
    if mixer.level is not None:
        assert len(np.unique(case.plans)) > 1


def test_images_of_all_modes_are_matched(tmp_path):
    modes = ("RGB", "L", "LA", "RGBA", "I;16")
    published(tmp_path, VisualMixer(region_size=5), modes=modes, count=5)
    case = opened(tmp_path)
    assert sorted(x.shape[2] for x in case.published) == [1, 1, 2, 3, 4]
    assert {x.dtype for x in case.published} == {np.dtype(np.uint8)}
    assert same_regions(case)
    assert not case.one_shape


@pytest.mark.parametrize("scramble", [False, True])
def test_mirrored_copies_are_told_by_their_regions(tmp_path, scramble):
    for i in range(3):
        image = picture(seed=i)
        save(tmp_path / f"src/{i}.png", image)
        save(tmp_path / f"src/{i}, mirrored.png", image[:, ::-1])
    save(tmp_path / "src/copy.png", picture(seed=0))
    mixer = VisualMixer(region_size=8, scramble_regions=scramble)
    publish(folder(tmp_path / "src"), tmp_path / "dst", mixer, KEY)
    if scramble:
        # Which way round they were, their regions do not tell.
        with pytest.raises(DataError, match=r"7 published images are left out: there"):
            opened(tmp_path)
        return
    case = opened(tmp_path)
    assert len(case.published) == 7
    assert same_regions(case)
    assert case.notes == ()


def test_windows_of_scrambled_images_are_mixed_anew(tmp_path, monkeypatch):
    mixer = VisualMixer(region_size=4, scramble_regions=True)
    published(tmp_path, mixer)
    monkeypatch.setattr(published_sets, "WINDOW", 12)
    assert len(opened(tmp_path).whole.published) == 3
    monkeypatch.setattr(published_sets, "_MOST_SCRAMBLED", 12**2)
    case = opened(tmp_path)
    assert len(case.whole.published) == 0
    assert "mixed anew with the same settings" in case.notes[-1]
    for mixed, original in zip(case.published, case.originals, strict=True):
        assert mixed.shape == original.shape == (12, 12, 3)
        before, after = (
            x.reshape(3, 4, 3, 4, 3).swapaxes(1, 2).reshape(9, 16, 3)
            for x in (original, mixed)
        )
        regions = [sorted(np.sort(x, axis=1).tolist()) for x in (before, after)]
        assert regions[0] == regions[1]
        assert (np.sort(before, 1) != np.sort(after, 1)).any()
    found = audit(case, "quick")
    assert "too large" in found.skipped["seed_search"]
    assert "windows of scrambled" in found.skipped["key_reuse"]
    assert "jigsaw" in found.outcomes


def test_images_without_an_original_are_noted(tmp_path):
    published(tmp_path, VisualMixer(region_size=5))
    (tmp_path / "src/1.png").unlink()
    save(tmp_path / "src/unpublished.png", photograph(seed=9))
    case = opened(tmp_path)
    assert len(case.published) == 2
    (note,) = case.notes
    assert note.startswith("1 published image")
    assert "no original" in note


def test_other_originals_are_refused(tmp_path):
    published(tmp_path, VisualMixer(region_size=5))
    for i in range(3):
        save(tmp_path / f"src/{i}.png", photograph(seed=i + 10))
    with pytest.raises(DataError, match="give the images that it was made from"):
        opened(tmp_path)


def test_a_folder_without_a_manifest_is_refused(tmp_path):
    photographs(tmp_path / "src")
    photographs(tmp_path / "dst")
    with pytest.raises(DataError):
        opened(tmp_path)


def test_fewer_images_are_spread_over_the_set(tmp_path):
    published(tmp_path, VisualMixer(region_size=5), count=5)
    case = opened(tmp_path, images=3)
    wanted = [picture(seed=i).tobytes() for i in (0, 2, 4)]
    assert [x.tobytes() for x in case.originals] == wanted
    assert case.notes == ()


@pytest.mark.parametrize(
    "mixer",
    [VisualMixer(region_size=5), VisualMixer(level=0.3)],
    ids=["uniform", "adaptive"],
)
def test_of_large_images_the_middle_is_judged_without_cutting_a_region(
    tmp_path, mixer, monkeypatch
):
    published(tmp_path, mixer)
    monkeypatch.setattr(published_sets, "WINDOW", 12)
    case = opened(tmp_path)
    assert all(8 <= min(x.shape[:2]) <= max(x.shape[:2]) <= 12 for x in case.published)
    assert same_regions(case)
    assert case.whole[0][0].shape == (16, 24, 3)
    assert len(case.candidates) == 3


def test_the_attacker_gets_windows_of_auxiliary_images(tmp_path):
    published(tmp_path, VisualMixer(region_size=5))
    for i in range(3):
        save(tmp_path / f"more/{i}.png", photograph(seed=20 + i, sides=(30, 30)))
    save(tmp_path / "more/small.png", photograph(sides=(8, 8)))
    case = opened(tmp_path, auxiliary=str(tmp_path / "more"))
    assert case.auxiliary is not None
    assert case.auxiliary.shape == (6, 16, 24, 3)
    assert len(case.candidates) == 3 + 6
    whole = photograph(seed=20, sides=(30, 30))
    views = np.lib.stride_tricks.sliding_window_view(whole, (16, 24, 3))
    assert (views.reshape(-1, 16, 24, 3) == case.auxiliary[0]).all((1, 2, 3)).any()


def test_auxiliary_images_that_were_published_are_left_out(tmp_path):
    published(tmp_path, VisualMixer(region_size=5))
    for i in (1, 7, 8):
        save(tmp_path / f"more/{i}.png", picture(seed=i))
    case = opened(tmp_path, auxiliary=str(tmp_path / "more"))
    assert case.auxiliary is not None
    known = {x.tobytes() for x in case.auxiliary}
    assert known == {picture(seed=i).tobytes() for i in (7, 8)}
    assert "1 auxiliary images were published: left out." in case.notes
    (tmp_path / "more/7.png").unlink()
    (tmp_path / "more/8.png").unlink()
    with pytest.raises(DataError, match="all auxiliary images were published"):
        opened(tmp_path, auxiliary=str(tmp_path / "more"))


def test_auxiliary_images_that_are_too_small_are_refused(tmp_path):
    published(tmp_path, VisualMixer(region_size=5))
    save(tmp_path / "more/small.png", photograph(sides=(8, 8)))
    with pytest.raises(DataError, match="24 x 16 pixels or more"):
        opened(tmp_path, auxiliary=str(tmp_path / "more"))


def test_labels_are_compared_by_their_names(tmp_path):
    labelled(tmp_path / "src", "cat", "horse")
    labelled(tmp_path / "more", "ant", "horse", "cat", first=10)
    case = opened_labelled(tmp_path)
    seeds = {picture(seed=i).tobytes(): i for i in range(20)}
    own = [seeds[x.tobytes()] for x in case.originals]
    assert case.auxiliary is not None
    known = [seeds[x.tobytes()] for x in case.auxiliary]
    assert sorted(known) == list(range(10, 16))
    assert case.labels is not None
    assert case.auxiliary_labels is not None
    named = dict(zip(case.labels, [("cat", "horse")[i % 2] for i in own], strict=True))
    for i, label in zip(known, case.auxiliary_labels, strict=True):
        name = ("ant", "horse", "cat")[(i - 10) % 3]
        assert named.get(label, "ant") == name
    assert len(named) == 2
    assert case.flips
    assert case.attribute is None
    assert len(case.other) > 0
    attacks, skipped = audits.attacks_on(case, "full")
    assert {"recognition", "membership"} <= {attack.name for attack in attacks}
    assert not skipped


@pytest.mark.parametrize(
    ("own", "known", "words"),
    [
        ("01.png", "cat/2.png", "the images have no labels"),
        ("cat/01.png", "2.png", "the auxiliary images have no labels"),
        ("cat/01.png", "dog/2.png", "no auxiliary image has the label of a published"),
    ],
)
def test_labels_that_cannot_be_compared_are_why_nothing_is_recognised(
    tmp_path, own, known, words
):
    save(tmp_path / "src" / own, picture(seed=1))
    save(tmp_path / "more" / known, picture(seed=2))
    case = opened_labelled(tmp_path)
    assert case.labels is case.auxiliary_labels is None
    skipped = audits.attacks_on(case, "full")[1]
    assert words in skipped["recognition"]
    assert skipped["membership"] == skipped["recognition"]


def test_images_without_a_label_among_others_are_counted(tmp_path):
    labelled(tmp_path / "src", "cat")
    labelled(tmp_path / "more", "cat", first=10)
    save(tmp_path / "src/7.png", picture(seed=7))
    case = opened_labelled(tmp_path)
    assert case.why_unlabelled == "1 of 3 images have no label"


def test_mirrored_digits_are_no_digits(tmp_path, digits):
    labelled(tmp_path / "src", "6", "9")
    labelled(tmp_path / "more", "6", "9", first=10)
    assert not opened_labelled(tmp_path).flips
    assert not digits.flips


def test_published_sets_have_their_data_sets_second_attribute(tmp_path, tfds_dir):
    source = open_source("cifar10", split="test[:4]", data_dir=tfds_dir)
    publish(source, tmp_path / "dst", VisualMixer(region_size=4), KEY)
    names = source.label_names
    assert names is not None
    for i in range(4):
        example = source[i]
        name = names[example.label or 0]
        save(tmp_path / f"more/{name}/{i}.png", 255 - example.image)
    case = from_published(
        tmp_path / "dst", "cifar10", split="test[:4]", data_dir=str(tfds_dir),
        auxiliary=str(tmp_path / "more"), images=4, windows=4,
    )  # fmt: skip
    assert case.attribute is not None
    animal = case.attribute.of_label[case.labels]
    is_animal = {"bird", "cat", "deer", "dog", "frog", "horse"}
    by_values = {
        source[i].image.tobytes(): names[source[i].label or 0] for i in range(4)
    }
    wanted = [by_values[x.tobytes()] in is_animal for x in case.originals]
    assert (animal == animal[np.argmax(wanted)]).tolist() == wanted


def test_windows_are_spread_over_classes_and_images_are_taken_once(tmp_path):
    published(tmp_path, VisualMixer(region_size=5))
    labelled(tmp_path / "more", *"abcdefgh", first=10)
    case = opened(tmp_path, auxiliary=str(tmp_path / "more"), windows=8)
    assert case.auxiliary is not None
    seeds = {picture(seed=i).tobytes(): i for i in range(30)}
    known = [seeds[x.tobytes()] for x in case.auxiliary]
    assert len({(i - 10) % 8 for i in known}) >= 7
    case = opened(tmp_path, auxiliary=str(tmp_path / "more"), windows=100)
    assert case.auxiliary is not None
    assert len(case.auxiliary) == 16


def test_originals_of_another_size_are_named(tmp_path):
    published(tmp_path, VisualMixer(region_size=5))
    for i in range(3):
        save(tmp_path / f"src/{i}.png", photograph(seed=i, sides=(32, 48)))
    with pytest.raises(DataError, match=r"sizes differ.* 24 x 16 .* of 48 x 32"):
        opened(tmp_path)


def test_whole_images_keep_their_numbers_in_the_published_set(tmp_path):
    published(tmp_path, VisualMixer(region_size=5), count=6, rename=True)
    (tmp_path / "src/2.png").unlink()
    case = opened(tmp_path, images=3)
    mixed = folder(tmp_path / "dst")
    assert list(case.whole.numbers) == sorted(case.whole.numbers)
    for image, number in zip(case.whole.published, case.whole.numbers, strict=True):
        np.testing.assert_array_equal(mixed[number].image, image)


def test_images_of_several_sizes_train_no_network(tmp_path):
    photographs(tmp_path / "src")
    save(tmp_path / "src/small.png", photograph(sides=(8, 8)))
    publish(folder(tmp_path / "src"), tmp_path / "dst", VisualMixer(region_size=5), KEY)
    case = opened(tmp_path, auxiliary=str(tmp_path / "src"))
    assert case.auxiliary is None
    assert "different sizes" in case.notes[0]
    attacks, skipped = audits.attacks_on(case, "full")
    assert {"inversion", "recognition", "key_reuse"} <= set(skipped)
    assert "inversion" not in {attack.name for attack in attacks}


def test_the_pixel_limit_holds_for_published_images_too(tmp_path, monkeypatch):
    published(tmp_path, VisualMixer(region_size=5))
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match="max_pixels=384 or more"):
        opened(tmp_path)
    assert len(opened(tmp_path, max_pixels=384).published) == 3


def test_large_images_are_attacked_in_the_plan_they_were_mixed_in(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(large, "LARGE_PIXELS", 300)
    monkeypatch.setattr(large, "_PLANNED", 8)
    monkeypatch.setattr(large, "_LARGEST", 4)
    published(tmp_path, VisualMixer(level=0.3, clip=True))
    case = opened(tmp_path)
    for image, size in zip(case.originals, case.plans, strict=True):
        tiled = large.plan_large(image, VisualMixer(level=0.3, clip=True)).size
        np.testing.assert_array_equal(size, tiled)
    assert same_regions(case)
