"""Mixing on many machines, played by Beam's local runner."""

import base64
import bz2
import itertools
import json
import re

import pytest
from folders import is_sentence, photograph, photographs, save, tree
from known_key import SECRET, key

from vim_jax import VisualMixer
from vim_jax.data import DataError, open_source
from vim_jax.data.errors import WriteError
from vim_jax.data.publish import publish

beam = pytest.importorskip("apache_beam")
PipelineOptions = beam.options.pipeline_options.PipelineOptions

from vim_jax.data.beam import (  # noqa: E402
    KeyReference,
    MixImages,
    _Prepare,
    _Step,
    run_beam,
)

MIXER = VisualMixer(region_size=5)
VARIABLE = "VIM_JAX_TEST_KEY"
# By its class: plain DirectRunner would first look for another runner on the network.
ONE_PROCESS = ["--runner=FnApiRunner"]
PROCESSES = [
    *ONE_PROCESS,
    "--direct_running_mode=multi_processing",
    "--direct_num_workers=2",
]


@pytest.fixture
def key_file(tmp_path):
    key().save(tmp_path / "my.key")
    return tmp_path / "my.key"


@pytest.fixture
def src(tmp_path):
    """Photographs, some of which fail: the first, the last and some between."""
    folder = photographs(tmp_path / "src", 12)
    save(folder / "dogs/4.png", photograph("L"))
    save(folder / "zebras/1.png", photograph("RGBA"))
    for name in ("cats/1.png", "dogs/0.png"):
        (folder / name).write_bytes(b"")
    return folder


def local(src, dst, secret=None, **options):
    mixer = options.pop("mixer", MIXER)
    source = open_source(src, split=options.pop("split", None))
    return publish(source, dst, mixer, secret, fmt="tfds", **options)


def assert_same(tmp_path, report, expected):
    """Whether `beam` and `local` hold the same files and report the same."""
    files = tree(tmp_path / "local")
    assert {"manifest.jsonl", "ids-train.jsonl", "dataset_info.json"} <= files.keys()
    assert tree(tmp_path / "beam") == files
    assert report.failures == {
        id: text.replace(f"{tmp_path}/local", f"{tmp_path}/beam")
        for id, text in expected.failures.items()
    }
    assert (report.mixed, report.notes) == (expected.mixed, expected.notes)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
def test_several_processes_write_the_bytes_of_a_local_run(tmp_path, src, key_file):
    expected = local(src, tmp_path / "local", key())
    assert len(expected.failures) == 4
    # Batches for all of them.
    mix = MixImages(src, tmp_path / "beam", MIXER, KeyReference(key_file), batch_size=2)
    report = run_beam(mix, PROCESSES)
    assert_same(tmp_path, report, expected)
    assert names(tmp_path) == ["beam", "local", "my.key", "src"]


@pytest.mark.parametrize(
    ("options", "beam_options"),
    [
        ({}, ["--direct_runner_bundle_repeat=2"]),
        ({"rename": True}, []),
        ({"mixer": VisualMixer(region_size=4, scramble_regions=True)}, []),
    ],
    ids=["every step repeated", "renamed", "scrambled"],
)
def test_shards_and_options_and_retries_change_nothing(
    tmp_path, src, key_file, monkeypatch, options, beam_options
):
    monkeypatch.setattr("vim_jax.data.tfds_files._SHARD_EXAMPLES", 3)
    expected = local(src, tmp_path / "local", key(), **options)
    mix = MixImages(
        src,
        tmp_path / "beam",
        key=KeyReference(key_file),
        batch_size=4,
        **{"mixer": MIXER, **options},
    )
    report = run_beam(mix, ONE_PROCESS + beam_options)
    assert len(list((tmp_path / "beam").glob("*.array_record-*"))) == 3
    assert_same(tmp_path, report, expected)


def test_a_tfds_data_set_is_a_source(tmp_path, src, key_file):
    local(src, tmp_path / "first", key())
    split = "train[1:5]"
    expected = local(tmp_path / "first", tmp_path / "local", key(), split=split)
    dst, reference = tmp_path / "beam", KeyReference(key_file)
    mix = MixImages(tmp_path / "first", dst, MIXER, reference, split=split)
    report = run_beam(mix, ONE_PROCESS)
    assert report.mixed == 4
    assert_same(tmp_path, report, expected)


def test_the_transform_is_part_of_any_pipeline(tmp_path, src, monkeypatch):
    monkeypatch.setenv(VARIABLE, SECRET.hex())
    local(src, tmp_path / "local", key())
    with beam.Pipeline(options=PipelineOptions(ONE_PROCESS)) as pipeline:
        found = pipeline | MixImages(
            src, tmp_path / "beam", MIXER, KeyReference(variable=VARIABLE)
        )
        _ = (
            found["failures"]
            | beam.Keys()
            | beam.combiners.ToList()
            | beam.Map(sorted)
            | beam.Map(json.dumps)
            | beam.io.WriteToText(str(tmp_path / "failures"), num_shards=1)
        )
    assert tree(tmp_path / "beam") == tree(tmp_path / "local")
    written = next(tmp_path.glob("failures-*")).read_text()
    failed = ["cats/1.png", "dogs/0.png", "dogs/4.png", "zebras/1.png"]
    assert json.loads(written) == failed


def everything_in(pipeline) -> list[bytes]:
    """A serialised pipeline, its options, and the pickles that it packs."""
    graph = pipeline.to_runner_api().SerializeToString()
    options = json.dumps(pipeline.options.get_all_options(), default=str).encode()
    packed = re.findall(rb"QlpoO[A-Za-z0-9+/]+={0,2}", graph)  # "BZh" in base64
    assert packed
    return [graph, options, *(bz2.decompress(base64.b64decode(x)) for x in packed)]


def spellings(secret: bytes) -> list[bytes]:
    """A secret raw, in hexadecimal digits, and in base64 at every alignment."""
    in_base64 = [base64.b64encode(bytes(i) + secret)[4:40] for i in range(3)]
    in_hex = [secret.hex().encode(), secret.hex().upper().encode()]
    return [secret, *in_hex, *in_base64]


def finds_the_key(pipeline) -> bool:
    parts, wanted = everything_in(pipeline), spellings(SECRET)
    return any(x in part for part, x in itertools.product(parts, wanted))


@pytest.mark.parametrize("where", ["file", "variable"])
def test_the_key_is_not_in_the_pipeline(tmp_path, src, key_file, monkeypatch, where):
    monkeypatch.setenv(VARIABLE, SECRET.hex())
    places = {
        "file": KeyReference(key_file),
        "variable": KeyReference(variable=VARIABLE),
    }
    pipeline = beam.Pipeline(options=PipelineOptions(ONE_PROCESS))
    _ = pipeline | MixImages(src, tmp_path / "beam", MIXER, places[where])
    assert not finds_the_key(pipeline)
    # What is in the pipeline is found: the place of the key, for one.
    place = {"file": str(key_file), "variable": VARIABLE}[where].encode()
    assert any(place in part for part in everything_in(pipeline))


@pytest.mark.parametrize("how", [bytes, bytes.hex, base64.b64encode])
def test_a_key_in_a_pipeline_would_be_found(how):
    leak = how(SECRET)
    pipeline = beam.Pipeline(options=PipelineOptions(ONE_PROCESS))
    _ = pipeline | beam.Create([None]) | beam.Map(lambda _: leak)
    assert finds_the_key(pipeline)


def test_a_discarded_key_is_kept_by_nobody(tmp_path, src):
    report = run_beam(MixImages(src, tmp_path / "beam", MIXER, None), ONE_PROCESS)
    assert report.mixed == 9
    content = (tmp_path / "beam/manifest.jsonl").read_text()
    assert '"key":null' in content
    assert "sealed" not in content


def test_where_all_images_fail_there_is_no_data_set(tmp_path, key_file):
    (tmp_path / "src").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "src" / name).write_bytes(b"")
    reference = KeyReference(key_file)
    mix = MixImages(tmp_path / "src", tmp_path / "beam", MIXER, reference)
    report = run_beam(mix, ONE_PROCESS)
    assert (sorted(report.failures), report.mixed) == (["a.png", "b.png"], 0)
    assert names(tmp_path) == ["my.key", "src"]


def test_nothing_is_overwritten(tmp_path, src, key_file):
    (tmp_path / "beam").mkdir()
    (tmp_path / "beam/precious").write_text("mine")
    mix = MixImages(src, tmp_path / "beam", MIXER, KeyReference(key_file))
    with pytest.raises(DataError, match="beam exists: choose another path"):
        run_beam(mix, ONE_PROCESS)
    assert names(tmp_path / "beam") == ["precious"]


def test_a_failed_run_is_one_sentence_and_leaves_nothing(tmp_path, src):
    mix = MixImages(src, tmp_path / "beam", MIXER, KeyReference(tmp_path / "none"))
    with pytest.raises(DataError) as error:
        run_beam(mix, ONE_PROCESS)
    assert "key file" in str(error.value)
    assert is_sentence(str(error.value))
    assert names(tmp_path) == ["src"]


def test_what_the_disk_refuses_is_one_sentence(tmp_path, src, key_file, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vim_jax.data.tfds_shards.publish_folder", fail)
    mix = MixImages(src, tmp_path / "beam", MIXER, KeyReference(key_file))
    with pytest.raises(WriteError, match="No space left on device") as error:
        run_beam(mix, ONE_PROCESS)
    assert is_sentence(str(error.value))
    assert names(tmp_path) == ["my.key", "src"]


def test_workers_that_see_other_images_are_noticed(
    tmp_path, src, key_file, monkeypatch
):
    def prepare_elsewhere(step):
        _Step.setup(step)
        step._check = "other"

    monkeypatch.setattr(_Prepare, "setup", prepare_elsewhere, raising=False)
    mix = MixImages(src, tmp_path / "beam", MIXER, KeyReference(key_file))
    with pytest.raises(DataError, match="differ from machine to machine"):
        run_beam(mix, ONE_PROCESS)
    assert names(tmp_path) == ["my.key", "src"]


@pytest.mark.parametrize("name", ["src", "dst", "data_dir"])
def test_urls_are_refused(tmp_path, name):
    paths = {"src": tmp_path, "dst": tmp_path / "beam", name: "gs://bucket/folder"}
    with pytest.raises(DataError, match=f"^{name} gs://bucket/folder") as error:
        MixImages(**paths, mixer=MIXER, key=None)
    assert is_sentence(str(error.value))


def test_a_source_that_is_missing_is_one_sentence(tmp_path):
    src = tmp_path / "none"
    with pytest.raises(DataError, match="does not exist: check the path"):
        run_beam(MixImages(src, tmp_path / "beam", MIXER, None), ONE_PROCESS)
