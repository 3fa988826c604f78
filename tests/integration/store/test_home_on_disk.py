"""A home is private, its token is made once, and the lock of a job says whether its driver lives."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runner.errors import StorageFailed
from runner.store.home import Home
from runner.store.lock import JobLock, is_held


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_home_is_made_for_its_owner_only(tmp_path: Path) -> None:
    home = Home(tmp_path / "deep" / "home").make()
    assert mode(home.root) == 0o700
    assert mode(home.jobs) == 0o700
    home.root.chmod(0o755)
    assert mode(home.make().root) == 0o700


def test_a_home_that_is_a_file_is_told_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(StorageFailed, match="RUNNER_HOME"):
        Home(tmp_path / "home").make()


def test_the_token_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(lambda _: Home(home.root).token(), range(8)))
    assert tokens == {home.token_file.read_text().strip()}
    assert len(tokens.pop()) >= 32
    assert mode(home.token_file) == 0o600
    assert os.listdir(home.root) == ["jobs", "token"] or sorted(os.listdir(home.root)) == ["jobs", "token"]


def test_an_emptied_token_file_is_filled_again(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").make()
    home.token_file.write_text("")
    assert home.token() == home.token() != ""


HOLD = """
import sys
from pathlib import Path
from runner.store.lock import JobLock
lock = JobLock.take(Path(sys.argv[1]))
print("held" if lock else "refused", flush=True)
sys.stdin.read()
"""


def test_the_lock_is_held_by_one_process_and_falls_with_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_held(path)
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == b"held\n"
    assert is_held(path)
    assert JobLock.take(path) is None
    holder.kill()
    holder.wait()
    holder.stdout.close()
    holder.stdin.close()
    assert not is_held(path)
    lock = JobLock.take(path)
    assert lock is not None
    with lock:
        assert is_held(path)
    assert not is_held(path)
    lock.release()
