"""A Ray of one node for the length of a benchmark, with a token of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def ray_head(cpus: int = 2) -> Iterator[dict[str, str]]:
    """Start Ray, yield the environment in which programs find it, end it."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # a socket's path has 107 bytes
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_memory_monitor_refresh_ms": "0",
    }
    line = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", f"--num-cpus={cpus}"]
    line += ["--node-ip-address=127.0.0.1", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}"]
    with open(folder / "talk", "wb") as talk:
        process = subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=talk,
            stderr=talk,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    try:
        until = time.monotonic() + 60
        while "Ray runtime started" not in (folder / "talk").read_text():
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit((folder / "talk").read_text())
            time.sleep(0.1)
        yield {**environment, "RAY_ADDRESS": f"127.0.0.1:{port}"}
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
