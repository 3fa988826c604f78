"""Reuse as users meet it: YAML files submitted again and again, with something changed in between."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import runner
from runner.compose.client import Client
from runner.entity.asset import Asset
from runner.entity.job import JobState
from runner.entity.status import JobStatus
from runner.store.home import Home
from runner.store.store import Store

Document = dict[str, Any]


class Works:
    """A folder with a pipeline over grain: `grind` makes flour of it, `bake` makes bread of the flour."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder, self.ran = folder, folder / "ran"
        for name in ("data", "code", "parts"):
            (folder / name).mkdir(parents=True)
        (folder / "data" / "grain.txt").write_text("rye\nwheat\n")
        (folder / "code" / "grind.sh").write_text('tr a-z A-Z < "$1" > "$2"\n')
        self.store = Store(Home(home))
        self.client = Client()
        self.count = 0

    def close(self) -> None:
        self.client.close()
        self.store.close()

    def command(self, name: str, command: str, **more: Any) -> Document:
        """A step that leaves a line where the test sees it."""
        return {"type": "command", "command": f"echo {name} >> {self.ran}\n{command}", "compute": "local", **more}

    def document(self, **top: Any) -> Document:
        return {
            "type": "pipeline",
            "inputs": {"grain": {"type": "uri_file", "path": "./data/grain.txt"}, "loaves": 2},
            "outputs": {"bread": {"type": "uri_file"}},
            "jobs": {
                "grind": self.command(
                    "grind",
                    "sh grind.sh ${{inputs.grain}} ${{outputs.flour}}",
                    code="./code",
                    inputs={"grain": "${{parent.inputs.grain}}"},
                    outputs={"flour": {"type": "uri_file"}},
                ),
                "bake": self.command(
                    "bake",
                    "for i in $(seq ${{inputs.loaves}}); do cat ${{inputs.flour}}; done > ${{outputs.bread}}",
                    inputs={"flour": "${{parent.jobs.grind.outputs.flour}}", "loaves": "${{parent.inputs.loaves}}"},
                    outputs={"bread": "${{parent.outputs.bread}}"},
                ),
            },
            **top,
        }

    def submit(self, document: Document, status: JobStatus = JobStatus.COMPLETED) -> dict[str, JobState]:
        """Submit a pipeline and wait for its end; its steps by their keys."""
        self.count += 1
        path = self.folder / "pipeline.yml"
        path.write_text(yaml.safe_dump({"name": f"run-{self.count}", **document}, sort_keys=False))
        name = self.client.jobs.create_or_update(runner.load_job(path)).name
        assert name is not None
        for _ in self.client.jobs.watch(name):
            pass
        state = self.store.get(name)
        assert state.status is status, state
        return {step.step: step for step in self.store.steps(name)}

    def reasons(self, document: Document, status: JobStatus = JobStatus.COMPLETED) -> dict[str, str]:
        return {key: step.reuse_reason for key, step in self.submit(document, status).items()}

    def notes(self) -> list[str]:
        """The steps that ran, in order; forgotten then."""
        notes = self.ran.read_text().split() if self.ran.exists() else []
        self.ran.unlink(missing_ok=True)
        return notes


@pytest.fixture
def works(tmp_path: Path, home: Path) -> Iterator[Works]:
    made = Works(tmp_path / "works", home)
    yield made
    made.close()


def reused(*sources: str) -> dict[str, str]:
    return {source.split("--")[-1]: f"reused from {source}: nothing that counts has changed" for source in sources}


def test_nothing_runs_twice_whatever_is_said_about_it(works: Works) -> None:
    works.submit(works.document())
    assert works.notes() == ["grind", "bake"]
    document = works.document(
        display_name="other", description="other", tags={"a": "b"}, experiment_name="elsewhere", properties={"c": "d"}
    )
    for step in document["jobs"].values():
        step |= {"display_name": "other", "tags": {"a": "b"}, "limits": {"timeout": 99}}
        step["runner"] = {"retry_settings": {"max_retries": 1}}
    assert works.reasons(document) == reused("run-1--grind", "run-1--bake")
    assert works.notes() == []


def test_a_step_under_another_name_is_the_same_step(works: Works) -> None:
    works.submit(works.document())
    document = works.document()
    document["jobs"] = {"mill": document["jobs"]["grind"]}
    del document["outputs"]
    assert works.reasons(document) == {"mill": "reused from run-1--grind: nothing that counts has changed"}


def test_the_same_step_written_twice_runs_twice_and_is_reused_twice(works: Works) -> None:
    document = works.document()
    twin = works.command("twin", "echo > ${{outputs.o}}", outputs={"o": {"type": "uri_file"}})
    document["jobs"] |= {"one": twin, "two": twin | {"runner": {"depends_on": ["one"]}}}
    works.submit(document)
    assert works.notes().count("twin") == 2
    steps = works.submit(document)
    assert [steps[key].reused_from for key in ("one", "two")] == ["run-1--one", "run-1--two"]


def test_outputs_of_the_earlier_run_appear_under_the_new_one(works: Works) -> None:
    works.submit(works.document())
    steps = works.submit(works.document())
    (bread,) = steps["bake"].outputs
    assert Path(bread.path).read_text() == "RYE\nWHEAT\n" * 2
    assert works.store.get("run-2").outputs == (bread,)
    assert works.store.reuse.records("run-2--bake") == works.store.reuse.records("run-1--bake")


def test_only_what_depends_on_a_change_runs(works: Works) -> None:
    works.submit(works.document())
    works.notes()
    document = works.document()
    document["inputs"]["loaves"] = 3
    assert works.reasons(document) == {
        **reused("run-1--grind"),
        "bake": "ran: input loaves (3, was 2) differs from run-1--bake",
    }
    (works.folder / "data" / "grain.txt").write_text("RYE\nWHEAT\n")
    reasons = works.reasons(document)
    assert reasons["grind"].startswith("ran: the content of input grain (")
    assert reasons["bake"] == "reused from run-2--bake: nothing that counts has changed", "the flour is the same"


def test_files_that_are_ignored_are_no_part_of_the_code(works: Works) -> None:
    (works.folder / "code" / ".amlignore").write_text("*.log\n")
    works.submit(works.document())
    (works.folder / "code" / "words.log").write_text("words")
    (works.folder / "code" / "__pycache__").mkdir()
    (works.folder / "code" / "__pycache__" / "grind.pyc").write_text("")
    assert works.reasons(works.document()) == reused("run-1--grind", "run-1--bake")
    (works.folder / "code" / "words.txt").write_text("words")
    assert works.reasons(works.document())["grind"] == "ran: code (words.txt) differs from run-1--grind"


def test_what_completed_before_another_step_failed_is_reused(works: Works) -> None:
    broken = works.document()
    broken["jobs"]["bake"]["command"] = "exit 3"
    works.submit(broken, JobStatus.FAILED)
    assert works.reasons(works.document()) == {
        **reused("run-1--grind"),
        "bake": "ran: no earlier step of this kind has completed",
    }


def test_a_target_with_a_path_is_written_once(works: Works) -> None:
    document = works.document()
    document["outputs"]["bread"]["path"] = "./out/bread.txt"
    works.submit(document)
    bread = works.folder / "out" / "bread.txt"
    before = bread.stat()
    assert works.reasons(document) == reused("run-1--grind", "run-1--bake")
    assert bread.stat() == before

    # What somebody has written there since is no result of any step, and is not overwritten either.
    bread.write_text("stone")
    steps = works.submit(document, JobStatus.FAILED)
    error = steps["bake"].error
    assert error is not None and str(bread) in error.message
    assert bread.read_text() == "stone"
    document["runner"] = {"overwrite": True}
    assert works.reasons(document)["bake"] == f"ran: output bread of run-1--bake has changed since ({bread})"
    assert bread.read_text() == "RYE\nWHEAT\n" * 2


def test_a_path_with_the_job_s_name_in_it_is_no_difference(works: Works) -> None:
    document = works.document()
    document["outputs"]["bread"]["path"] = "./out/${{name}}/bread.txt"
    works.submit(document)
    assert works.reasons(document) == reused("run-1--grind", "run-1--bake")


def test_what_was_forced_is_no_source_and_what_was_before_still_is(works: Works) -> None:
    forced = works.document(settings={"force_rerun": True})
    works.submit(forced)
    why = "ran: force_rerun is set for the pipeline"
    assert works.reasons(forced) == {"grind": why, "bake": why}
    assert works.notes() == ["grind", "bake"] * 2
    works.submit(works.document())
    assert works.notes() == ["grind", "bake"]
    assert works.reasons(works.document()) == reused("run-3--grind", "run-3--bake")


def test_components_count_by_what_they_are_and_where_they_are_does_not(works: Works) -> None:
    part = {
        "type": "command",
        "name": "grind_part",
        "version": "1",
        "inputs": {"grain": {"type": "uri_file"}},
        "outputs": {"flour": {"type": "uri_file"}},
        "code": "../code",
        "command": f"echo grind >> {works.ran}; sh grind.sh ${{{{inputs.grain}}}} ${{{{outputs.flour}}}}",
    }
    document = works.document()
    inputs = {"grain": "${{parent.inputs.grain}}"}
    document["jobs"]["grind"] = {"type": "command", "component": "./parts/grind.yml", "inputs": inputs}
    document["settings"] = {"default_compute": "local"}

    def write(**changes: Any) -> None:
        (works.folder / "parts" / "grind.yml").write_text(yaml.safe_dump(part | changes))

    write()
    works.submit(document)
    write(version="2", description="other", tags={"a": "b"})
    assert works.reasons(document) == reused("run-1--grind", "run-1--bake")
    write(is_deterministic=False)
    assert works.reasons(document) == {"grind": "ran: is_deterministic is false", **reused("run-1--bake")}


def test_steps_of_sub_pipelines_are_reused_too(works: Works) -> None:
    whole = works.document()
    del whole["inputs"]["grain"]["path"]
    (works.folder / "parts" / "whole.yml").write_text(yaml.safe_dump({
        **whole, "name": "whole", "version": "1",
        "inputs": {"grain": {"type": "uri_file"}, "loaves": {"type": "integer", "default": 2}},
        "jobs": {key: step | ({"code": "../code"} if "code" in step else {}) for key, step in whole["jobs"].items()},
    }))  # fmt: skip
    works.submit(works.document())
    document = {
        "type": "pipeline",
        "inputs": {"grain": {"type": "uri_file", "path": "./data/grain.txt"}},
        "jobs": {
            "inner": {
                "type": "pipeline",
                "component": "./parts/whole.yml",
                "inputs": {"grain": "${{parent.inputs.grain}}"},
            }
        },
    }
    steps = works.submit(document)
    assert {key: step.reused_from for key, step in steps.items()} == {
        "inner/grind": "run-1--grind",
        "inner/bake": "run-1--bake",
    }


def test_a_registered_asset_counts_by_its_content(works: Works) -> None:
    works.submit(works.document())
    again = works.folder / "data" / "again.txt"
    again.write_text("rye\nwheat\n")
    works.store.assets.create(Asset(kind="data", name="grain", version="", type="uri_file", path=str(again)))
    document = works.document()
    document["inputs"]["grain"]["path"] = "azureml:grain@latest"
    assert works.reasons(document) == reused("run-1--grind", "run-1--bake")


def test_inputs_that_change_while_a_step_runs(works: Works) -> None:
    document = works.document()
    document["jobs"]["grind"]["command"] += f"\necho oat >> {works.folder}/data/grain.txt"
    works.submit(document)
    grain = works.folder / "data" / "grain.txt"
    assert grain.read_text() == "rye\nwheat\noat\n"
    grain.write_text("rye\nwheat\n")
    reason = works.reasons(document)["grind"]
    assert reason == "ran: run-1--grind is the same, but its inputs were not found unchanged when it ended"


# ---- parallel steps -----------------------------------------------------------------------------------------
def parallel(works: Works, script: str, **changes: Any) -> Document:
    (works.folder / "code" / "score.py").write_text(script)
    step: Document = {
        "type": "parallel",
        "compute": "local",
        "inputs": {"files": {"type": "uri_folder", "path": "./data"}},
        "outputs": {"scores": {"type": "uri_file"}},
        "input_data": "${{inputs.files}}",
        "mini_batch_size": "1",
        "max_concurrency_per_instance": 1,
        "retry_settings": {"max_retries": 0, "timeout": 60},
        "task": {
            "type": "run_function",
            "code": "./code",
            "entry_script": "score.py",
            "append_row_to": "${{outputs.scores}}",
        },
    }
    for path, value in changes.items():
        *above, last = path.split("__")
        at = step
        for name in above:
            at = at.setdefault(name, {})
        at[last] = value
    return {"type": "pipeline", "jobs": {"score": step}}


NAMES = "import os\ndef run(mini_batch): return [os.path.basename(path) for path in mini_batch]\n"


@pytest.mark.slow
def test_a_parallel_step_is_reused_however_it_would_run(works: Works) -> None:
    works.submit(parallel(works, NAMES))
    other = {
        "max_concurrency_per_instance": 2,
        "retry_settings": {"max_retries": 3, "timeout": 30},
        "logging_level": "DEBUG",
        "mini_batch_error_threshold": 7,
    }
    assert works.reasons(parallel(works, NAMES, **other)) == reused("run-1--score")
    reason = works.reasons(parallel(works, NAMES, mini_batch_size="2"))["score"]
    assert reason == "ran: mini_batch_size (2, was 1) differs from run-1--score"
    reason = works.reasons(parallel(works, NAMES + "# words\n"))["score"]
    assert reason == "ran: code (score.py) differs from run-1--score"


@pytest.mark.slow
def test_a_parallel_step_with_open_failures_is_no_source(works: Works) -> None:
    (works.folder / "data" / "bad.txt").write_text("")
    document = parallel(works, NAMES.replace("return", "assert 'bad' not in mini_batch[0]; return"))
    assert works.submit(copy.deepcopy(document))["score"].progress.failed_mini_batch_count == 1
    assert works.reasons(document)["score"] == "ran: run-1--score is the same, and items of it have failed"
