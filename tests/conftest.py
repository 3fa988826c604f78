"""What every test gets: a home of its own, nothing of the caller's environment, and a look at what it left running."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

TESTS = Path(__file__).parent
MARKED_FOLDERS = ("ray", "crash", "chaos")
LONG_TIMEOUT_S = 300
"""For what starts clusters, kills processes or is slow by its nature."""
GRACE_S = 20.0
"""How long the last processes of a home (the keeper and its Ray) may take to go."""

# Time limits of single examples say more about the machine than about the code.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        if folder in MARKED_FOLDERS:
            item.add_marker(folder)
        if item.get_closest_marker("timeout") is None and any(map(item.get_closest_marker, (*MARKED_FOLDERS, "slow"))):
            item.add_marker(pytest.mark.timeout(LONG_TIMEOUT_S))


@pytest.fixture(autouse=True)
def own_world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Point RUNNER_HOME into the test's folder; afterwards fail if a process of that home is left."""
    for name in list(os.environ):
        if name.startswith(("RUNNER_", "RAY_")) and name != "RUNNER_NATIVE_DEBUG":
            monkeypatch.delenv(name)
    if "unit" in request.path.relative_to(TESTS).parts:
        monkeypatch.setenv("RUNNER_HOME", "/nonexistent/unit-tests-touch-no-disk")
        yield
        return
    home = request.getfixturevalue("tmp_path") / "home"
    monkeypatch.setenv("RUNNER_HOME", str(home))
    yield
    fail_on_processes_of(home)


@pytest.fixture(autouse=True, scope="session")
def nothing_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """At the very end no process has a home below the session's folder, also not one that tests shared."""
    yield
    fail_on_processes_of(tmp_path_factory.getbasetemp())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder that RUNNER_HOME names in this test; not made yet."""
    return tmp_path / "home"


def fail_on_processes_of(folder: Path) -> None:
    """Wait for the processes whose environment or command line names `folder`; kill and name those that stay."""
    until = time.monotonic() + GRACE_S
    while (left := processes_of(folder)) and time.monotonic() < until:
        time.sleep(0.05)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    if left:
        pytest.fail(f"left running in {folder}:\n" + "\n".join(f"{pid} {command}" for pid, command in left.items()))


def processes_of(folder: Path) -> dict[int, str]:
    """Process id to command line of those younger than this one that were started with `folder` in sight."""
    wanted = str(folder).encode()
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            if start_ticks(entry) <= start_ticks(Path("/proc/self")):
                continue  # not of our making; the shell that called us may well name the folder
            command = (entry / "cmdline").read_bytes()
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue  # gone meanwhile, or another user's
        if command and (wanted in command or b"\0RUNNER_HOME=" + wanted in b"\0" + environment):
            found[int(entry.name)] = command.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


def start_ticks(entry: Path) -> int:
    """When a process began, in ticks since boot."""
    return int((entry / "stat").read_bytes().rpartition(b")")[2].split()[19])
