"""The manifest: what anyone may read, what is sealed, and what damage does."""

import base64
import hmac
import json
import re
import zlib

import keystreams
import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from folders import is_sentence, photographs, tree

from vim_jax import SecretKey, VisualMixer
from vim_jax.data import DataError, folder, manifest
from vim_jax.data.publish import publish
from vim_jax.permute import SPEC_VERSION

KEY = SecretKey(bytes(range(32)))
SEALED = manifest.Sealed(
    id="Jane Doe.jpg",
    suffix=".jpg",
    mode="LA",
    nonce=np.arange(8, dtype=np.uint32) * 2**29,
    size=np.arange(1, 7, dtype=np.int32).reshape(2, 3),
)


def record(id: object = "a.png", **changes):
    bits = {"minimum": 1.0, "median": 2.0}
    numbers = {"vfe": 1.0, "vfe_after": 2.0, "left_in_place": 0.0}
    return {"id": id, **numbers, "bits_per_region": bits, **changes}


def head(**changes):
    settings = {"channels": "joint", "scramble_regions": False}
    return {**manifest.header(settings, KEY, file_format="png"), **changes}


def write(path, *entries):
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def read(path):
    found, end, records = manifest.read(path)
    return found, end, list(records)


def test_sealed_record_opens_with_its_key_and_id():
    text = manifest.seal(KEY, "1.png", SEALED)
    opened = manifest.unseal(KEY, record("1.png", sealed=text))
    assert (opened.id, opened.suffix, opened.mode) == ("Jane Doe.jpg", ".jpg", "LA")
    np.testing.assert_array_equal(opened.nonce, SEALED.nonce)
    np.testing.assert_array_equal(opened.size, SEALED.size)
    assert manifest.original_id(KEY, record("1.png", sealed=text)) == "Jane Doe.jpg"


def test_sealed_record_opens_by_the_document_alone():
    """As docs/manifest.md says, with nothing of vim_jax but the sealed text."""
    secret = bytes(range(32))
    sizes = np.array([[2, 2, 1], [2, 2, 4]], np.int32)
    sealed = manifest.Sealed("a.jpg", ".jpg", "RGB", np.arange(8, dtype="<u4"), sizes)
    text = manifest.seal(SecretKey(secret), "a.png", sealed)

    data, subkey = (
        base64.b64decode(text),
        keystreams.subkey(secret, "manifest"),
    )
    tag, body = data[:32], data[32:]
    seed = hmac.digest(subkey, b"key" + tag, "sha256")
    message = ChaCha20Poly1305(seed).decrypt(bytes(12), body, b"a.png")
    framed = (5).to_bytes(8, "little") + b"a.png" + message
    assert tag == hmac.digest(subkey, b"tag" + framed, "sha256")
    assert len(message) == 4096
    content = json.loads(message)
    plan = zlib.decompress(base64.b64decode(content.pop("plan")))
    numbers = np.frombuffer(plan, f"<u{content.pop('width')}")
    assert numbers.reshape(content.pop("shape")).tolist() == sizes.tolist()
    assert content == {
        "id": "a.jpg",
        "suffix": ".jpg",
        "mode": "RGB",
        "nonce": np.arange(8, dtype="<u4").tobytes().hex(),
    }


@pytest.mark.parametrize("largest", [1, 255, 256, 65535, 65536, 2**31 - 1])
def test_plans_of_any_size_come_back(largest):
    sizes = np.array([[1, largest]], np.int32)
    sealed = manifest.Sealed("a.jpg", None, "L", SEALED.nonce, sizes)
    text = manifest.seal(KEY, "a.png", sealed)
    opened = manifest.unseal(KEY, record("a.png", sealed=text))
    assert opened.size.dtype == np.int32
    np.testing.assert_array_equal(opened.size, sizes)


def test_sealed_record_opens_for_nobody_else():
    text = manifest.seal(KEY, "1.png", SEALED)
    other = SecretKey.generate()
    for key, id, sealed in (
        (other, "1.png", text),
        (KEY, "2.png", text),
        (KEY, "1.png", text[:-8] + "AAAAAAA="),
    ):
        with pytest.raises(DataError) as error:
            manifest.unseal(key, record(id, sealed=sealed))
        assert is_sentence(str(error.value))
        assert "Jane" not in str(error.value)


def test_sealed_records_do_not_tell_how_busy_a_plan_is():
    rng = np.random.default_rng(0)
    shape = (24, 24)
    plain = np.ones(shape, np.int32)
    busy = rng.integers(1, 9, shape, np.int32)
    lengths = set()
    for size in (plain, busy):
        sealed = manifest.Sealed("a", None, "L", SEALED.nonce, size)
        lengths.add(len(manifest.seal(KEY, "a.png", sealed)))
    assert len(lengths) == 1


def test_manifest_is_read_back_with_the_ends_of_its_lines(tmp_path):
    path = write(tmp_path / "m", head(), record("ü.png"), record("b"))
    found, end, records = read(path)
    assert found == head()
    lines = path.read_bytes().splitlines(keepends=True)
    assert end == len(lines[0])
    assert [entry["id"] for entry, _ in records] == ["ü.png", "b"]
    assert records[-1][1] == len(path.read_bytes())


def test_half_a_line_at_the_end_is_passed_over(tmp_path):
    path = write(tmp_path / "m", head(), record("a"), record("b"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert [entry["id"] for entry, _ in read(path)[2]] == ["a"]


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [[1, 2]],
        [{"format": "another"}],
        [head(settings=None)],
        [head(settings={"channels": "rgb", "scramble_regions": False})],
        [head(settings={"channels": "joint", "scramble_regions": 1})],
        [head(key=5)],
        [{name: value for name, value in head().items() if name != "key"}],
        [head(file_format=None)],
        [head(), record(id=5)],
        [head(), record(id=None)],
        [head(), record("a"), record("a")],
        [head(), record(vfe="many")],
        [head(), record(vfe_after=None)],
        [head(), record(bits_per_region=3)],
        [head(), record(bits_per_region={})],
        [head(), ["a.png"]],
        [head(), {}],
    ],
)
def test_manifest_damaged_by_hand_is_refused_in_one_sentence(tmp_path, entries):
    path = write(tmp_path / "m", *entries)
    with pytest.raises(DataError) as error:
        read(path)
    assert is_sentence(str(error.value))
    assert f"{path} is damaged in line" in str(error.value)


@pytest.mark.parametrize(
    "line", [b"\xff\xfe\n", b"not json\n", b"[" * 100_000 + b"\n", b"\0" * 50 + b"\n"]
)
def test_lines_that_are_no_json_are_refused(tmp_path, line):
    path = write(tmp_path / "m", head())
    path.write_bytes(path.read_bytes() + line)
    with pytest.raises(DataError, match="damaged in line 2"):
        read(path)


def test_other_version_of_the_permutation_is_refused(tmp_path):
    version = SPEC_VERSION + 1
    path = write(tmp_path / "m", head(permutation=version))
    with pytest.raises(DataError, match=f"names version {version} of the permutation"):
        read(path)


def test_manifest_that_cannot_be_read_is_one_sentence(tmp_path):
    (tmp_path / "manifest.jsonl").mkdir()
    with pytest.raises(DataError, match="Is a directory") as error:
        read(tmp_path / "manifest.jsonl")
    assert is_sentence(str(error.value))


def test_writer_keeps_a_part_and_takes_lines_back(tmp_path):
    path = write(tmp_path / "m", head(), record("a"), record("lost"))
    keep = len(path.read_bytes().rpartition(b'{"id": "lost"')[0])
    with manifest.ManifestWriter(path, keep) as writer:
        starts = writer.append(record("b"), record("mistake"), record("another"))
        assert starts[0] == keep
        writer.cut(starts[1])
        writer.append(record("c"))
    assert [entry["id"] for entry, _ in read(path)[2]] == ["a", "b", "c"]


def test_settings_may_be_numpy_numbers():
    line = manifest.as_line({"region_size": np.int64(4), "level": np.float32(0.5)})
    assert json.loads(line) == {"region_size": 4, "level": 0.5}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The lines of a manifest of four images."""
    tmp_path = tmp_path_factory.mktemp("published")
    source = folder(photographs(tmp_path / "src"))
    mixer = VisualMixer(region_size=5, scramble_regions=True)
    publish(source, tmp_path / "dst", mixer, KEY)
    return tree(tmp_path / "dst")["manifest.jsonl"].decode()


def test_published_manifest_names_settings_and_key(published):
    found = json.loads(published.splitlines()[0])
    assert found["format"] == "vim_jax manifest"
    assert found["permutation"] == SPEC_VERSION
    assert found["key"] == KEY.fingerprint
    assert found["file_format"] == "png"
    assert found["settings"]["region_size"] == 5
    assert found["settings"]["scramble_regions"] is True


def test_published_records_hold_the_measures_of_each_image(published):
    for line in published.splitlines()[1:]:
        entry = json.loads(line)
        assert entry["shape"] == [16, 24, 3]
        assert 0 < entry["vfe"] < entry["expected_vfe"]
        assert entry["expected_vfe_scrambled"] == pytest.approx(
            entry["vfe_after"], rel=0.2
        )
        assert entry["bits_per_region"]["minimum"] > 0
        assert entry["bits_per_region"]["minimum"] <= entry["bits_per_region"]["median"]
        assert entry["left_in_place"] == 0


def test_published_manifest_has_no_times_and_no_plan_in_clear(published):
    public = re.sub(r'"sealed":"[^"]*"', "", published)
    for word in ("time", "date", "nonce", "plan", 'size":[', "suffix", "mode"):
        assert word not in public
    assert not re.search(r"20\d\d-\d\d|1[6-9]\d{8}", public)


def test_sealed_parts_are_of_one_length_for_equal_shapes(published):
    sealed = [json.loads(line)["sealed"] for line in published.splitlines()[1:]]
    assert len({len(text) for text in sealed}) == 1
    assert len(set(sealed)) == 4
