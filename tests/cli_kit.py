"""The command line as a user has it: a job on disk, `runner VERB ...` as a process, what it printed and what it left.

Entry scripts get a module `signs` beside them. With it a script tells the test what it does, and waits for the test's
word, so that no test sleeps and hopes.
"""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

RUNNER = (sys.executable, "-P", "-m", "runner.cli.main")
PATIENCE_S = 60.0

SIGNS = '''\
"""Files by which a script and its test talk; each is made by one atomic step."""

import os
import time

FOLDER = os.environ["SIGNS"]


def give(name):
    """Make a sign; whether this call was the first to make it."""
    try:
        os.close(os.open(os.path.join(FOLDER, name), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def is_given(name):
    return os.path.exists(os.path.join(FOLDER, name))


def wait(name):
    while not is_given(name):
        time.sleep(0.005)


def note(name, text):
    with open(os.path.join(FOLDER, name), "a") as file:
        file.write(f"{text}\\n")
'''

ECHO = """\
import os

def run(mini_batch):
    return [os.path.basename(path) for path in mini_batch]
"""
"""Returns the names of the files it is given."""

HOLD = """\
import os
import signs

def run(mini_batch):
    signs.give("began")
    signs.wait("go")
    return [os.path.basename(path) for path in mini_batch]
"""
"""The same, but only after the sign `go`; `began` says that a worker is at it."""

TABLES: dict[str, Any] = {
    "inputs": {"cargo": {"type": "mltable", "mode": "direct", "path": "tables"}},
    "mini_batch_size": "10 rows",
}
"""Changes that make a job read tables."""

T = TypeVar("T")


def until(condition: Callable[[], T], within: float = PATIENCE_S, what: str = "") -> T:
    """Wait until the condition holds and return what it gave."""
    end = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {within:g} s in vain for {what or condition}"
        time.sleep(0.01)
    return value


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def ok(self) -> Ended:
        assert self.code == 0, f"exit code {self.code}\n{self.out}\n{self.err}"
        return self


class Going:
    """A command that runs, its output in files so that nothing blocks."""

    def __init__(self, arguments: tuple[str, ...], talk: Path, environment: Mapping[str, str], cwd: Path) -> None:
        self._out, self._err = talk.with_suffix(".out"), talk.with_suffix(".err")
        with open(self._out, "wb") as out, open(self._err, "wb") as err:
            self.process = subprocess.Popen(
                [*RUNNER, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=dict(environment),
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def raw(self) -> bytes:
        return self._out.read_bytes()

    @property
    def out(self) -> str:
        return self._out.read_text(errors="backslashreplace")

    @property
    def err(self) -> str:
        return self._err.read_text(errors="backslashreplace")

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def says(self, text: str, within: float = PATIENCE_S) -> None:
        """Wait until `text` stands on stdout or stderr."""
        until(lambda: text in self.out + self.err, within, f"{text!r} in what was said")

    def end(self, within: float = PATIENCE_S) -> Ended:
        """Wait for the end."""
        try:
            code = self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"did not end within {within:g} s:\n{self.out}\n{self.err}") from None
        return Ended(code, self.out, self.err)


class Terminal:
    """A command at a pseudo terminal, which is its controlling one."""

    LOGIN = "import os, sys; os.login_tty(0); os.execv(sys.argv[1], sys.argv[1:])"

    def __init__(self, arguments: tuple[str, ...], environment: Mapping[str, str], cwd: Path) -> None:
        self._hand, theirs = pty.openpty()
        termios.tcsetwinsize(self._hand, (30, 160))
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", self.LOGIN, *RUNNER, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            # Parallel runs of tests set the width of their own output.
            env={k: v for k, v in environment.items() if k not in ("COLUMNS", "LINES")} | {"TERM": "xterm-256color"},
            cwd=cwd,
        )
        os.close(theirs)
        self._seen = bytearray()
        self._reader = threading.Thread(target=self._read, name="terminal")
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._hand, 65536)
            except OSError:  # EIO: the other side has closed
                return
            if not data:
                return
            self._seen += data

    @property
    def raw(self) -> str:
        """Everything that was written to it."""
        return bytes(self._seen).decode(errors="replace")

    @property
    def text(self) -> str:
        """The same without colours and moves of the cursor."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.raw).replace("\r", "\n")

    def type(self, text: str) -> None:
        os.write(self._hand, text.encode())

    def shows(self, pattern: str, times: int = 1) -> None:
        """Wait until the pattern has been seen so often; not for what a process that has ended has not shown."""

        def has_shown() -> bool:
            has_ended = self.process.poll() is not None and not self._reader.is_alive()
            shown = len(re.findall(pattern, self.text)) >= times
            assert shown or not has_ended, f"ended with {self.process.returncode} without {pattern!r}: {self.text!r}"
            return shown

        until(has_shown, what=f"{pattern!r} in {self.text!r}")

    def hang_up(self) -> None:
        """Take the terminal away."""
        os.close(self._hand)

    def end(self, within: float = PATIENCE_S) -> int:
        """Wait for the end; the exit code."""
        code = self.process.wait(within)
        self._reader.join()
        try:
            os.close(self._hand)
        except OSError:
            pass  # was hung up
        return code


class Bench:
    """A folder with code, data and a home, and the commands that use them."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder, self.home = folder, home
        self.code, self.data, self.signs = folder / "code", folder / "data", folder.parent / "signs"
        self.target = folder / "out" / "scores.txt"
        for made in (folder, self.code, self.data, self.signs):
            made.mkdir(exist_ok=True)
        (self.code / "signs.py").write_text(SIGNS)
        self._started: list[subprocess.Popen[bytes]] = []

    def close(self) -> None:
        """After a test that failed: let scripts go on, and end the commands that still run."""
        self.give("go")
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.wait()
                if pid := self.driver_pid():
                    os.kill(pid, signal.SIGTERM)

    # ---- what a job needs -------------------------------------------------------------------------------
    def script(self, text: str) -> None:
        """Write the entry script."""
        (self.code / "score.py").write_text(text)

    def files(self, count: int) -> list[str]:
        """Write as many small files; their names, in order."""
        names = [f"{number:03d}.txt" for number in range(count)]
        for name in names:
            (self.data / name).write_text(name)
        return names

    def table(self, name: str, columns: Mapping[str, Any], **options: Any) -> Path:
        """Write a Parquet file into the folder that a job of TABLES reads."""
        path = self.folder / "tables" / name
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.table(dict(columns)), path, **options)
        return path

    def document(self, **changes: Any) -> dict[str, Any]:
        """A job of one file a mini-batch and one line a file. None takes a key out; mappings are merged."""
        document: dict[str, Any] = {
            "type": "parallel",
            "compute": "local",
            "inputs": {"cargo": {"type": "uri_folder", "path": "data"}},
            "outputs": {"scores": {"type": "uri_file", "path": "out/scores.txt"}},
            "input_data": "${{inputs.cargo}}",
            "mini_batch_size": "1",
            "max_concurrency_per_instance": 1,
            "retry_settings": {"max_retries": 0, "timeout": 60},
            "environment_variables": {"SIGNS": str(self.signs)},
            "task": {
                "type": "run_function",
                "code": "code",
                "entry_script": "score.py",
                "append_row_to": "${{outputs.scores}}",
            },
        }
        for key, value in changes.items():
            document[key] = _merged(document[key], value) if isinstance(value, dict) and key in document else value
        return {key: value for key, value in document.items() if value is not None}

    def job(self, **changes: Any) -> Path:
        """Write the document as job.yml."""
        path = self.folder / "job.yml"
        path.write_text(yaml.safe_dump(self.document(**changes), sort_keys=False))
        return path

    # ---- commands ---------------------------------------------------------------------------------------
    def start(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Going:
        """Start a command without waiting for it."""
        talk = self.home.parent / f"talk-{len(self._started)}"
        going = Going(tuple(map(str, arguments)), talk, self._environment(env), self.folder)
        self._started.append(going.process)
        return going

    def at_terminal(self, *arguments: str | Path) -> Terminal:
        """Start a command at a terminal."""
        terminal = Terminal(tuple(map(str, arguments)), self._environment(None), self.folder)
        self._started.append(terminal.process)
        return terminal

    def _environment(self, more: Mapping[str, str] | None) -> dict[str, str]:
        return os.environ | {"RUNNER_HOME": str(self.home), "PYTHONDONTWRITEBYTECODE": "1"} | dict(more or {})

    def run(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> Ended:
        """Run a command to its end."""
        return self.start(*arguments, env=env).end()

    def bytes_of(self, *arguments: str | Path) -> bytes:
        """What a command writes to stdout, as it is."""
        going = self.start(*arguments)
        going.end().ok()
        return going.raw

    def submit(self, *arguments: str | Path, **changes: Any) -> Ended:
        """Submit the job, named `probe`, and wait for its end."""
        return self.run("submit", self.job(**changes), "--name", "probe", *arguments)

    def began(self, *arguments: str | Path, **changes: Any) -> Going:
        """Submit a script that holds, and return when a worker is at its first mini-batch."""
        self.script(HOLD)
        going = self.start("submit", self.job(**changes), "--name", "probe", *arguments)
        self.wait_began(going.process)
        return going

    def wait_began(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until a worker is at its first mini-batch."""
        until(lambda: self.is_given("began") or process.poll(), what="a worker at work")
        assert self.is_given("began"), f"ended with {process.poll()} before it began"

    def show(self, name: str = "probe") -> dict[str, Any]:
        """The JSON of a job."""
        shown: dict[str, Any] = self.run("show", name, "--output", "json").ok().json
        return shown

    def status(self, name: str = "probe") -> str:
        return str(self.show(name)["status"])

    # ---- signs ------------------------------------------------------------------------------------------
    def give(self, name: str) -> None:
        (self.signs / name).touch()

    def is_given(self, name: str) -> bool:
        return (self.signs / name).exists()

    def notes(self, name: str) -> list[str]:
        """What scripts have noted under a name."""
        path = self.signs / name
        return path.read_text().splitlines() if path.exists() else []

    # ---- what is left -----------------------------------------------------------------------------------
    def logs(self, name: str = "probe") -> Path:
        return self.home / "jobs" / name / "logs"

    def snapshot(self) -> dict[str, tuple[int, int]]:
        """Everything outside the home: folders by their names, files with size and time."""
        seen = {}
        for path in self.folder.rglob("*"):
            if path == self.folder / "job.yml":
                continue
            stat = path.lstat()
            is_folder = path.is_dir() and not path.is_symlink()
            seen[str(path.relative_to(self.folder))] = (-1, 0) if is_folder else (stat.st_size, stat.st_mtime_ns)
        return seen

    @contextmanager
    def nothing_written(self) -> Iterator[None]:
        """Nothing outside the home is made, changed or removed meanwhile."""
        before = self.snapshot()
        yield
        assert self.snapshot() == before

    def driver_pid(self, name: str = "probe") -> int:
        """The process that drives a job, found by its command line."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    environment = (entry / "environ").read_bytes()
                except OSError:
                    continue
                own = b"RUNNER_HOME=%s" % os.fsencode(self.home) in environment.split(b"\0")
                if own and words[-4:-1] == [b"runner.compose", b"drive", name.encode()]:
                    return int(entry.name)
        return 0


def _merged(old: Any, new: dict[str, Any]) -> dict[str, Any]:
    both = {**old, **new} if isinstance(old, dict) else dict(new)
    return {key: value for key, value in both.items() if value is not None}
