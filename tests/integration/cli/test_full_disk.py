"""A disk that is full or may not be written: the job fails with its path in the message, and no process hangs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_kit import ECHO, Bench

Mount = Callable[..., Path]

WORDY = """\
import os

def run(mini_batch):
    return [os.path.basename(path) + "x" * 400_000 for path in mini_batch]
"""
"""Returns 400 kB for each file."""


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mount a small file system at a new folder; skips where that is not allowed."""
    mounted: list[Path] = []

    def at(name: str, size: str = "1m", options: str = "rw") -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size},{options}", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"file systems cannot be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield at
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def outputs(target: Path) -> dict[str, dict[str, str]]:
    return {"scores": {"type": "uri_file", "path": str(target)}}


def test_the_disk_of_the_target_is_full_during_the_run(bench: Bench, mount: Mount) -> None:
    small = mount("small")
    bench.script(WORDY)
    bench.files(20)
    done = bench.submit(outputs=outputs(small / "scores.txt"))
    assert done.code == 1
    assert "No space left on device" in done.err and str(small) in done.err and "make room" in done.err
    assert "Traceback" not in done.err and "defect" not in done.err
    assert bench.status() == "Failed"
    assert not (small / "scores.txt").exists()


def test_the_disk_of_the_home_is_full_during_the_run(bench: Bench, mount: Mount) -> None:
    mount("home", size="2m")
    bench.script(WORDY)
    bench.files(40)
    done = bench.submit()
    assert done.code == 1
    assert "No space left on device" in done.err and str(bench.home) in done.err
    assert "Traceback" not in done.err and "defect" not in done.err
    assert bench.status() == "Failed"
    assert not bench.target.exists()


def test_the_disk_of_the_home_is_full_before_the_job(bench: Bench, mount: Mount) -> None:
    home = mount("home", size="256k")
    bench.script(ECHO)
    bench.files(1)
    (home / "ballast").write_bytes(b"x" * 200_000)
    with bench.nothing_written():
        done = bench.submit()
    assert done.code == 1
    assert str(home) in done.err and "Traceback" not in done.err and "defect" not in done.err
    assert len(done.err.splitlines()) == 1
    (home / "ballast").unlink()
    assert bench.run("list", "--output", "json").ok().json == []


def test_a_home_that_is_full_in_the_middle_ends_the_job_somehow(bench: Bench, mount: Mount) -> None:
    home = mount("home", size="4m")
    bench.files(3)
    going = bench.began()
    with open(home / "ballast", "wb", buffering=0) as ballast, pytest.raises(OSError, match="No space"):
        while True:
            ballast.write(b"x" * 4096)
    bench.give("go")
    ended = going.end()
    assert ended.code in (1, 3)
    assert "Traceback" not in ended.err and "defect" not in ended.err
    assert not bench.target.exists()
    (home / "ballast").unlink()


def test_a_target_that_may_not_be_written(bench: Bench, mount: Mount) -> None:
    closed = mount("closed", options="ro")
    bench.script(ECHO)
    bench.files(1)
    with bench.nothing_written():
        done = bench.submit(outputs=outputs(closed / "scores.txt"))
    assert done.code == 2
    assert str(closed) in done.err and "written" in done.err
    assert len(done.err.splitlines()) == 1
    assert bench.run("list", "--output", "json").ok().json == []


def test_a_home_that_may_not_be_written(bench: Bench, mount: Mount) -> None:
    mount("home", options="ro")
    bench.script(ECHO)
    bench.files(1)
    with bench.nothing_written():
        done = bench.submit()
    assert done.code == 1
    assert str(bench.home) in done.err and "RUNNER_HOME" in done.err and "Traceback" not in done.err
    assert len(done.err.splitlines()) == 1
    assert bench.run("list").code in (0, 1)


@pytest.mark.skipif(os.getuid() == 0, reason="permissions do not bind root")
def test_permissions_that_are_missing(bench: Bench) -> None:
    bench.script(ECHO)
    bench.files(1)
    locked = bench.folder / "locked"
    locked.mkdir(mode=0o500)
    done = bench.submit(outputs=outputs(locked / "scores.txt"))
    assert done.code == 2 and str(locked) in done.err
    bench.data.chmod(0)
    done = bench.submit()
    bench.data.chmod(0o700)
    assert done.code == 2 and str(bench.data) in done.err


def test_download_onto_a_full_disk_says_where(bench: Bench, mount: Mount) -> None:
    small = mount("small")
    bench.script(WORDY)
    bench.files(5)
    bench.submit().ok()
    done = bench.run("download", "probe", "--path", small)
    assert done.code == 1 and str(small) in done.err and "No space left on device" in done.err
    assert "Traceback" not in done.err
