"""Scripts that cannot be imported, and init() and shutdown() that fail: told with the user's own traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from instance_runs import Run

from runner.entity.lease import InitFailure, InstanceFailed


def first_failure(run: Run) -> InitFailure:
    with run:
        event = run.until(lambda event: isinstance(event, InitFailure))
        run.close(run_shutdown=False)
    assert isinstance(event, InitFailure)
    return event


@pytest.mark.parametrize(
    ("script", "what", "trace"),
    [
        ("import nosuchmodule_x", "No module named 'nosuchmodule_x'", 'score.py", line 1, in <module>'),
        ("def run(batch:\n  pass", "SyntaxError", "score.py"),
        ("1 / 0\ndef run(batch): return []", "ZeroDivisionError", 'score.py", line 1'),
        ("raise SystemExit(3)", "SystemExit", 'score.py", line 1'),
        ("def init(): pass", "defines no run", ""),
        ("run = 7", "run as int", ""),
        ("init = 7\ndef run(batch): return []", "init as int", ""),
    ],
)
def test_a_script_that_cannot_be_imported_is_told_with_its_own_traceback(
    tmp_path: Path, script: str, what: str, trace: str
) -> None:
    run = Run(tmp_path, script, workers=1)
    failure = first_failure(run)
    assert failure.is_import
    assert not failure.ever_ready
    assert what in failure.what
    assert trace in failure.traceback
    assert "importlib" not in failure.traceback
    assert "runner/worker" not in failure.traceback
    assert what in run.log("user/error/node-000/process000.txt")
    assert "process000" in run.log("user/error.txt")


def test_a_missing_script_is_told(tmp_path: Path) -> None:
    failure = first_failure(Run(tmp_path, "", entry_script="nothere.py", workers=1))
    assert failure.is_import
    assert "no such file" in failure.what


def test_init_that_raises_is_tried_again_in_new_processes_but_not_for_ever(tmp_path: Path) -> None:
    script = """
    def init(): raise RuntimeError("no model")
    def run(batch): return []
    """
    run = Run(tmp_path, script, workers=2)
    with run:
        run.until(lambda event: isinstance(event, InitFailure) and event.failure_count == 6)
        run.close()
    # Whoever drives the instance closes it; a successor may have failed before it heard of that.
    counts = [failure.failure_count for failure in run.init_failures]
    assert counts == list(range(1, len(counts) + 1)) and 6 <= len(counts) <= 8
    assert len({failure.worker for failure in run.init_failures}) == len(counts)
    assert all("RuntimeError: no model" in failure.what and not failure.is_import for failure in run.init_failures)
    assert 'in init\n    def init(): raise RuntimeError("no model")' in run.init_failures[0].traceback


def test_one_bad_init_costs_no_mini_batch(tmp_path: Path) -> None:
    script = """
    import os
    def init():
        try:
            os.mkdir("../side/first")
        except FileExistsError:
            return
        os._exit(9)
    def run(batch): return batch["id"]
    """
    run = Run(tmp_path, script, max_retries=0).finish()
    assert run.tally.failed_mini_batch_count == 0
    assert [failure.what for failure in run.init_failures] == ["the worker process exited with code 9 while init() ran"]


def test_init_that_hangs_is_ended(tmp_path: Path) -> None:
    script = """
    import threading
    def init(): threading.Event().wait()
    def run(batch): return []
    """
    run = Run(tmp_path, script, workers=1, timeout_s=-9.9)  # the limit is 3 x timeout + 30 s
    failure = first_failure(run)
    assert "init() took longer than 0.3 s" in failure.what


def test_shutdown_that_raises_fails_the_instance_with_its_traceback(tmp_path: Path) -> None:
    script = """
    def run(batch): return batch["id"]
    def shutdown(): raise KeyError("lost my output")
    """
    run = Run(tmp_path, script).finish()
    (failed,) = run.of(InstanceFailed)
    assert failed.reason == "SHUTDOWN_FAILED"
    assert "lost my output" in failed.message
    assert "in shutdown" in failed.traceback


@pytest.mark.parametrize(
    ("body", "what"),
    [("import os; os._exit(5)", "exited with code 5 in shutdown()"), ("while True: pass", "took longer than timeout")],
)
def test_shutdown_that_dies_or_hangs_fails_the_instance(tmp_path: Path, body: str, what: str) -> None:
    script = f"def run(batch): return [1]\ndef shutdown():\n    {body}\n"
    run = Run(tmp_path, script, workers=1, rows=10, timeout_s=0.5, limits=__import__("instance_runs").QUICK).finish()
    (failed,) = run.of(InstanceFailed)
    assert failed.reason == "SHUTDOWN_FAILED"
    assert what in failed.message
