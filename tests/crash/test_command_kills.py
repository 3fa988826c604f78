"""Commands that are cancelled, time out, or lose their driver: no process is left, and nothing is lost or torn."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_kit import Commands, commands_in, is_running

from runner.entity.command import Distribution

STUBBORN = """
import os, signal, sys, time
def note(): open({pids!r}, 'a').write(f'{{os.getpid()}}\\n')
def stay():
    note()
    while True: time.sleep(60)
if os.fork() == 0:               # one that hears nothing, in a session of its own, without its parent
    os.setsid()
    if os.fork() == 0:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)
        os.environ.clear()
        stay()
    os._exit(0)
if os.fork() == 0:               # one that is stopped
    note()
    os.kill(os.getpid(), signal.SIGSTOP)
    os._exit(0)
{then}
"""
STAY = "stay()"


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    with commands_in(tmp_path) as made:
        yield made


def stubborn(commands: Commands, then: str = STAY) -> str:
    """A command whose processes do not want to go; each notes its id."""
    script = commands.write("stubborn.py", STUBBORN.format(pids=str(commands.note("pids")), then=then))
    return f"echo $$ >> {commands.note('pids')}; {sys.executable} {script} & wait"


def all_gone(pids: list[int]) -> None:
    assert [pid for pid in pids if is_running(pid)] == []


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def warden_of(driver: subprocess.Popen[str]) -> int:
    """The only child of a driver."""
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == driver.pid:
            return int(name)
    raise AssertionError("the driver has no warden")


def test_a_cancel_ends_every_descendant_gently_first(commands: Commands) -> None:
    command = f"trap 'echo last words' TERM; {stubborn(commands)}; wait"
    commands.create(command, cancel_grace_s=0.3, outputs=(commands.file("o", "o"),))
    driver = commands.start()
    pids = commands.pids(count=4)
    commands.store.request_cancel("job")
    done = commands.finish(driver)
    assert (str(done.job.status), done.code, done.out) == ("Canceled", 130, "last words\n")
    all_gone(pids)
    assert commands.statuses()[-2:] == ["CancelRequested", "Canceled"]


def test_a_signal_to_the_driver_cancels(commands: Commands) -> None:
    commands.create(f"echo $$ > {commands.note('pids')}; exec sleep 1000")
    driver = commands.start()
    pids = commands.pids()
    driver.terminate()
    assert str(commands.finish(driver).job.status) == "Canceled"
    all_gone(pids)


def test_what_is_left_behind_is_ended_when_the_command_ends(commands: Commands) -> None:
    script = commands.write("s.py", STUBBORN.format(pids=str(commands.note("pids")), then=""))
    commands.run(
        f"{sys.executable} {script}; while [ $(wc -l < {commands.note('pids')}) -lt 2 ]; do :; done", cancel_grace_s=0.2
    ).ok()
    all_gone(commands.pids(count=2))


def test_what_ends_by_itself_may_finish_writing(commands: Commands) -> None:
    command = "exec > >(sleep 0.1; cat > late; cp late ${{outputs.o}}); echo all of it"
    commands.run(command, outputs=(commands.tree("o", "o"),)).ok()
    assert (commands.root / "o/late").read_text() == "all of it\n"


def test_a_time_out_fails_it_and_is_not_tried_again(commands: Commands) -> None:
    done = commands.run(stubborn(commands), timeout_s=0.7, cancel_grace_s=0.2, max_retries=3)
    assert "limits.timeout = 0.7 s" in done.failed("COMMAND_TIMED_OUT")
    all_gone(commands.pids(count=4))
    assert len(os.listdir(done.folder.attempts)) == 1


def test_very_long_times_are_taken(commands: Commands) -> None:
    command = f"trap 'exit 0' TERM; echo $$ > {commands.note('pids')}; while :; do sleep 0.05; done"
    commands.create(command, timeout_s=1e8, cancel_grace_s=1e8)
    driver = commands.start()
    commands.pids()
    commands.wait_for(lambda: "Running" in commands.statuses())
    commands.store.request_cancel("job")
    assert str(commands.finish(driver).job.status) == "Canceled"


@pytest.mark.parametrize("who", ["driver", "both", "warden"])
def test_nothing_outlives_what_is_killed_and_it_is_tried_again(commands: Commands, who: str) -> None:
    sign = commands.note("sign")
    command = f"if [ -e {sign} ]; then echo again > ${{{{outputs.o}}}}; exit; fi; touch {sign}; {stubborn(commands)}"
    if who != "driver":  # without its warden a process is known by its environment alone
        script = commands.root / "stubborn.py"
        script.write_text(script.read_text().replace("os.environ.clear()", "pass"))
    commands.create(command, outputs=(commands.file("o", "o"),))
    driver = commands.start()
    pids = commands.pids(count=4)
    warden = warden_of(driver)
    if who == "both":
        os.kill(driver.pid, signal.SIGSTOP)  # it is to see nothing of the warden's end
    if who in ("warden", "both"):
        os.kill(warden, signal.SIGKILL)
    if who in ("driver", "both"):
        os.kill(driver.pid, signal.SIGKILL)
    done = commands.finish(driver)
    if who == "driver":
        commands.wait_for(lambda: not any(map(is_running, [*pids, warden])))
    if who != "warden":
        assert (done.code, str(done.job.status)) == (-signal.SIGKILL, "Running")
        done = commands.resume()
    done.ok()
    assert (commands.root / "o").read_text() == "again\n"
    all_gone(pids)


def test_a_command_that_always_kills_its_warden_comes_to_an_end(commands: Commands) -> None:
    note = commands.note("tries")
    done = commands.run(f"echo x >> {note}; kill -KILL $PPID; exec sleep 1000")
    assert "3 times before" in done.failed("COMMAND_LOST") and note.read_text() == "x\n" * 4


def test_a_command_that_stops_its_warden_can_be_cancelled(commands: Commands) -> None:
    commands.create(f"echo $$ > {commands.note('pids')}; kill -STOP $PPID; exec sleep 1000")
    driver = commands.start()
    (pid,) = commands.pids()
    commands.wait_for(lambda: is_stopped(warden_of(driver)))
    commands.store.request_cancel("job")
    assert str(commands.finish(driver).job.status) == "Canceled"
    all_gone([pid])


def test_ranks_end_together_when_cancelled(commands: Commands) -> None:
    commands.create(
        f"echo $$ >> {commands.note('pids')}; exec sleep 1000",
        distribution=Distribution(kind="mpi", process_count_per_instance=2),
        instance_count=2,
    )
    driver = commands.start()
    pids = commands.pids(count=4)
    commands.store.request_cancel("job")
    assert str(commands.finish(driver).job.status) == "Canceled"
    all_gone(pids)


def test_a_second_driver_writes_nothing(commands: Commands) -> None:
    commands.create(f"echo $$ > {commands.note('pids')}; while ! [ -e {commands.note('go')} ]; do :; done")
    first = commands.start()
    commands.pids()
    before = commands.statuses()
    assert commands.drive().code == 0
    assert commands.statuses() == before
    commands.note("go").touch()
    commands.finish(first).ok()


PROGRAM = '''
import json, os, shutil, signal, sys, time
from pathlib import Path
import msgspec
import runner
from runner.entity.command import CommandOutput, CommandSpec
from runner.entity.job import JobState
from runner.entity.status import JobStatus
from runner.schedule.command import CommandDriver
from runner.store.home import Home
from runner.store.store import Store

ROOM = os.path.join(os.path.dirname(runner.__file__), "schedule")
STEPS = ("command.py", "attempt.py", "publication.py", "shell.py", "command_run.py")
root, overwrite = Path(sys.argv[1]), sys.argv[2] == "overwrite"
home = Home(root / "home")


def drive_until(name, line):
    """Drive in a child that is killed at the given line; True if it came to its end before."""
    child = os.fork()
    if not child:
        seen = 0

        def trace(frame, event, arg):
            nonlocal seen
            path = frame.f_code.co_filename
            if not path.startswith(ROOM) or not path.endswith(STEPS):
                return None
            if event == "line":
                seen += 1
                if seen == line:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        if line:
            sys.settrace(trace)
        code = CommandDriver(home, name).run()
        sys.settrace(None)
        os._exit(code)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0, (name, line, status)
    return not os.WIFSIGNALED(status)


def create(name):
    place, folder = root / name, home.job(name)
    place.mkdir()
    outputs = (
        CommandOutput(name="f", type="uri_file", target=str(place / "f"), is_folder=False, has_path=True),
        CommandOutput(name="t", type="uri_folder", target=str(place / "t"), is_folder=True, has_path=True),
        CommandOutput(name="k", type="uri_folder", target=str(place / "k"), is_folder=True, has_path=False),
    )
    if overwrite:
        (place / "f").write_text("old")
        (place / "t").mkdir()
        (place / "t/old").touch()
    folder.logs.mkdir(parents=True)
    command = "echo f > ${{outputs.f}}; echo t > ${{outputs.t}}/new; echo k > ${{outputs.k}}/k; touch outputs/kept"
    spec = CommandSpec(name=name, root_name=name, command=command, code=None, outputs=outputs, overwrite=overwrite,
                       compute="local")
    folder.spec.write_bytes(msgspec.json.encode(spec))
    store = Store(home)
    store.create(JobState(name=name, type="command", status=JobStatus.STARTING, create_time=time.time()))
    store.close()


def check(name):
    place = root / name
    found = {str(p.relative_to(place)): p.read_text() for p in place.rglob("*") if p.is_file()}
    half = [p for p in place.iterdir() if p.name.startswith(".")]
    store = Store(home)
    status, attempts = store.get(name).status, len(os.listdir(home.job(name).attempts))
    store.close()
    shown = {path: text for path, text in found.items() if not path.startswith(".")}
    assert shown == {"f": "f\\n", "t/new": "t\\n", "k/k": "k\\n"}, (name, found)
    assert status is JobStatus.COMPLETED and attempts <= 2, (name, status, attempts)
    # An attempt that was killed keeps what it made, beside the target; one that was published keeps nothing.
    assert len(half) <= 2 * (attempts - 1), (name, half)
    assert (home.job(name).artifacts / "outputs/kept").exists(), name


line = -1 + int(overwrite)
while True:
    line += 2
    name = f"job-{line}"
    create(name)
    is_done = drive_until(name, line)
    store = Store(home)
    status = store.get(name).status
    if status is not JobStatus.COMPLETED:
        # Within a run its target is looked at; what an earlier, killed run has shown is no obstacle.
        store.begin_run(name)
    store.close()
    if status is not JobStatus.COMPLETED:
        drive_until(name, 0)
    check(name)
    if is_done:
        break
    shutil.rmtree(root / name)
    shutil.rmtree(home.job(name).root)
assert line > 200, line
print(line)
'''


@pytest.mark.parametrize("overwrite", ["new", "overwrite"])
def test_a_driver_killed_at_every_other_line_is_resumed(tmp_path: Path, overwrite: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), overwrite], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
