"""A TFDS data set that many workers write is the one that a single one writes."""

import random

import numpy as np
import pytest
from folders import is_sentence, photograph, tree

from vim_jax.data import DataError, TfdsWriter, tfds
from vim_jax.data.errors import WriteError
from vim_jax.data.tfds_files import serialize
from vim_jax.data.tfds_shards import Entry, Place, ShardedSet, ShardPlan, lay_out

NAMES = ("cat", "dog")
FAILED = (0, 5, 6)
IMAGES = {
    i: photograph(seed=i, sides=(4 + i % 3, 5)) for i in range(14) if i not in FAILED
}


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr("vim_jax.data.tfds_files._SHARD_EXAMPLES", 4)


def entry(index):
    image = IMAGES[index]
    example = serialize(f"é {index}", image, index % 2, NAMES)
    return Entry(f"é {index}", example, b"record %d\n" % index)


ENTRIES = [(index, entry(index)) for index in IMAGES]


def write_alone(path):
    with TfdsWriter(path, label_names=NAMES) as writer:
        for index, image in IMAGES.items():
            writer.add(f"é {index}", image, index % 2)
        records = b"".join(entry.record for _, entry in ENTRIES)
        (writer.folder / "manifest.jsonl").write_bytes(b"header\n" + records)
    return tree(path)


def write_pieces(whole, *, repeat=1):
    """Writes the images in pieces of four; returns where they are, in any order."""
    places = [Place(index) for index in FAILED]
    for piece in range(0, 14, 4):
        inside = [x for x in ENTRIES if piece <= x[0] < piece + 4]
        for _ in range(repeat):
            with whole.piece(piece) as add:
                for _, entry in inside:
                    add(entry)
        for row, (index, entry) in enumerate(inside):
            places.append(Place(index, "RGB", len(entry.example), piece, row))
    return random.Random(1).sample(places, len(places))


def write_shards(whole, layout, *, repeat=1):
    """Writes shards in any order, every step as often as asked."""
    return {whole.write_shard(plan) for plan in reversed(layout.shards * repeat)}


def finish(whole, layout, written):
    whole.finish(layout, written, images=14, header=b"header\n", label_names=NAMES)


def begin(path, *, repeat=1):
    """Writes all but the last step."""
    whole = ShardedSet(path)
    for _ in range(repeat):
        whole.prepare()
    layout = lay_out(write_pieces(whole, repeat=repeat))
    return whole, layout, write_shards(whole, layout, repeat=repeat)


def write_together(path, *, repeat=1):
    whole, layout, written = begin(path, repeat=repeat)
    assert not path.exists()
    for _ in range(repeat):
        finish(whole, layout, written)
    whole.remove()
    return tree(path)


@pytest.mark.parametrize("repeat", [1, 3])
def test_many_workers_write_the_same_bytes_as_one(tmp_path, repeat):
    alone = write_alone(tmp_path / "alone")
    assert len([name for name in alone if "array_record" in name]) == 3
    assert write_together(tmp_path / "together", repeat=repeat) == alone
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone", "together"]
    source = tfds(str(tmp_path / "together"), "train")
    for position, (index, image) in enumerate(IMAGES.items()):
        assert source[position].id == f"é {index}"
        np.testing.assert_array_equal(source[position].image, image)


def test_large_examples_fill_a_shard_sooner(tmp_path, monkeypatch):
    monkeypatch.setattr("vim_jax.data.tfds_files._SHARD_BYTES", 300)
    alone = write_alone(tmp_path / "alone")
    assert len([name for name in alone if "array_record" in name]) > 3
    assert write_together(tmp_path / "together") == alone


def test_the_first_image_decides_on_the_mode():
    grey, first = Place(5, "L", 9, 0, 4), Place(2, "RGB", 8, 0, 1)
    places = [grey, Place(7, "RGB", 9, 4, 2), first, Place(1)]
    layout = lay_out(places)
    assert layout == (4, "RGB", [ShardPlan(0, [first, places[1]], 17)])
    assert lay_out([Place(0)]) == (1, None, [])


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "set").mkdir()
    with pytest.raises(DataError, match="set exists: choose another path"):
        ShardedSet(tmp_path / "set").prepare()
    whole, layout, written = begin(tmp_path / "new")
    (tmp_path / "new").mkdir()
    (tmp_path / "new/precious").write_text("mine")
    with pytest.raises(OSError, match="not empty"):
        finish(whole, layout, written)
    assert (tmp_path / "new/precious").read_text() == "mine"
    whole.remove()
    assert {path.name for path in tmp_path.iterdir()} == {"set", "new"}


def test_a_worker_that_comes_too_late_adds_nothing(tmp_path):
    whole, layout, written = begin(tmp_path / "set")
    finish(whole, layout, written)
    before = tree(tmp_path / "set")
    with pytest.raises(OSError, match="No such file"):
        whole.write_shard(layout.shards[0])
    whole.remove()
    with pytest.raises(OSError, match="No such file"):
        whole.write_shard(layout.shards[0])
    assert tree(tmp_path) == {"set": b"", **{f"set/{k}": v for k, v in before.items()}}


def test_a_worker_that_stops_half_way_leaves_no_piece(tmp_path):
    whole = ShardedSet(tmp_path / "set")
    whole.prepare()

    def stop_half_way():
        with whole.piece(0) as add:
            add(ENTRIES[0][1])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_half_way()
    assert list((whole.folder / "pieces").iterdir()) == []


@pytest.mark.parametrize("lost", [0, 4, 13])
def test_images_that_no_worker_reports_are_noticed(tmp_path, lost):
    whole = ShardedSet(tmp_path / "set")
    whole.prepare()
    layout = lay_out([x for x in write_pieces(whole) if x.index != lost])
    with pytest.raises(WriteError, match="1 of 14 images were lost") as error:
        finish(whole, layout, write_shards(whole, layout))
    assert is_sentence(str(error.value))
    assert not whole.dst.exists()


def test_shards_that_no_worker_reports_are_noticed(tmp_path):
    whole, layout, written = begin(tmp_path / "set")
    with pytest.raises(WriteError, match="4 of 14 images were lost"):
        finish(whole, layout, written - {min(written)})
    assert not whole.dst.exists()


def test_features_are_in_one_order_in_every_process():
    # Protocol buffers leave it to chance, drawn anew by every process.
    example = serialize("a", photograph(), 1, NAMES)
    names = (b"\x02id", b"\x0bimage/shape", b"\x0bimage/value", b"\x05label")
    places = [example.index(b"\n" + name) for name in names]
    assert places == sorted(places)
