"""A warden and its driver's end: what is started, what is told, and that it can be used again."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.instance.ward import Ended, Lost, News, Process, Quiet, Refused, Started, Ward


@pytest.fixture(params=["fork", "spawn"])
def ward(request: pytest.FixtureRequest) -> Iterator[Ward]:
    with Ward.fork() if request.param == "fork" else Ward.spawn() as made:
        yield made


def process(root: Path, command: str, **env: str) -> Process:
    return Process(
        argv=("/bin/sh", "-c", command),
        cwd=str(root),
        env={"PATH": os.environ["PATH"], **env},
        stdout=str(root / "out"),
        stderr=str(root / "err"),
    )


def hear(ward: Ward) -> list[News]:
    """Everything until nothing is left."""
    heard: list[News] = []
    while not heard or not isinstance(heard[-1], Quiet | Lost):
        assert select.select([ward], [], [], 30)[0], heard
        heard += ward.hear()
    return heard


def test_processes_are_told_apart_by_their_numbers(ward: Ward, tmp_path: Path) -> None:
    commands = ["exit 3", "kill -USR1 $$", "true"]
    ward.run([process(tmp_path, command) for command in commands], grace_s=1, token="t")
    heard = hear(ward)
    assert heard[0] == Started() and heard[-1] == Quiet(0)
    assert {news.number: news.code for news in heard if isinstance(news, Ended)} == {0: 3, 1: -10, 2: 0}


def test_one_warden_serves_one_run_after_the_other(ward: Ward, tmp_path: Path) -> None:
    for number in range(3):
        ward.run([process(tmp_path, f"echo {number}")], grace_s=1, token="t")
        assert hear(ward) == [Started(), Ended(0, 0), Quiet(0)]
    assert (tmp_path / "out").read_text() == "0\n1\n2\n", "logs are continued"


def test_what_cannot_be_started_is_named_and_what_was_is_ended(ward: Ward, tmp_path: Path) -> None:
    good, bad = process(tmp_path, "exec sleep 1000"), process(tmp_path / "gone", "true")
    ward.run([good, bad], grace_s=1, token="t")
    heard = hear(ward)
    assert heard[0] == Refused(1, f"{tmp_path}/gone: No such file or directory") and heard[-1] == Quiet(0)
    assert Ended(0, -9) in heard


@pytest.mark.parametrize(("command", "variable"), [("echo a\0b", "A"), ("true", "A=B")])
def test_what_no_process_can_be_given_is_refused(ward: Ward, tmp_path: Path, command: str, variable: str) -> None:
    ward.run([process(tmp_path, command, **{variable: "x"})], grace_s=1, token="t")
    assert hear(ward) == [Refused(0, "/bin/sh: Invalid argument"), Quiet(0)]
    ward.run([process(tmp_path, "true")], grace_s=1, token="t")
    assert hear(ward) == [Started(), Ended(0, 0), Quiet(0)]


def test_a_large_environment_and_odd_names_go_through(ward: Ward, tmp_path: Path) -> None:
    odd = tmp_path / "a b\nc"
    odd.mkdir()
    raw = os.fsdecode(b"\xff")
    large = {"RAW": raw} | {f"V{number}": "ä" * 50_000 for number in range(5)}
    ward.run([process(odd, "echo ${#V0} ${#V4}; printf %s $RAW > raw", LANG="C.UTF-8", **large)], grace_s=1, token="t")
    assert hear(ward)[-1] == Quiet(0)
    assert (odd / "out").read_text().split() in (["50000", "50000"], ["100000", "100000"])
    assert (odd / "raw").read_bytes() == b"\xff", "an environment need not be text"


def test_a_process_has_no_file_of_ours_open_and_its_signals_as_usual(ward: Ward, tmp_path: Path) -> None:
    code = (
        "import os, signal\n"
        "print(sorted(os.listdir('/proc/self/fd'))[:3], len(os.listdir('/proc/self/fd')))\n"
        "print([n for n in signal.valid_signals() if signal.getsignal(n) == signal.SIG_IGN and n not in (13, 25)])\n"
        "print(os.read(0, 1), os.getpgid(0) == os.getpid(), os.getsid(0) == os.getppid())\n"
    )
    script = tmp_path / "look.py"
    script.write_text(code)
    ward.run([process(tmp_path, f"exec {sys.executable} {script}")], grace_s=1, token="t")
    assert hear(ward)[1] == Ended(0, 0)
    # Three standard files, and the folder that is being listed.
    assert (tmp_path / "out").read_text() == "['0', '1', '2'] 4\n[]\nb'' True True\n"


def test_closing_kills_what_runs(tmp_path: Path) -> None:
    with Ward.fork() as ward:
        ward.run([process(tmp_path, "trap '' TERM; echo $$ > pid; while :; do sleep 1; done")], grace_s=60, token="t")
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            select.select([ward], [], [], 0.01)
        pid = int((tmp_path / "pid").read_text())
    assert not Path(f"/proc/{pid}").exists()
