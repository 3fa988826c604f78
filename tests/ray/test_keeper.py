"""One embedded Ray per RUNNER_HOME: shared, gone after its last driver, and back after whatever was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.cluster.address import answers
from runner.cluster.folder import KeeperFolder
from runner.cluster.join import KeptRay, join_keeper
from runner.cluster.processes import has_variable, list_processes
from runner.errors import ClusterUnavailable

DRIVER = """
import sys, time
from pathlib import Path
from runner.cluster.join import join_keeper
print(join_keeper(Path(sys.argv[1]), lambda line: None).address, flush=True)
time.sleep(1000)
"""


KNOWN_SESSIONS: dict[Path, set[int]] = {}


def eventually(true: Callable[[], object], within_s: float = 15.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def processes_of(home: Path) -> dict[int, str]:
    """Pid to command of what runs for a home, this process aside: by environment, and by session for what hides it."""
    marked = [pid for pid, _ in list_processes(lambda pid: has_variable(pid, "RUNNER_HOME", str(home)))]
    KNOWN_SESSIONS.setdefault(home, set()).update(marked)
    found = {}
    for pid, _ in list_processes(lambda pid: pid in marked or os.getsid(pid) in KNOWN_SESSIONS[home]):
        try:
            found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


def end(home: Path, *kept: KeptRay) -> None:
    """Let go, and see that everything goes within seconds."""
    temp_dir = getattr(KeeperFolder(home / "ray").read_record(), "temp_dir", "/nonexistent")
    for ray in kept:
        ray.release()
    eventually(lambda: not processes_of(home))
    assert not Path(temp_dir).exists()
    assert not (home / "ray" / "address").exists()
    assert not (home / "ray" / "keeper").exists()


def test_drivers_share_one_ray_and_the_last_one_ends_it(home: Path) -> None:
    said: list[str] = []
    joined: list[KeptRay] = []
    threads = [threading.Thread(target=lambda: joined.append(join_keeper(home / "ray", said.append))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({ray.address for ray in joined}) == 1
    assert [line for line in said if line.startswith("starting an embedded Ray on ")] == said[:1]
    assert len(said) == 2  # starting, ready
    assert joined[0].token_path.stat().st_mode & 0o777 == 0o600
    assert joined[0].address.startswith("127.")
    assert answers(joined[0].address) == ""
    joined[0].release()
    joined[1].release()
    late = join_keeper(home / "ray", said.append)
    assert late.address == joined[2].address
    assert len(said) == 2
    joined[2].release()
    late.release()
    anew = join_keeper(home / "ray", said.append)  # the keeper is just about to end, or has ended
    assert answers(anew.address) == ""
    end(home, anew)


def test_homes_do_not_meet_and_a_killed_driver_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    homes = [tmp_path / "one", tmp_path / "two"]
    drivers = []
    for one in homes:
        environment = {**os.environ, "RUNNER_HOME": str(one)}
        drivers.append(
            subprocess.Popen(
                [sys.executable, "-c", DRIVER, str(one / "ray")],
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
    addresses = [driver.stdout.readline().strip() for driver in drivers if driver.stdout]
    assert len(set(addresses)) == 2
    assert all(answers(address) == "" for address in addresses)
    drivers[0].kill()
    drivers[0].communicate()
    eventually(lambda: not processes_of(homes[0]))
    assert answers(addresses[1]) == ""
    drivers[1].kill()
    drivers[1].communicate()
    eventually(lambda: not processes_of(homes[1]))


@pytest.mark.parametrize("victim", ["runner.cluster.keeper", "raylet/raylet"])
def test_after_a_kill_the_next_driver_gets_a_new_ray(home: Path, victim: str) -> None:
    first = join_keeper(home / "ray", lambda line: None)
    temp_dir = getattr(KeeperFolder(home / "ray").read_record(), "temp_dir", "")
    (pid,) = [pid for pid, command in processes_of(home).items() if victim in command]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: answers(first.address) != "")
    second = join_keeper(home / "ray", lambda line: None)
    assert answers(second.address) == ""
    assert not Path(temp_dir).exists()
    end(home, first, second)


def test_one_that_is_killed_while_it_starts_is_started_again(home: Path) -> None:
    victim = "runner.cluster.keeper"  # when its raylet or gcs is killed, `ray start` itself waits half a minute
    struck: list[int] = []

    def strike(line: str) -> None:
        if line.startswith("starting an embedded Ray") and not struck:
            threading.Thread(target=kill_first).start()

    def kill_first() -> None:
        while not (found := [pid for pid, command in processes_of(home).items() if victim in command]):
            threading.Event().wait(0.005)
        os.kill(found[0], signal.SIGKILL)
        struck.extend(found)

    kept = join_keeper(home / "ray", strike)
    assert struck
    assert answers(kept.address) == ""
    end(home, kept)


def test_a_ray_that_cannot_start_is_told_with_its_logs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = home / "broken" / "ray"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('this Ray is broken')")
    monkeypatch.setenv("PYTHONPATH", str(broken.parent))
    with pytest.raises(ClusterUnavailable, match=r"did not start: ImportError: this Ray is broken; see .*keeper\.log"):
        join_keeper(home / "ray", lambda line: None)
    eventually(lambda: not processes_of(home))
