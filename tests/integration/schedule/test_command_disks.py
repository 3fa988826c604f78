"""Disks that are full, may not be written, or lose the target: the command's job says which path and why."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_kit import Commands, commands_in

Mount = Callable[..., Path]


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    with commands_in(tmp_path) as made:
        yield made


@pytest.fixture
def mount(commands: Commands) -> Iterator[Mount]:
    """Mount a small file system at a folder; skips where that is not allowed."""
    mounted: list[Path] = []

    def at(folder: Path, size: str = "1m", options: str = "rw") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size},{options}", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"file systems cannot be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield at
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_fills_up_under_the_command_fails_it_and_nothing_torn_is_at_the_target(
    commands: Commands, mount: Mount
) -> None:
    small = mount(commands.root / "small")
    command = "head -c 3000000 /dev/zero > ${{outputs.o}} && echo done"
    done = commands.run(command, outputs=(commands.file("o", "small/o"),))
    assert "exit code 1" in done.failed("COMMAND_FAILED") and "No space left" in done.err
    assert not (small / "o").exists()


def test_no_room_for_the_code_is_told(commands: Commands, mount: Mount) -> None:
    commands.write("code/weights", "x" * 2_000_000)
    commands.create("true", code=str(commands.root / "code"))
    mount(commands.home.job("job").attempts)
    message = commands.drive().failed("STORAGE_FAILED")
    assert "No space left on device" in message and "make room" in message and "attempts/1" in message
    assert not any(commands.home.job("job").attempts.iterdir()), "half a copy only takes up room"


def test_a_target_that_may_not_be_written_is_refused_before_anything_runs(commands: Commands, mount: Mount) -> None:
    mount(commands.root / "stone", options="ro")
    done = commands.run(f"touch {commands.note('ran')}", outputs=(commands.file("o", "stone/o"),))
    message = done.failed("STORAGE_FAILED")
    assert "Read-only file system" in message and "stone" in message and "choose a target" in message
    assert not commands.note("ran").exists()


def test_a_full_disk_does_not_hide_why_the_command_failed(commands: Commands, mount: Mount) -> None:
    commands.create("head -c 3000000 /dev/zero > outputs/all; exit 9")
    mount(commands.home.job("job").attempts)
    assert "exit code 9" in commands.drive().failed("COMMAND_FAILED")


def test_a_mounted_file_system_is_no_target(commands: Commands, mount: Mount) -> None:
    mount(commands.root / "disk")
    done = commands.run(f"touch {commands.note('ran')}", outputs=(commands.tree("o", "disk"),))
    assert "write to a folder below it" in done.failed("STORAGE_FAILED")
    assert not commands.note("ran").exists()


def test_a_target_that_has_vanished_meanwhile_is_told_and_a_resume_runs_it_again(commands: Commands) -> None:
    folder = commands.root / "gone"
    sign = commands.note("sign")
    command = f"echo new > ${{{{outputs.o}}}}; test -e {sign} || rm -r {folder}; touch {sign}"
    done = commands.run(command, outputs=(commands.file("o", "gone/o"),))
    assert "'o'" in done.failed("OUTPUT_NOT_MADE")
    commands.resume().ok()
    assert (folder / "o").read_text() == "new\n"


def test_an_output_crosses_to_another_file_system(commands: Commands, mount: Mount) -> None:
    far = mount(commands.home.root / "kept")
    outputs = (commands.tree("t"), commands.file("f"))
    command = "cd ${{outputs.t}}; mkdir deep; ln -s ../x deep/link; echo a > x; echo b > ${{outputs.f}}"
    commands.run(command, outputs=outputs).ok()
    assert (far / "t/deep/link").read_text() == "a\n" and (far / "t/deep/link").is_symlink()
    assert (far / "f").read_text() == "b\n"
    assert sorted(path.name for path in far.iterdir()) == ["f", "t"]


def test_a_far_file_system_that_is_full_is_told_and_only_publication_is_repeated(
    commands: Commands, mount: Mount
) -> None:
    far = mount(commands.home.root / "kept")
    (far / "ballast").write_bytes(b"x" * 900_000)
    command = f"echo x >> {commands.note('tries')}; head -c 500000 /dev/zero > ${{{{outputs.f}}}}"
    done = commands.run(command, outputs=(commands.file("f"),))
    assert "No space left on device" in done.failed("STORAGE_FAILED")
    assert not (far / "f").exists()
    (far / "ballast").unlink()
    commands.resume().ok()
    assert (far / "f").stat().st_size == 500_000 and commands.note("tries").read_text() == "x\n"


def test_logs_that_cannot_be_made_are_told(commands: Commands) -> None:
    folder = commands.create("true")
    shutil.rmtree(folder.logs)
    folder.logs.write_text("in the way")
    message = commands.drive().failed("STORAGE_FAILED")
    assert "user_logs" in message and "Not a directory" in message
