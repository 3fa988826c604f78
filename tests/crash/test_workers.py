"""Workers that die, hang or are killed: what is charged, what is run again, what is left. Real processes throughout."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import pytest
from instance_runs import QUICK, WAIT_S, Run, numbers, shared_memory

from runner.entity.lease import Heartbeat, InstanceClosed, InstanceFailed, Report, Tally
from runner.instance.policy import Limits

CALLS = """
import os, signal, time
def note(batch, what):
    with open(f"../side/calls", "a") as file:
        file.write(f"{batch['id'][0] // 10} {what} {os.getpid()}\\n")
def once(name):
    try:
        os.mkdir(f"../side/{name}")
        return True
    except FileExistsError:
        return False
"""


def calls(run: Run) -> list[tuple[int, str, int]]:
    """Mini-batch, word and process of each call, in order."""
    lines = (run.folder / "side/calls").read_text().split("\n")
    return [(int(a), b, int(c)) for a, b, c in (line.split() for line in lines if line)]


def crash_script(what: str) -> str:
    return f"""
    from calls import note, once
    import ctypes, os, signal, sys, time
    def run(batch):
        note(batch, "run")
        if 40 <= batch["id"][0] < 50:
            {what}
        return batch["id"]
    """


DEATHS = {
    "os._exit(3)": "exited with code 3",
    "os._exit(0)": "exited with code 0",
    "sys.exit(4)": "exited with code 4",
    "os.kill(os.getpid(), 9)": "SIGKILL",
    "os.kill(os.getpid(), 15)": "SIGTERM",
    "ctypes.string_at(0)": "SIGSEGV",
    "os.abort()": "SIGABRT",
}


@pytest.mark.parametrize("how", DEATHS)
def test_exactly_the_mini_batch_that_kills_its_worker_is_charged(tmp_path: Path, how: str) -> None:
    run = Run(tmp_path, crash_script(how), code={"calls.py": CALLS}, max_retries=1).finish()
    (failure,) = run.failures
    assert (failure.mini_batch, failure.cls, failure.attempts) == (4, "crash", 2)
    assert DEATHS[how] in failure.message
    assert (failure.row, failure.item_count, failure.unit) == (40, 10, run.plan.unit_of(4))
    assert failure.file.endswith("table.parquet")
    assert failure.instance == "node-000"
    assert numbers(run.lines) == [*range(40), *range(50, 100)]
    assert run.tally == Tally(
        mini_batch_count=10,
        failed_mini_batch_count=1,
        item_count=100,
        failed_item_count=10,
        row_count=90,
        failed_by_class={"crash": 1},  # type: ignore[dict-item] # a StrEnum
    )
    assert Counter(number for number, _, _ in calls(run))[4] == 2
    record = run.records[4]
    assert (record["mini_batch"], record["flags"], record["succeeded"], record["item_count"]) == (4, 1, 0, 10)


def test_what_killed_a_worker_is_tried_again_alone_in_a_fresh_one(tmp_path: Path) -> None:
    script = crash_script("once('died') and os._exit(1)")
    run = Run(tmp_path, script, code={"calls.py": CALLS}, workers=1, max_retries=3).finish()
    assert numbers(run.lines) == list(range(100))
    assert run.failures == []
    after = [call for call in calls(run) if call[2] != calls(run)[0][2]]
    assert after[0][0] == 4, "the suspect is the first thing that the fresh worker runs"
    assert run.records[4]["attempt"] == 1


def test_without_retries_the_first_death_is_final(tmp_path: Path) -> None:
    run = Run(tmp_path, crash_script("os._exit(1)"), code={"calls.py": CALLS}, max_retries=0).finish()
    assert [failure.attempts for failure in run.failures] == [1]
    assert Counter(number for number, _, _ in calls(run))[4] == 1


def test_every_mini_batch_may_crash(tmp_path: Path) -> None:
    script = "import os\ndef run(batch): os._exit(7)\n"
    run = Run(tmp_path, script, rows=120, per=10, max_retries=1).finish()
    assert [failure.mini_batch for failure in run.failures] == list(range(12))
    assert {failure.attempts for failure in run.failures} == {2}
    assert run.text == ""


def test_exceptions_are_retried_and_then_set_aside_with_the_users_traceback(tmp_path: Path) -> None:
    script = crash_script("raise ValueError('bad row ' + str(batch['id'][3]))")
    run = Run(tmp_path, script, code={"calls.py": CALLS}, max_retries=2).finish()
    (failure,) = run.failures
    assert (failure.cls, failure.exception_type, failure.message) == ("user_error", "ValueError", "bad row 43")
    assert failure.attempts == 3
    assert failure.traceback.startswith("Traceback (most recent call last):\n  File ")
    assert "score.py" in failure.traceback
    assert "_loop.pyx" not in failure.traceback
    assert Counter(number for number, _, _ in calls(run))[4] == 3
    assert "bad row 43" in run.log(f"user/error/node-000/{failure.worker}.txt")
    assert len(run.log("user/error.txt").splitlines()) == 3


def test_an_exception_that_passes_leaves_no_failure(tmp_path: Path) -> None:
    script = crash_script("if once('raised'): raise ValueError('first time')")
    run = Run(tmp_path, script, code={"calls.py": CALLS}).finish()
    assert run.failures == []
    assert numbers(run.lines) == list(range(100))


def test_a_call_that_takes_too_long_is_killed_and_charged_as_timeout(tmp_path: Path) -> None:
    script = crash_script("time.sleep(600)")
    run = Run(tmp_path, script, code={"calls.py": CALLS}, timeout_s=0.6, max_retries=1).finish()
    (failure,) = run.failures
    assert (failure.mini_batch, failure.cls, failure.attempts) == (4, "timeout", 2)
    assert "timeout = 0.6 s" in failure.message
    assert numbers(run.lines) == [*range(40), *range(50, 100)]
    counts = Counter(number for number, _, _ in calls(run))
    assert counts.pop(4) == 2
    pids = {pid for number, _, pid in calls(run) if number == 4}
    assert len(pids) == 2


def test_a_call_that_ignores_signals_and_holds_children_is_killed_with_them(tmp_path: Path) -> None:
    script = """
    import os, signal, subprocess, sys, time
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    def run(batch):
        for own_session in (False, True):
            command = [sys.executable, "-c", "import time; time.sleep(600)"]
            child = subprocess.Popen(command, start_new_session=own_session)
            open(f"../side/child-{child.pid}", "w").close()
        time.sleep(600)
    """
    run = Run(tmp_path, script, rows=10, workers=1, timeout_s=1.0, max_retries=0).finish()
    assert [failure.cls for failure in run.failures] == ["timeout"]
    children = [int(name.partition("-")[2]) for name in run.side("child-*")]
    assert len(children) == 2
    assert not [pid for pid in children if is_alive(pid)]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_until(condition: object, what: str) -> None:
    until = time.monotonic() + WAIT_S
    while not condition():  # type: ignore[operator] # a function
        assert time.monotonic() < until, what
        time.sleep(0.01)


SLOW = """
import os, time
def run(batch):
    open(f"../side/pid-{os.getpid()}", "w").close()
    time.sleep(0.02)
    return batch["id"]
"""


def test_workers_killed_at_random_cost_one_try_each_and_no_row(tmp_path: Path) -> None:
    run = Run(tmp_path, SLOW, rows=1000, row_group=250, per=10, max_retries=60000)
    killed: set[str] = set()
    with run:
        run.lend()
        while len(killed) < 8 and not run.reports:
            run.take()
            new = [name for name in run.side("pid-*") if name not in killed]
            for name in new[:1]:
                killed.add(name)
                os.kill(int(name.partition("-")[2]), signal.SIGKILL)
        while sum(report.end - report.first for report in run.reports) < 100:
            run.take()
        run.close()
    assert len(killed) >= 3
    assert run.failures == []
    assert numbers(run.lines) == list(range(1000))
    assert sum(record["attempt"] for record in run.records) <= len(killed)


def test_a_stopped_worker_is_ended_by_the_timeout_and_its_work_done_by_others(tmp_path: Path) -> None:
    run = Run(tmp_path, SLOW, rows=300, timeout_s=1.0, max_retries=3)
    with run:
        run.lend()
        wait_until(lambda: run.side("pid-*"), "no worker began")
        os.kill(int(run.side("pid-*")[0].partition("-")[2]), signal.SIGSTOP)
        while sum(report.end - report.first for report in run.reports) < 30:
            run.take()
        run.close()
    assert numbers(run.lines) == list(range(300))
    assert run.failures == []


def test_a_death_between_mini_batches_costs_nothing_but_may_not_go_on_for_ever(tmp_path: Path) -> None:
    script = """
    import os, threading
    def init():
        threading.Timer(0.1, os._exit, (6,)).start()
    def run(batch): return batch["id"]
    """
    run = Run(tmp_path, script, workers=1, rows=10)
    with run:
        event = run.until(lambda event: isinstance(event, InstanceFailed))
        run.close()
    assert isinstance(event, InstanceFailed)
    assert "died between mini-batches" in event.message
    assert "exited with code 6" in event.message


def test_a_file_that_cannot_be_read_fails_its_mini_batches_once_as_read(tmp_path: Path) -> None:
    run = Run(tmp_path, "def run(batch): return batch['id']", rows=40_000, row_group=10_000, per=1000, max_retries=2)
    table = run.folder / "input/table.parquet"
    info = table.stat()
    with table.open("r+b") as file:
        for at in range(8, info.st_size // 3, 64):  # the first row group's pages, and more
            file.seek(at)
            file.write(b"\xff" * 32)
    os.utime(table, ns=(info.st_atime_ns, info.st_mtime_ns))
    run.finish()
    assert run.failures
    assert {failure.cls for failure in run.failures} == {"read"}
    assert all(str(table) in failure.message for failure in run.failures)
    assert {failure.attempts for failure in run.failures} == {3}
    numbers_set_aside = [failure.mini_batch for failure in run.failures]
    assert len(set(numbers_set_aside)) == len(numbers_set_aside)
    kept = [n for m in range(40) if m not in numbers_set_aside for n in range(m * 1000, m * 1000 + 1000)]
    assert numbers(run.lines) == kept


def test_an_input_that_changes_ends_the_job(tmp_path: Path) -> None:
    run = Run(tmp_path, "def run(batch): return batch['id']")
    with (run.folder / "input/table.parquet").open("ab") as file:
        file.write(b"x")
    with run:
        run.lend()
        event = run.until(lambda event: isinstance(event, InstanceFailed))
        run.close()
    assert isinstance(event, InstanceFailed)
    assert event.reason == "INPUT_CHANGED"
    assert "table.parquet" in event.message


def test_a_file_that_vanishes_under_the_script_ends_the_job_and_is_no_failure_of_a_mini_batch(tmp_path: Path) -> None:
    script = """
    import os
    def run(paths):
        if paths.task_id == 1:
            os.unlink(paths[2])
        return [open(path).read() for path in paths]
    """
    run = Run(tmp_path, script, files=12, per=4, workers=1)
    with run:
        run.lend()
        event = run.until(lambda event: isinstance(event, InstanceFailed))
        run.close()
    assert isinstance(event, InstanceFailed)
    assert event.reason == "INPUT_CHANGED"
    assert "00006.txt is gone" in event.message.replace('"', "")
    assert run.failures == []


def test_a_mini_batch_that_kills_its_worker_in_a_flush_is_found_by_flushing_one_by_one(tmp_path: Path) -> None:
    script = """
    import resource, signal
    def init():
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    def run(batch):
        return ["x" * (2 << 20)] if batch["id"][0] == 40 else [int(batch["id"][0])]
    """
    run = Run(tmp_path, script, workers=1, max_retries=1).finish()
    (failure,) = run.failures
    assert (failure.mini_batch, str(failure.cls), failure.attempts) == (4, "crash", 2)
    assert "SIGXFSZ" in failure.message
    assert numbers(run.lines) == [n for n in range(0, 100, 10) if n != 40]


def test_output_that_cannot_be_written_ends_the_job(tmp_path: Path) -> None:
    run = Run(tmp_path, "def run(batch): return batch['id']")
    (tmp_path / "staging").rmdir()
    with run:
        run.lend()
        event = run.until(lambda event: isinstance(event, InstanceFailed))
        run.close()
    assert isinstance(event, InstanceFailed)
    assert event.reason == "STORAGE_FAILED"
    assert str(tmp_path / "staging") in event.message


HANGING = """
import os, signal, subprocess, sys, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
def run(batch):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    open(f"../side/child-{child.pid}", "w").close()
    open(f"../side/worker-{os.getpid()}", "w").close()
    time.sleep(600)
def shutdown():
    open("../side/shutdown", "w").close()
"""


def processes(run: Run) -> list[int]:
    return [int(name.partition("-")[2]) for name in run.side("child-*") + run.side("worker-*")]


def test_closing_with_work_left_ends_everything_within_the_grace_period(tmp_path: Path) -> None:
    run = Run(tmp_path, HANGING)
    with run:
        run.lend()
        wait_until(lambda: len(processes(run)) == 4, "the workers did not begin")
        began = time.monotonic()
        run.close(grace_s=0.5)
        assert time.monotonic() - began < 5
    assert isinstance(run.events[-1], InstanceClosed)
    assert run.of(InstanceFailed) == []
    assert run.side("shutdown") == []
    assert not [pid for pid in processes(run) if is_alive(pid)]


def test_closing_with_work_left_lets_idle_and_quick_workers_shut_down(tmp_path: Path) -> None:
    script = SLOW + "def shutdown(): open(f'../side/shutdown-{os.getpid()}', 'w').close()\n"
    run = Run(tmp_path, script, rows=100_000)
    with run:
        run.lend()
        wait_until(lambda: len(run.side("pid-*")) == 2, "the workers did not begin")
        run.close(grace_s=20)
    assert len(run.side("shutdown-*")) == 2
    assert run.of(InstanceFailed) == []


def test_kill_ends_everything_at_once_and_silently(tmp_path: Path) -> None:
    run = Run(tmp_path, HANGING)
    with run:
        run.lend()
        wait_until(lambda: len(processes(run)) == 4, "the workers did not begin")
        (folder,) = shared_memory(os.getpid())
        run.instance.kill()
        assert not [pid for pid in processes(run) if is_alive(pid)]
        assert not folder.exists()
        assert not (tmp_path / "scratch").exists()


def test_without_a_word_from_the_driver_the_instance_ends_itself(tmp_path: Path) -> None:
    run = Run(tmp_path, HANGING, limits=Limits(beat_s=0.05, silence_s=1.5))
    run.touches = False
    with run:
        run.lend()
        wait_until(lambda: run.instance.touch() or len(processes(run)) == 4, "the workers did not begin")
        assert run.instance.join(WAIT_S)
    assert not [pid for pid in processes(run) if is_alive(pid)]


HOLDER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from instance_runs import Run
run = Run(Path(sys.argv[2]), Path(sys.argv[3]).read_text())
with run:
    run.lend()
    while True:
        run.take()
"""


def test_a_killed_instance_takes_workers_and_their_children_along(tmp_path: Path) -> None:
    (tmp_path / "script").write_text(textwrap.dedent(HANGING))
    (tmp_path / "holder.py").write_text(HOLDER)
    (tmp_path / "side").mkdir()
    tests = str(Path(__file__).parent.parent)
    holder = subprocess.Popen(
        [sys.executable, str(tmp_path / "holder.py"), tests, str(tmp_path), str(tmp_path / "script")]
    )

    def found() -> list[int]:
        return [int(path.name.partition("-")[2]) for path in (tmp_path / "side").glob("*-*")]

    try:
        wait_until(lambda: len(found()) == 4, "the workers did not begin")
        (folder,) = shared_memory(holder.pid)
    finally:
        holder.kill()
        holder.wait()
    wait_until(lambda: not [pid for pid in found() if is_alive(pid)], "processes outlive their instance")
    # The next instance on this machine removes what the killed one left.
    other = tmp_path / "other"
    other.mkdir()
    Run(other, "def run(batch): return [1]", rows=10).finish()
    assert not folder.exists()


def test_many_deaths_leak_no_descriptor_and_no_process(tmp_path: Path) -> None:
    script = "import os\ndef run(batch): os._exit(1)\n"
    fds = len(os.listdir("/proc/self/fd"))
    run = Run(tmp_path, script, files=40, per=1, workers=2, max_retries=0).finish()
    assert len(run.failures) == 40
    assert len(os.listdir("/proc/self/fd")) <= fds
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_death_is_noticed_at_once(tmp_path: Path) -> None:
    script = """
    import os, time
    def run(batch):
        open("../side/" + str(time.time()), "w").close()
        os._exit(1)
    """
    run = Run(tmp_path, script, rows=10, workers=1, max_retries=0)
    with run:
        run.lend()
        run.until(lambda event: isinstance(event, Report))
        noticed = run.failures[0].time
        run.close()
    assert noticed - float(run.side()[0]) < 1.0  # 0.2 s on a machine that does nothing else


@pytest.mark.soak
def test_twenty_kills_are_noticed_at_once(tmp_path: Path) -> None:
    script = """
    import os, signal, time
    def run(batch):
        open("../side/" + str(time.time()), "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    run = Run(tmp_path, script, rows=200, workers=1, max_retries=0).finish()
    kills = sorted(map(float, run.side()))
    noticed = sorted(failure.time for failure in run.failures)
    late = sorted(seen - kill for seen, kill in zip(noticed, kills, strict=True))
    sys.stdout.write(f"{len(late)} kills noticed after {late[0]:.3f}, {late[10]:.3f}, {late[-1]:.3f} s\n")
    assert late[10] < 0.2


def test_a_worker_that_prints_without_end_has_a_bounded_log(tmp_path: Path) -> None:
    script = """
    import os
    LINE = b"x" * 1023 + b"\\n"
    def run(batch):
        for _ in range(3000):
            os.write(1, LINE)
        os.write(1, b"last words\\n")
        return batch["id"]
    """
    limits = Limits(beat_s=0.05, log_head_bytes=50_000, log_tail_bytes=10_000)
    run = Run(tmp_path, script, rows=50, workers=1, limits=limits).finish()
    out = run.log("user/stdout/node-000/process000.stdout.txt")
    assert len(out) < 100_000
    assert "bytes left out" in out
    assert out.endswith("last words\n")


def test_a_huge_message_and_traceback_are_cut(tmp_path: Path) -> None:
    script = """
    def deeper(n):
        if n == 0:
            raise ValueError("\\0\\1é" * 10_000_000)
        return deeper(n - 1)
    def run(batch): return deeper(900)
    """
    run = Run(tmp_path, script, rows=10, max_retries=0).finish()
    (failure,) = run.failures
    assert 100 < len(failure.message) < 5000
    assert len(failure.traceback) < 70_000
    assert "deeper" in failure.traceback


def test_many_failures_with_long_tracebacks_stay_in_bounded_memory(tmp_path: Path) -> None:
    script = """
    def run(batch):
        raise ValueError(str(batch["id"][0]) + "x" * 3000)
    """
    limits = Limits(beat_s=0.05, hold_s=1000, failures_bytes=200_000)
    run = Run(tmp_path, script, rows=2000, per=1, max_retries=0, limits=limits).finish()
    assert len(run.failures) == 2000
    assert len(run.reports) > 1, "reported in pieces, before all of them were held"


def test_log_chunks_carry_the_logs_of_an_instance_elsewhere(tmp_path: Path) -> None:
    script = """
    def init(): print("from init")
    def run(batch): raise ValueError("told")
    def shutdown(): print("from shutdown")
    """
    run = Run(tmp_path, script, rows=20, workers=1, max_retries=0, ship_logs=True, limits=QUICK).finish()
    texts: dict[str, bytes] = {}
    for beat in run.of(Heartbeat):
        for path, chunk in beat.log_chunks:
            texts[path] = texts.get(path, b"") + chunk
    assert texts["user/stdout/node-000/process000.stdout.txt"] == b"from init\nfrom shutdown\n"
    assert texts["user/error.txt"].count(b"told") == 2
    assert b"started as pid" in texts["sys/node/node-000/_main.txt"]
