"""Starting a driver: a process in a session of its own, which outlives whoever submits the job.

Loading what a driver needs takes as long as checking a job, so a command may start its driver early. Such a driver does
nothing before it is told to go, and ends when it is not: its standard input then ends without the word.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from runner.store.home import Home

LOADS = "RUNNER_DRIVER_LOADS"
"""In the environment of a driver that was started early: `ray`, or `local` where no Ray is needed."""
GO = b"go\n"


def launch_driver(home: Home, name: str) -> None:
    """Start the driver of a job; it says what it has to say in the job's `logs/sys/driver.txt`."""
    with open(talk_of(home, name), "ab") as log:
        process = subprocess.Popen(
            _command(name),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=_environment(home),
            start_new_session=True,
        )
    # In a notebook this process lives on: without a wait the driver would stay a zombie after its end.
    threading.Thread(target=process.wait, name=f"driver of {name}", daemon=True).start()


class EarlyDriver:
    """A driver that loads while its job is still checked. A context: one that was not told to go ends with it."""

    def __init__(self, home: Home, name: str, *, wants_ray: bool) -> None:
        self.name = name
        self._process = subprocess.Popen(
            _command(name),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**_environment(home), LOADS: "ray" if wants_ray else "local"},
            start_new_session=True,
        )
        self._is_gone = False

    def launch(self, home: Home, name: str) -> None:
        """Let it drive this job, which exists now; another driver is started when it cannot."""
        assert self._process.stdin is not None
        if name == self.name and not self._is_gone and self._process.poll() is None:
            self._is_gone = True
            try:
                with self._process.stdin as pipe:
                    pipe.write(GO)
            except OSError:
                pass
            else:
                threading.Thread(target=self._process.wait, name=f"driver of {name}", daemon=True).start()
                return
        launch_driver(home, name)

    def __enter__(self) -> EarlyDriver:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_gone:
            self._process.kill()
            self._process.communicate()


def talk_of(home: Home, name: str) -> Path:
    """The file that a driver talks into; its folder is made."""
    path = home.job(name).logs / "sys" / "driver.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _command(name: str) -> list[str]:
    # -P: a folder of the user's that happens to be called like a module must not shadow it.
    return [sys.executable, "-P", "-m", "runner.compose", "drive", name]


def _environment(home: Home) -> dict[str, str]:
    return {**os.environ, "RUNNER_HOME": str(home.root), "PYTHONUNBUFFERED": "1"}
