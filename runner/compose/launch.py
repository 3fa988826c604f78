"""Starting a driver: a process in a session of its own, which outlives whoever submits the job."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

from runner.store.home import Home


def launch_driver(home: Home, name: str) -> None:
    """Start the driver of a job; it says what it has to say in the job's `logs/sys/driver.txt`."""
    folder = home.job(name)
    talk = folder.logs / "sys" / "driver.txt"
    talk.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "RUNNER_HOME": str(home.root), "PYTHONUNBUFFERED": "1"}
    with open(talk, "ab") as log:
        process = subprocess.Popen(
            # -P: a folder of the user's that happens to be called like a module must not shadow it.
            [sys.executable, "-P", "-m", "runner.compose", "drive", name],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    # In a notebook this process lives on: without a wait the driver would stay a zombie after its end.
    threading.Thread(target=process.wait, name=f"driver of {name}", daemon=True).start()
