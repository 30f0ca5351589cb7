"""Mixing inside a grain pipeline: as `vim-jax mix` does, or anew every epoch."""

import pickle

import grain
import numpy as np
import pytest
from folders import photograph, photographs, pixels

from vim_jax import KeyFileError, SecretKey, TargetError, VisualMixer
from vim_jax.data import folder
from vim_jax.data.grain_transforms import MixFresh, MixWithKey
from vim_jax.data.publish import publish

MIXER = VisualMixer(region_size=5)
SCRAMBLED = VisualMixer(region_size=4, channels="mixed", scramble_regions=True)


@pytest.fixture
def key_file(tmp_path):
    SecretKey.generate().save(tmp_path / "my.key")
    return tmp_path / "my.key"


def elements(count=3, mode="RGB"):
    return [
        {"id": f"{i}.png", "image": photograph(mode, i), "label": i}
        for i in range(count)
    ]


def images(dataset):
    return [element["image"] for element in dataset]


def fresh(seed, mixer=MIXER, count=3):
    return (
        grain.MapDataset.source(elements(count)).seed(seed).random_map(MixFresh(mixer))
    )


@pytest.mark.parametrize(
    "mixer",
    [MIXER, VisualMixer(region_size=4, channels="mixed", scramble_regions=True)],
)
def test_mixing_with_a_key_gives_what_is_published(tmp_path, key_file, mixer):
    source = folder(photographs(tmp_path / "src"))
    publish(source, tmp_path / "dst", mixer, SecretKey.load(key_file))
    data = [{"id": example.id, "image": example.image} for example in source]
    mixed = grain.MapDataset.source(data).map(MixWithKey(mixer, key_file))
    published = pixels(tmp_path / "dst")
    for element in mixed:
        np.testing.assert_array_equal(element["image"], published[element["id"]])


def test_grey_images_may_have_a_channel(key_file):
    mix = MixWithKey(MIXER, key_file)
    (element,) = elements(1, "L")
    mixed = mix.map({**element, "image": element["image"][..., None]})["image"]
    np.testing.assert_array_equal(mixed[..., 0], mix.map(element)["image"])


def test_16_bit_grey_with_a_key(key_file):
    data = grain.MapDataset.source(elements(mode="I;16"))
    (first, *_) = images(data.map(MixWithKey(MIXER, key_file)))
    assert first.dtype == np.uint16
    np.testing.assert_array_equal(
        np.sort(first.ravel()), np.sort(photograph("I;16").ravel())
    )


def test_mixing_with_a_key_is_the_same_in_every_order_and_epoch(key_file):
    data = grain.MapDataset.source(elements())
    mix = MixWithKey(MIXER, str(key_file))
    first = {e["id"]: e["image"] for e in data.map(mix)}
    for element in data.shuffle(seed=1).repeat(2).map(mix):
        np.testing.assert_array_equal(element["image"], first[element["id"]])


def test_other_parts_of_an_element_stay(key_file):
    element = {"picture": photograph(), "name": b"a.png", "label": 7}
    mix = MixWithKey(MIXER, key_file, image="picture", id="name")
    mixed = mix.map(element)
    assert (mixed["label"], mixed["name"]) == (7, b"a.png")
    assert not np.array_equal(mixed["picture"], photograph())
    np.testing.assert_array_equal(element["picture"], photograph())
    text = mix.map({**element, "name": "a.png"})
    np.testing.assert_array_equal(text["picture"], mixed["picture"])


def test_key_never_travels_to_worker_processes(key_file):
    mix = MixWithKey(MIXER, key_file)
    mix.map(elements()[0])  # The key has been read by now.
    secret = key_file.read_text().splitlines()[1]
    travelling = pickle.dumps(mix)
    assert secret.encode() not in travelling
    assert bytes.fromhex(secret) not in travelling
    again = pickle.loads(travelling)
    np.testing.assert_array_equal(
        again.map(elements()[0])["image"], mix.map(elements()[0])["image"]
    )


def test_missing_key_file_is_said(tmp_path):
    with pytest.raises(KeyFileError, match="cannot be read"):
        MixWithKey(MIXER, tmp_path / "none").map(elements()[0])


def test_fresh_mixing_follows_the_seed():
    for one, two in zip(images(fresh(0)), images(fresh(0)), strict=True):
        np.testing.assert_array_equal(one, two)
    for one, two in zip(images(fresh(0)), images(fresh(1)), strict=True):
        assert not np.array_equal(one, two)


def test_fresh_mixing_differs_between_epochs():
    data = grain.MapDataset.source(elements()).repeat(2).seed(0)
    mixed = images(data.random_map(MixFresh(MIXER)))
    for one, two in zip(mixed[:3], mixed[3:], strict=True):
        assert not np.array_equal(one, two)


def test_equal_images_are_mixed_differently():
    data = grain.MapDataset.source([elements()[0]] * 4).seed(0)
    mixed = images(data.random_map(MixFresh(MIXER)))
    assert len({image.tobytes() for image in mixed}) == 4


def test_fresh_mixing_keeps_what_regions_hold():
    for mixed, element in zip(images(fresh(0)), elements(), strict=True):
        for y in range(0, 16, 5):
            for x in range(0, 24, 5):
                region = np.s_[y : y + 5, x : x + 5]
                np.testing.assert_array_equal(
                    np.sort(mixed[region].reshape(-1, 3), axis=0),
                    np.sort(element["image"][region].reshape(-1, 3), axis=0),
                )


def test_fresh_mixing_in_a_batched_iterator():
    data = fresh(0).to_iter_dataset().batch(3)
    (batch,) = list(data)
    assert batch["image"].shape == (3, 16, 24, 3)
    np.testing.assert_array_equal(batch["image"], np.stack(images(fresh(0))))


def test_target_out_of_reach_is_said():
    board = np.indices((16, 24)).sum(0).astype(np.uint8) % 2 * 255
    mix = MixFresh(VisualMixer(level=0.5))
    with pytest.raises(TargetError, match="means nothing for this image"):
        mix.random_map({"image": board}, np.random.default_rng(0))
