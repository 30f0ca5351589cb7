"""`vim-jax` as a process of its own: killed, interrupted, twice at once, and silent."""

import io
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import rich.console
import rich.traceback
from folders import photograph, photographs, pixels, save, tree

from vim_jax import SecretKey
from vim_jax.cli import main
from vim_jax.data.writers import locked

MIX = ("mix", "src", "dst", "--region-size", "5", "--key", "my.key")
ENVIRONMENT = {**os.environ, "JAX_PLATFORMS": "cpu", "COLUMNS": "200"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def start(*arguments, **options):
    return start_python("-m", "vim_jax", *arguments, **options)


def start_python(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        **options,
    )


def finish(process):
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    return process.returncode, out, err


def wait_for(process, count):
    """Waits until so many images are published, or the process has ended."""
    while process.poll() is None and len(list(os.scandir("dst"))) <= count:
        time.sleep(0.001)


def many(folder, count=150):
    """One photograph under many names, so that there is time to interrupt."""
    path = save(folder / "src/0000.png", photograph())
    for i in range(1, count):
        os.link(path, folder / f"src/{i:04}.png")
    (folder / "dst").mkdir()
    return folder / "src"


@pytest.mark.slow
def test_killed_again_and_again_it_finishes_as_if_never_interrupted(folder):
    many(folder)
    SecretKey.generate().save("my.key")
    kills, seen = 0, {}
    for count in (0, 1, 13, 40, 41, 90):
        process = start(*MIX)
        wait_for(process, count)
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        for path in (folder / "dst").glob("[0-9]*.png"):  # Whole, and written once.
            written = path.stat().st_mtime_ns, path.stat().st_ino
            assert seen.setdefault(path, written) == written
            assert pixels(folder / "dst")[path.name].shape == (16, 24, 3)
    assert kills >= 4
    code, _, _ = finish(start(*MIX))
    assert code == 0
    code, _, _ = finish(start("mix", "src", "whole", *MIX[3:]))
    assert code == 0
    assert tree(folder / "dst") == tree(folder / "whole")
    assert len(pixels(folder / "dst")) == 150


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
def test_interrupted_it_says_how_to_go_on(folder, number, code):
    many(folder, 3000)
    process = start(*MIX)
    wait_for(process, 3)
    process.send_signal(number)
    returned, _, err = finish(process)
    assert returned == code
    assert "run the same command again to go on" in err
    found = {name for name in tree(folder / "dst") if not name.endswith(".png")}
    assert found == {"manifest.jsonl"}
    assert len(list((folder / "dst").glob("*.png"))) < 3000


def test_two_runs_into_one_folder(folder):
    many(folder)
    first = start(*MIX)
    wait_for(first, 1)
    first.send_signal(signal.SIGSTOP)
    code, _, err = finish(start(*MIX))
    first.send_signal(signal.SIGCONT)
    assert code == 1
    assert "dst is being written to by another vim-jax: wait for it to end" in err
    assert finish(first)[0] == 0
    assert len(pixels(folder / "dst")) == 150


def test_lock_of_a_killed_run_does_not_block(folder):
    many(folder)
    process = start(*MIX)
    wait_for(process, 1)
    process.kill()
    process.communicate()
    with locked(folder / "dst"):
        pass


def test_many_threads_end_with_their_process(folder):
    many(folder)
    process = start(*MIX, "--workers", "6")
    wait_for(process, 2)
    process.kill()
    process.communicate()
    before = tree(folder / "dst")
    time.sleep(0.3)
    assert tree(folder / "dst") == before


def secrets_of(path):
    digits = pathlib.Path(path).read_text().splitlines()[1]
    raw = bytes.fromhex(digits)
    return digits.encode(), raw, repr(raw).encode(), repr(raw)[2:-1].encode()


def test_key_is_nowhere_but_in_its_file(folder):
    photographs(folder / "src")
    shown = b""
    for arguments in (MIX, ("restore", "dst", "back", "--key", "my.key")):
        _, out, err = finish(start(*arguments))
        shown += out.encode() + err.encode()
    for name, content in {**tree(folder), "shown": shown}.items():
        if name != "my.key":
            assert not any(secret in content for secret in secrets_of("my.key")), name


@pytest.mark.parametrize(
    ("function", "command"),
    [
        ("shuffle_image", MIX),
        ("permutation_bits", MIX),
        ("seal", MIX),
        ("shuffle_image", ("restore", "dst", "back", "--key", "my.key")),
    ],
)
def test_key_does_not_show_in_tracebacks_with_local_variables(
    folder, monkeypatch, function, command
):
    photographs(folder / "src", 1)
    if command is not MIX:
        with pytest.raises(SystemExit):
            main(MIX)

    def fail(*arguments, **options):
        raise ZeroDivisionError

    monkeypatch.setattr(f"vim_jax.data.mixing.{function}", fail)
    with pytest.raises(ZeroDivisionError) as error:
        main(command)
    shown = io.StringIO()
    traceback = rich.traceback.Traceback.from_exception(
        error.type, error.value, error.tb, show_locals=True, locals_max_string=9999
    )
    rich.console.Console(file=shown, width=300).print(traceback)
    assert "mixing.py" in shown.getvalue()
    assert "SecretKey(fingerprint=" in shown.getvalue()
    for secret in secrets_of("my.key"):
        assert secret not in shown.getvalue().encode()


def test_reader_that_went_away_is_no_error(folder):
    photographs(folder / "src", 1)
    process = start("vfe", "src/dogs/0.png", "--json")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    process.wait()
    assert err == ""


def test_terminal_without_unicode(folder):
    photographs(folder / "src", 2)
    save(folder / "src/ünï.png", photograph(seed=7))
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "vim_jax", *MIX], capture_output=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
