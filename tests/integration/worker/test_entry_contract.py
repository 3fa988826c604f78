"""What an entry script may rely on: how it is imported, what it sees, what it is given."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from instance_runs import Run, numbers

TELL = """
import json, os, sys, logging
def tell(topic, /, **facts):
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "side", topic), "a") as file:
        file.write(json.dumps(facts) + "\\n")
"""


def told(run: Run, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.folder / "side" / name).read_text().splitlines()]


def test_everything_is_final_before_the_script_is_imported(tmp_path: Path) -> None:
    script = """
    import os, sys
    from told import tell
    import sibling
    tell("import", argv=sys.argv, cwd=os.getcwd(), name=__name__, path=sys.path[0], mine=os.environ["MINE"],
         job=os.environ["AZUREML_RUN_ID"], rank=os.environ["AZUREML_CR_NODE_RANK"], sibling=sibling.__file__)
    def run(batch):
        return batch["id"]
    if __name__ == "__main__":
        raise SystemExit("never")
    """
    run = Run(
        tmp_path,
        script,
        code={"told.py": TELL, "sibling.py": ""},
        workers=1,
        argv=("--n", "a b", "True"),
        environment_variables={"MINE": "1", "AZUREML_RUN_ID": "not mine to say"},
    ).finish()
    code = str(run.code)
    assert told(run, "import") == [
        {
            "argv": ["score.py", "--n", "a b", "True"],
            "cwd": code,
            "name": "score",
            "path": code,
            "mine": "1",
            "job": "job-of-test",
            "rank": "0",
            "sibling": os.path.join(code, "sibling.py"),
        }
    ]


@pytest.mark.parametrize(
    ("entry", "file", "name"),
    [
        ("./parallel.py", "parallel.py", "parallel"),
        ("embeddings/tasks/x.py", "embeddings/tasks/x.py", "embeddings.tasks.x"),
        ("tasks.deep.score", "tasks/deep/score.py", "tasks.deep.score"),
        ("types.py", "types.py", None),
        ("my-script.py", "my-script.py", None),
    ],
)
def test_scripts_are_found_by_file_and_by_module(tmp_path: Path, entry: str, file: str, name: str | None) -> None:
    script = "def run(batch): return [__name__]\n"
    run = Run(tmp_path, "", code={file: script}, entry_script=entry, workers=1).finish()
    assert len(set(run.lines)) == 1
    assert run.lines[0] != "__main__"
    assert name is None or run.lines[0] == name


def test_a_code_folder_cannot_shadow_what_the_worker_itself_needs(tmp_path: Path) -> None:
    broken = "raise RuntimeError('not this one')\n"
    code = {"msgspec.py": broken, "numpy.py": broken, "socket.py": broken, "queue.py": broken}
    run = Run(tmp_path, "def run(batch): return [1]\n", code=code, files=3, per=1).finish()
    assert run.lines == ["1", "1", "1"]


def test_init_runs_once_in_each_process_and_shutdown_once_at_its_end(tmp_path: Path) -> None:
    script = """
    import os
    from told import tell
    def init(): tell("init", pid=os.getpid())
    def run(batch): return [os.getpid()]
    def shutdown(): tell("shutdown", pid=os.getpid())
    """
    run = Run(tmp_path, script, code={"told.py": TELL}, workers=2).finish(0, 2, 5, 10)
    inits = [fact["pid"] for fact in told(run, "init")]
    assert sorted(inits) == sorted(fact["pid"] for fact in told(run, "shutdown"))
    assert len(inits) == len(set(inits)) == 2
    assert set(numbers(run.lines)) <= set(inits)


def test_init_and_shutdown_are_optional(tmp_path: Path) -> None:
    run = Run(tmp_path, "run = lambda batch: batch['id']").finish()
    assert numbers(run.lines) == list(range(100))


CONTEXT = """
import pickle
def run(batch, any_name):
    again = pickle.loads(pickle.dumps(any_name))
    return [f"{again.minibatch_index} {again.retry_count} {again.dataset} {again.partition_key_value}", str(any_name)]
"""


def test_the_context_goes_to_a_run_with_a_second_parameter(tmp_path: Path) -> None:
    run = Run(tmp_path, CONTEXT, workers=1).finish()
    assert run.lines[0] == "0 0 data None"
    assert run.lines[1].startswith("MiniBatchContext(minibatch_index=0, retry_count=0")
    assert run.lines[18] == "9 0 data None"


def test_the_context_counts_retries_and_knows_the_schema(tmp_path: Path) -> None:
    script = """
    def run(batch, context):
        if context.retry_count < 2:
            raise ValueError("again")
        return [context.retry_count, ",".join(context.schema.names)]
    """
    run = Run(tmp_path, script, rows=10, max_retries=2).finish()
    assert run.lines == ["2", "id,x"]


@pytest.mark.parametrize(
    "script", ["def run(batch, *, context=1): return [context]", "def run(batch, **more): return [1]"]
)
def test_no_context_for_keyword_parameters(tmp_path: Path, script: str) -> None:
    assert Run(tmp_path, script, rows=10).finish().lines == ["1"]


def test_file_batches_know_their_number_pickle_and_can_be_returned(tmp_path: Path) -> None:
    script = """
    import pickle
    def run(batch):
        again = pickle.loads(pickle.dumps(batch))
        assert isinstance(batch, list) and again == batch and again.task_id == batch.task_id
        return batch
    """
    run = Run(tmp_path, script, files=5, per=2).finish()
    assert [os.path.basename(line) for line in run.lines] == [f"{n:05d}.txt" for n in range(5)]


def test_prints_and_the_root_logger_go_to_the_stdout_file(tmp_path: Path) -> None:
    script = r"""
    import logging, sys
    print("at import")
    logging.getLogger("mine").info("a message")
    logging.debug("not this")
    def run(batch):
        print("in run", file=sys.stderr)
        sys.stdout.write("odd \udcff name\n")
        return batch["id"]
    """
    run = Run(tmp_path, script, workers=1).finish()
    out = run.log("user/stdout/node-000/process000.stdout.txt")
    assert out.startswith("at import\n")
    assert "|INFO|" in out
    assert "|a message\n" in out
    assert "not this" not in out
    assert r"odd \udcff name" in out
    assert run.log("user/stderr/node-000/process000.stderr.txt") == "in run\n" * 10


def test_the_logging_level_is_the_jobs(tmp_path: Path) -> None:
    script = """
    import logging
    logging.info("no")
    logging.warning("yes")
    def run(batch): return [1]
    """
    run = Run(tmp_path, script, workers=1, logging_level="WARNING").finish()
    out = run.log("user/stdout/node-000/process000.stdout.txt")
    assert "|yes\n" in out
    assert "|no\n" not in out


def test_entry_script_helper_is_there_at_import_and_in_child_processes(tmp_path: Path) -> None:
    script = """
    import subprocess, sys
    from azureml_user.parallel_run import EntryScript
    EntryScript().logger.info("at import")
    def init():
        script = EntryScript()
        assert script is EntryScript()
        script.logger.warning("from %s", script.agent_name)
        with open(script.log_dir + "/own.txt", "w") as file:
            file.write(script.output_dir)
    def run(batch): return [1]
    """
    run = Run(tmp_path, script, workers=1).finish()
    log = run.log("user/entry_script_log/node-000/process000.log.txt")
    assert "|at import\n" in log
    assert "|from process000\n" in log
    assert run.log("user/entry_script_log/node-000/own.txt") == str(tmp_path)


def test_what_a_script_does_to_its_process_does_not_disturb_the_worker(tmp_path: Path) -> None:
    script = r"""
    import os, signal, socket, subprocess, sys, threading
    os.write(1, b"raw bytes on fd 1\n")
    socket.setdefaulttimeout(0.001)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    def init():
        os.chdir("/")
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        sys.stdout = open(os.devnull, "w")
    def run(batch):
        subprocess.run([sys.executable, "-c", "import os; os.closerange(3, 100)"], check=True)
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        return batch["id"]
    """
    run = Run(tmp_path, script).finish()
    assert numbers(run.lines) == list(range(100))


def test_a_forked_child_that_raises_out_of_run_does_not_become_a_second_worker(tmp_path: Path) -> None:
    script = """
    import os
    def run(batch):
        child = os.fork()
        if child == 0:
            raise RuntimeError("in the child")
        os.waitpid(child, 0)
        return batch["id"]
    """
    run = Run(tmp_path, script, max_retries=0).finish()
    assert numbers(run.lines) == list(range(100))
    assert run.failures == []


def test_multiprocessing_pools_work_in_run(tmp_path: Path) -> None:
    script = """
    import multiprocessing
    def double(x): return 2 * x
    def run(batch):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.map(double, batch["id"].tolist())
    """
    run = Run(tmp_path, script, rows=20, workers=1).finish()
    assert numbers(run.lines) == [2 * n for n in range(20)]


def test_each_worker_sees_its_own_gpu(tmp_path: Path) -> None:
    script = """
    import os
    from told import tell
    def init(): tell("gpu", seen=os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
    def run(batch): return [1]
    """
    run = Run(tmp_path, script, code={"told.py": TELL}, workers=3, gpu_ids=("4", "7"))
    with run:
        run.until(lambda event: getattr(event, "worker_count", 0) == 3)
        run.close()
    assert sorted(fact["seen"] for fact in told(run, "gpu")) == ["4", "7", "none"]


@pytest.mark.parametrize("form", ["pandas", "arrow", "polars", "numpy"])
def test_mini_batches_come_in_the_format_asked_for(tmp_path: Path, form: str) -> None:
    script = """
    def run(batch):
        kind = type(batch)
        return [f"{kind.__module__.split('.')[0]}.{kind.__name__} {len(batch['x'])}"]
    """
    seen = {
        "pandas": "pandas.DataFrame",
        "arrow": "pyarrow.Table",
        "polars": "polars.DataFrame",
        "numpy": "builtins.dict",
    }
    run = Run(tmp_path, script, rows=10, mini_batch_format=form).finish()
    assert run.lines == [f"{seen.get(form, 'builtins.dict')} 10"]


def test_a_generator_is_run_to_its_end_and_counts(tmp_path: Path) -> None:
    run = Run(tmp_path, "def run(batch): yield from batch['id'][:7]").finish()
    assert len(run.lines) == 70
    assert run.tally.failed_item_count == 30


@pytest.mark.parametrize("value", ["None", "'text'", "b'bytes'", "{'a': 1}", "7"])
def test_illegal_returns_fail_the_mini_batch_and_name_the_type(tmp_path: Path, value: str) -> None:
    run = Run(tmp_path, f"def run(batch): return {value}", rows=10, max_retries=0).finish()
    (failure,) = run.failures
    assert failure.cls == "user_error"
    assert type(eval(value)).__name__.removesuffix("Type") in failure.message
    assert "runner/" not in failure.traceback
