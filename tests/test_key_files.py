"""Key files: private, never overwritten, complete or not there."""

import os
import stat

import pytest
from known_key import SECRET, key, private_file

import vim_jax


def test_saved_keys_load_equal(tmp_path):
    key().save(tmp_path / "key")
    assert vim_jax.SecretKey.load(tmp_path / "key") == key()


def test_paths_may_be_strings(tmp_path):
    key().save(str(tmp_path / "key"))
    assert vim_jax.SecretKey.load(str(tmp_path / "key")) == key()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o377])
def test_only_the_owner_can_read_a_saved_key(tmp_path, umask):
    before = os.umask(umask)
    try:
        key().save(tmp_path / "key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_save_refuses_to_overwrite(tmp_path):
    path = tmp_path / "key"
    path.write_text("precious")
    with pytest.raises(vim_jax.KeyFileError, match="exist"):
        key().save(path)
    assert path.read_text() == "precious"


def test_save_does_not_follow_a_dangling_link(tmp_path):
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(vim_jax.KeyFileError):
        key().save(tmp_path / "key")
    assert not (tmp_path / "elsewhere").exists()


def test_save_into_a_missing_folder_is_one_sentence(tmp_path):
    path = tmp_path / "none" / "key"
    with pytest.raises(vim_jax.KeyFileError) as error:
        key().save(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_save_leaves_nothing_else_behind(tmp_path):
    key().save(tmp_path / "key")
    assert os.listdir(tmp_path) == ["key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o666])
def test_load_refuses_files_that_others_can_read(tmp_path, mode):
    path = tmp_path / "key"
    key().save(path)
    path.chmod(mode)
    with pytest.raises(vim_jax.KeyFileError) as error:
        vim_jax.SecretKey.load(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_load_accepts_files_that_only_the_owner_can_read(tmp_path, mode):
    path = tmp_path / "key"
    key().save(path)
    path.chmod(mode)
    assert vim_jax.SecretKey.load(path) == key()


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", SECRET, b"\x00" * 64, b"\xff\xfe\x00", b"vim-jax secret key 1\n"],
)
def test_load_refuses_garbage(tmp_path, content):
    path = tmp_path / "key"
    private_file(path, content)
    with pytest.raises(vim_jax.KeyFileError) as error:
        vim_jax.SecretKey.load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("length", range(0, 84, 7))
def test_load_refuses_a_truncated_key(tmp_path, length):
    path = tmp_path / "key"
    key().save(path)
    whole = path.read_bytes()
    private_file(path, whole[: min(length, len(whole.rstrip()) - 1)])
    with pytest.raises(vim_jax.KeyFileError):
        vim_jax.SecretKey.load(path)


def test_load_refuses_a_key_with_one_wrong_character(tmp_path):
    path = tmp_path / "key"
    key().save(path)
    whole = path.read_bytes()
    place = whole.rindex(SECRET.hex().encode()[-4:]) if SECRET.hex() else 0
    private_file(path, whole[:place] + b"g" + whole[place + 1 :])
    with pytest.raises(vim_jax.KeyFileError):
        vim_jax.SecretKey.load(path)


def test_load_names_a_missing_file(tmp_path):
    with pytest.raises(vim_jax.KeyFileError, match="none"):
        vim_jax.SecretKey.load(tmp_path / "none")


def test_load_refuses_a_folder(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o700)
    with pytest.raises(vim_jax.KeyFileError):
        vim_jax.SecretKey.load(folder)


def test_key_file_error_is_a_value_error():
    assert issubclass(vim_jax.KeyFileError, ValueError)
