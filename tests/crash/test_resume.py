"""Jobs whose driver was killed, stopped or failed go on by `runner resume`, and end as if nothing had happened."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from cli_kit import Bench, Going, until

from runner.compose.launch import launch_driver
from runner.entity.status import JobStatus
from runner.errors import JobStatusConflict
from runner.schedule.journal import Committed, replay
from runner.server.jobs import Jobs
from runner.store.home import Home
from runner.store.store import Store

COUNT, HELD = 12, 6
SCORE = f"""\
import os
import signs

def run(mini_batch):
    name = os.path.basename(mini_batch[0])
    signs.note("runs", name)
    if name == "{HELD:03d}.txt":
        signs.give("held")
        signs.wait("go")
    return [f"{{name}} is scored"]
"""
SCORED = "".join(f"{number:03d}.txt is scored\n" for number in range(COUNT))
ENDED = """
def shutdown():
    signs.give("closing")
    signs.wait("closed")
"""


@pytest.fixture
def bench(tmp_path: Path, home: Path) -> Bench:
    made = Bench(tmp_path / "work", home)
    made.script(SCORE)
    made.files(COUNT)
    return made


def held(bench: Bench, *arguments: str) -> Going:
    """A job in mid-run: the leases before the mini-batch that holds are committed."""
    going = bench.start("submit", bench.job(), "--name", "probe", *arguments)
    until(lambda: bench.is_given("held") and len(committed(bench)) >= 4, what="a job in mid-run")
    return going


def committed(bench: Bench) -> set[int]:
    """The mini-batches that the journal says are done."""
    said = replay(journal(bench)).records
    return {n for record in said if isinstance(record, Committed) for n in range(record.first, record.end)}


def kept_of(bench: Bench) -> dict[int, int]:
    """How often what is committed has run so far: it must not run again."""
    counts = runs(bench)
    return {number: counts[number] for number in committed(bench)}


def journal(bench: Bench) -> Path:
    return bench.home / "jobs" / "probe" / "journal"


def processes(bench: Bench) -> list[int]:
    """What runs with the home of this bench in its environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"RUNNER_HOME=" + os.fsencode(bench.home) in environment:
                found.append(int(entry.name))
    return found


def killed(bench: Bench) -> dict[int, int]:
    """A detached job whose driver was killed in mid-run; what it had committed."""
    assert held(bench, "--detach").end().code == 0
    os.kill(bench.driver_pid(), signal.SIGKILL)
    until(lambda: not processes(bench), what="the end of the workers")
    return kept_of(bench)


def runs(bench: Bench) -> Counter[int]:
    return Counter(int(name[:3]) for name in bench.notes("runs"))


def check_completed(bench: Bench, kept: dict[int, int]) -> None:
    """The output is whole, and of what was committed before nothing ran again."""
    assert bench.target.read_text() == SCORED
    counts = runs(bench)
    assert set(counts) == set(range(COUNT))
    assert {number: counts[number] for number in kept} == kept
    shown = bench.show()
    assert (shown["status"], shown["done_mini_batch_count"], shown["failed_mini_batch_count"]) == (
        "Completed",
        COUNT,
        0,
    )
    assert not list(bench.target.parent.glob(".*.staging"))


def test_an_undisturbed_run_gives_what_the_others_are_compared_with(bench: Bench) -> None:
    bench.give("go")
    bench.submit().ok()
    check_completed(bench, dict.fromkeys(range(COUNT), 1))


def test_a_killed_driver_is_told_of_and_its_job_resumed(bench: Bench) -> None:
    watching = held(bench)
    kept = kept_of(bench)
    os.kill(bench.driver_pid(), signal.SIGKILL)
    ended = watching.end()
    assert ended.code == 3
    assert "runner resume probe" in ended.err
    until(lambda: not processes(bench), what="the end of the workers")
    assert not bench.target.exists()
    bench.give("go")
    resumed = bench.run("resume", "probe").ok()
    assert "resumed probe, run 2" in resumed.err and "probe is Completed" in resumed.err
    assert resumed.out == "", "talk goes to stderr"
    check_completed(bench, kept)
    assert runs(bench)[HELD] == 2
    events = [event["status"] for event in bench.show()["events"]]
    assert events[-7:] == ["NotResponding", "Starting", "Preparing", "Queued", "Running", "Finalizing", "Completed"]


def test_everything_may_be_killed_at_once_and_again_while_it_is_resumed(bench: Bench) -> None:
    watching = held(bench)
    for pid in processes(bench):
        os.kill(pid, signal.SIGKILL)
    watching.process.wait()
    until(lambda: not processes(bench), what="the end of all")
    kept = kept_of(bench)
    (bench.signs / "held").unlink()
    going = bench.start("resume", "probe")
    until(lambda: bench.is_given("held"), what="the mini-batch that holds")
    for pid in processes(bench):
        os.kill(pid, signal.SIGKILL)
    going.process.wait()
    until(lambda: not processes(bench), what="the end of all")
    assert set(kept) <= committed(bench)
    kept = kept_of(bench)
    bench.give("go")
    assert "run 3" in bench.run("resume", "probe").ok().err
    check_completed(bench, kept)


def test_resume_detaches_and_tells_the_job_as_json(bench: Bench) -> None:
    killed(bench)
    detached = bench.run("resume", "probe", "--detach", "--output", "json").ok()
    assert detached.json["name"] == "probe"
    assert not bench.target.exists()
    bench.give("go")
    assert bench.run("watch", "probe").code == 0
    assert bench.target.read_text() == SCORED


def test_an_interrupt_of_resume_cancels_and_a_cancelled_job_is_resumed(bench: Bench) -> None:
    kept = killed(bench)
    (bench.signs / "held").unlink()
    going = bench.start("resume", "probe")
    until(lambda: bench.is_given("held"), what="the mini-batch that holds")
    going.send(signal.SIGINT)
    until(lambda: bench.status() == "CancelRequested", what="the cancel")
    bench.give("go")
    assert going.end().code == 130
    assert (bench.status(), bench.target.exists()) == ("Canceled", False)
    bench.run("resume", "probe").ok()
    check_completed(bench, kept)


def test_a_stopped_driver_is_killed_once_it_is_silent(bench: Bench) -> None:
    assert held(bench, "--detach").end().code == 0
    kept, pid = kept_of(bench), bench.driver_pid()
    os.kill(pid, signal.SIGSTOP)
    refused = bench.run("resume", "probe")
    assert refused.code == 2
    assert f"process {pid} on " in refused.err and "is Running and cannot be resumed" in refused.err
    home = Home(bench.home)
    later = Store(home, clock=lambda: time.time() + 31)  # for this reader the last beat is long ago
    jobs = Jobs(home, lambda name: launch_driver(home, name), later)
    assert jobs.get("probe").status is JobStatus.NOT_RESPONDING
    bench.give("go")
    resumed = jobs.resume("probe")
    assert (resumed.status, resumed.run_number) == (JobStatus.STARTING, 2)
    assert f"process {pid} on" in resumed.message and "killed" in resumed.message
    jobs.close()
    assert bench.driver_pid() != pid
    assert bench.run("watch", "probe").code == 0
    check_completed(bench, kept)


def test_a_torn_tail_of_the_journal_costs_one_record(bench: Bench) -> None:
    before = killed(bench)
    os.truncate(journal(bench), journal(bench).stat().st_size - 3)
    kept = kept_of(bench)
    assert set(kept) < set(before)
    bench.give("go")
    bench.run("resume", "probe").ok()
    check_completed(bench, kept)


def test_damage_in_the_journal_is_refused_with_its_place_and_nothing_is_lost(bench: Bench) -> None:
    killed(bench)
    good = journal(bench).read_bytes()
    start = good.index(b"\n") + 1
    journal(bench).write_bytes(good[: start + 20] + bytes([good[start + 20] ^ 1]) + good[start + 21 :])
    damaged = journal(bench).read_bytes()
    for _ in range(2):
        refused = bench.run("resume", "probe")
        assert refused.code == 2
        assert f"journal: byte {start}: " in refused.err
    shown = bench.show()
    assert shown["status"] == "Failed"
    assert shown["mini_batch_count"] == COUNT, "what was known of it stays"
    assert journal(bench).read_bytes() == damaged
    assert not bench.target.exists()
    journal(bench).write_bytes(good)
    kept = kept_of(bench)
    bench.give("go")
    bench.run("resume", "probe").ok()
    check_completed(bench, kept)


def test_a_changed_input_is_refused_by_name_until_it_is_put_back(bench: Bench) -> None:
    kept = killed(bench)
    before = journal(bench).read_bytes()
    changed = bench.data / "009.txt"
    times = changed.stat().st_atime_ns, changed.stat().st_mtime_ns
    changed.write_text("longer than it was")
    refused = bench.run("resume", "probe")
    assert refused.code == 2
    assert str(changed) in refused.err
    assert bench.status() == "Failed"
    assert journal(bench).read_bytes() == before
    assert not bench.target.exists()
    changed.write_text("009.txt")
    os.utime(changed, ns=times)
    bench.give("go")
    bench.run("resume", "probe").ok()
    check_completed(bench, kept)


def test_a_driver_killed_after_the_last_mini_batch_leaves_only_publication(bench: Bench) -> None:
    bench.script(SCORE + ENDED)
    bench.give("go")
    bench.start("submit", bench.job(), "--name", "probe", "--detach").end()
    until(lambda: bench.is_given("closing"), what="shutdown()")
    os.kill(bench.driver_pid(), signal.SIGKILL)
    until(lambda: not processes(bench), what="the end of the workers")
    assert len(committed(bench)) == COUNT
    bench.run("resume", "probe").ok()
    check_completed(bench, dict.fromkeys(range(COUNT), 1))


DRY = SCORE.replace(
    "    return",
    """\
    if name == "003.txt" and not signs.is_given("rain"):
        raise ValueError("dry")
    return""",
)
INIT = """
def init():
    if not signs.is_given("model"):
        raise FileNotFoundError("no model")
"""


def test_a_job_that_failed_in_init_is_resumed(bench: Bench) -> None:
    bench.script(SCORE + INIT)
    bench.give("go")
    assert bench.submit().code == 1
    error = bench.logs() / "job_error.txt"
    assert "INIT_FAILED" in error.read_text()
    bench.give("model")
    bench.run("resume", "probe").ok()
    check_completed(bench, dict.fromkeys(range(COUNT), 1))
    assert not error.exists(), "only a job that failed has it"


SHUT = """
def shutdown():
    if signs.give("broken"):
        raise OSError("disk full")
"""


def test_a_job_that_failed_in_shutdown_publishes_what_run_returned(bench: Bench) -> None:
    bench.script(SCORE + SHUT)
    bench.give("go")
    assert bench.submit().code == 1
    bench.run("resume", "probe").ok()
    check_completed(bench, dict.fromkeys(range(COUNT), 1))


def test_without_an_output_a_job_that_failed_in_shutdown_runs_whole_again(bench: Bench) -> None:
    bench.script(SCORE + SHUT)
    bench.give("go")
    assert bench.submit(task={"append_row_to": None}, outputs=None).code == 1
    bench.run("resume", "probe").ok()
    assert runs(bench) == dict.fromkeys(range(COUNT), 2)
    assert bench.show()["done_mini_batch_count"] == COUNT


def test_a_failed_job_tries_what_it_has_set_aside_again(bench: Bench) -> None:
    bench.script(DRY)
    bench.give("go")
    assert bench.submit(mini_batch_error_threshold=0).code == 1
    dry = bench.run("resume", "probe")
    assert dry.code == 1 and "dry" in dry.err, "it is dry still"
    kept = kept_of(bench)
    bench.give("rain")
    bench.run("resume", "probe").ok()
    check_completed(bench, {number: count for number, count in kept.items() if number != 3})
    assert bench.run("failures", "probe", "--output", "json").ok().json == []
    assert len(bench.run("failures", "probe", "--all", "--output", "json").ok().json) == 2


def test_what_cannot_be_resumed_is_refused_and_left_as_it_is(bench: Bench) -> None:
    unknown = bench.run("resume", "probe")
    assert (unknown.code, "there is no job 'probe'" in unknown.err) == (2, True)
    held(bench, "--detach").end()
    pid = bench.driver_pid()
    live = bench.run("resume", "probe")
    assert live.code == 2
    assert f"process {pid} on {os.uname().nodename}" in live.err
    assert bench.driver_pid() == pid
    bench.give("go")
    assert bench.run("watch", "probe").code == 0
    before = bench.show()
    completed = bench.run("resume", "probe")
    assert completed.code == 2
    assert "is Completed and cannot be resumed" in completed.err
    assert bench.show() == before


def test_of_two_resumes_at_once_one_begins_the_run(bench: Bench) -> None:
    killed(bench)
    bench.give("go")
    home = Home(bench.home)
    launched: list[str] = []
    one, two = Jobs(home, launched.append), Jobs(home, launched.append)
    one.resume("probe")
    with pytest.raises(JobStatusConflict, match="just starting"):
        two.resume("probe")
    one.close()
    two.close()
    assert launched == ["probe"]
    launch_driver(home, "probe")
    assert bench.run("watch", "probe").code == 0
    assert bench.show()["status"] == "Completed"
