"""The folder where a keeper and its drivers meet."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from runner.cluster.folder import MARK, TEMP_PREFIX, FileLock, KeeperFolder, KeeperRecord, sweep_temp_dirs
from runner.cluster.processes import is_same_process, read_boot, start_time_of


@pytest.fixture
def folder(tmp_path: Path) -> KeeperFolder:
    return KeeperFolder(tmp_path)


def record(pid: int, start_time: int, temp_dir: Path) -> KeeperRecord:
    return KeeperRecord(pid=pid, start_time=start_time, temp_dir=str(temp_dir), python=sys.executable, ray="2")


def test_a_record_is_read_as_written_and_tells_whether_its_keeper_lives(folder: KeeperFolder, tmp_path: Path) -> None:
    assert folder.read_record() is None
    mine = record(os.getpid(), start_time_of(os.getpid()), tmp_path)
    folder.write_record(mine)
    assert folder.read_record() == mine
    assert mine.is_alive
    assert not record(os.getpid(), 1, tmp_path).is_alive


def test_the_token_is_for_its_owner_only(folder: KeeperFolder) -> None:
    folder.write_token("secret")
    assert folder.token.stat().st_mode & 0o777 == 0o600


def test_what_a_killed_keeper_left_is_cleaned(folder: KeeperFolder, tmp_path: Path) -> None:
    temp_dir = tmp_path / "runner-ray-x"
    temp_dir.mkdir()
    with subprocess.Popen(
        ["sh", "-c", "echo; read line"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, MARK: str(temp_dir)},
        start_new_session=True,
    ) as orphan:
        assert orphan.stdout is not None
        orphan.stdout.readline()  # its environment can be read from here on
        started = start_time_of(orphan.pid)
        folder.write_record(record(999_999_999, 1, temp_dir))
        folder.write_address("127.0.0.1:1")
        folder.clean()
        assert not is_same_process(orphan.pid, started)
    assert not temp_dir.exists()
    assert folder.read_record() is None
    assert folder.read_address() == ""


def test_what_a_killed_keeper_left_is_swept_by_another(tmp_path: Path) -> None:
    temp_dir = Path(tempfile.mkdtemp(prefix=TEMP_PREFIX, dir="/tmp"))
    foreign = Path(tempfile.mkdtemp(prefix=TEMP_PREFIX, dir="/tmp"))
    for path, boot in ((temp_dir, read_boot()), (foreign, "another namespace")):
        left = replace(record(999_999_999, 1, path), boot=boot)
        KeeperFolder(tmp_path).write_record(left)
    sweep_temp_dirs()
    assert not temp_dir.exists()
    assert foreign.exists()
    shutil.rmtree(foreign)


def test_only_a_temporary_folder_of_ours_is_removed(folder: KeeperFolder, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    folder.write_record(record(999_999_999, 1, precious))
    folder.clean()
    assert precious.exists()


def test_shares_go_together_and_keep_the_exclusive_lock_away(tmp_path: Path) -> None:
    first, second, keeper = (FileLock(tmp_path / "lock") for _ in range(3))
    assert first.take(shared=True)
    assert second.take(shared=True)
    assert not keeper.take(shared=False)
    first.release()
    first.release()
    assert not keeper.take(shared=False)
    second.release()
    assert keeper.take(shared=False)
    late = FileLock(tmp_path / "lock")
    assert not late.take(shared=True, within_s=0.05)
    keeper.release()
    assert late.take(shared=True)
    late.release()
