"""Whether an earlier result stands in, decided over a real store and real files: hits, misses and what is said of them.

A step is put through its life here as a pipeline's driver does it, but nothing is run: the test makes the outputs.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from runner.entity.job import JobState, OutputState, Progress
from runner.entity.pipeline import PipelineSpec, StepSource, StepSpec
from runner.entity.status import JobStatus
from runner.pipeline.reuse import ReuseDesk, Verdict, environment_text
from runner.schedule.contents import Contents, records_of
from runner.spec.code_trees import pin_code
from runner.spec.flatten import fill_step
from runner.spec.places import Places
from runner.store.home import Home
from runner.store.store import Store

S = JobStatus


@dataclass
class Mill:
    """A folder with data and code, and pipelines of one or two steps over them."""

    folder: Path
    store: Store
    count: int = 0
    document: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("data", "code", "made"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "data" / "grain.txt").write_text("rye")
        (self.folder / "code" / "grind.py").write_text("print(1)")
        (self.folder / "code" / "sift.py").write_text("print(2)")
        self.document = {
            "type": "command",
            "command": "python grind.py ${{inputs.grain}} ${{outputs.flour}}",
            "inputs": {"grain": {"type": "uri_folder", "path": str(self.folder / "data")}, "stones": 2},
            "outputs": {"flour": {"type": "uri_folder"}},
        }

    def step(self, **changes: Any) -> StepSpec:
        job = f"mill-{self.count}--grind"
        tree = pin_code(self.folder / "code", self.store.home.code, home=self.store.home.root)
        document = {**self.document, "name": job}
        step = StepSpec(key="grind", job=job, type="command", document=document, code=str(tree.path))
        return replace(step, **changes)

    def begin(self, *, force_rerun: bool = False, steps: tuple[StepSpec, ...] = (), **changes: Any) -> Going:
        """A new pipeline with its rows; `changes` are of the one step it has unless there are others."""
        made = steps or (self.step(**changes),)
        name = f"mill-{self.count}"
        self.count += 1
        spec = PipelineSpec(name=name, steps=made, force_rerun=force_rerun)
        rows = [
            JobState(name=one.job, type="command", status=S.NOT_STARTED, create_time=0.0, step=one.key) for one in made
        ]
        self.store.create(JobState(name=name, type="pipeline", status=S.NOT_STARTED, create_time=0.0), steps=rows)
        places = Places.read(self.store.home.root, {})
        return Going(self, spec, ReuseDesk(self.store, Contents(self.store), places, spec))

    def ran(self, **changes: Any) -> Verdict:
        """A pipeline whose one step was looked up and, without a hit, ran to its end and became a source if it may."""
        return self.begin(**changes).run()


@dataclass
class Going:
    """A pipeline in progress."""

    mill: Mill
    spec: PipelineSpec
    desk: ReuseDesk

    def look(self, key: str = "grind") -> Verdict:
        step = self.spec.step(key)
        return self.desk.look(step, fill_step(step, self.place_of))

    def place_of(self, key: str, output: str) -> str | None:
        state = self.mill.store.get(self.spec.step(key).job)
        return next((one.path for one in state.outputs if one.name == output), None)

    def run(
        self, key: str = "grind", text: str = "flour", while_running: Callable[[], object] = lambda: None, **last: Any
    ) -> Verdict:
        verdict, store, step = self.look(key), self.mill.store, self.spec.step(key)
        if verdict.hit is not None:
            outputs = [OutputState(name=one.name, type=one.type, path=one.path) for one in verdict.hit.records]
            store.complete_reused(step.job, verdict.hit.job, verdict.reason, outputs, verdict.hit.records)
            return verdict
        store.set_reuse(step.job, verdict.key, is_source=False, reason=verdict.reason)
        outputs = []
        for name in step.document["outputs"]:  # type: ignore[attr-defined]
            place = self.mill.folder / "made" / step.job / name
            place.mkdir(parents=True)
            (place / "result.txt").write_text(text)
            outputs.append(OutputState(name=name, type="uri_folder", path=str(place)))
        for status in (S.STARTING, S.PREPARING, S.RUNNING):
            store.move(step.job, status)
        while_running()
        if last.get("status", S.COMPLETED) is S.FAILED:
            store.move(step.job, S.FAILED)
            return verdict
        store.move(step.job, S.FINALIZING, outputs=outputs)
        records = records_of(outputs, Contents(store))
        store.move(step.job, S.COMPLETED, progress=last.get("progress"), records=records)
        if not store.get(step.job).progress.failed_item_count and self.desk.is_still_same(step, verdict.key):
            store.set_reuse(step.job, verdict.key, is_source=True, reason=verdict.reason)
        return verdict


@pytest.fixture
def mill(tmp_path: Path, home: Path) -> Iterator[Mill]:
    store = Store(Home(home))
    yield Mill(tmp_path / "mill", store)
    store.close()


def test_the_same_again_is_reused_and_says_so(mill: Mill) -> None:
    first = mill.ran()
    assert first.hit is None and first.reason == "ran: no earlier step of this kind has completed"
    second = mill.ran()
    assert second.hit is not None and second.hit.job == "mill-0--grind"
    assert second.reason == "reused from mill-0--grind: nothing that counts has changed"
    third = mill.ran()
    assert third.hit is not None and third.hit.job == "mill-0--grind", "the one that ran, not one that was reused"


def test_times_and_places_of_code_and_inputs_do_not_count(mill: Mill) -> None:
    mill.ran()
    os.utime(mill.folder / "code" / "grind.py", (1, 1))
    os.utime(mill.folder / "data" / "grain.txt", (1, 1))
    (mill.folder / "data").rename(mill.folder / "moved")
    mill.document["inputs"]["grain"]["path"] = str(mill.folder / "moved")
    assert mill.ran().hit is not None


def test_a_changed_file_of_the_code_is_named(mill: Mill) -> None:
    mill.ran()
    (mill.folder / "code" / "sift.py").write_text("print(3)")
    (mill.folder / "code" / "more.py").write_text("")
    assert mill.ran().reason == "ran: code (more.py, sift.py) differs from mill-0--grind"
    (mill.folder / "code" / "more.py").unlink()
    (mill.folder / "code" / "sift.py").write_text("print(2)")
    assert mill.ran().hit is not None, "what was before is known still"


def test_changed_data_is_named_with_its_place(mill: Mill) -> None:
    mill.ran()
    (mill.folder / "data" / "grain.txt").write_text("oat")
    told = f"ran: the content of input grain ({mill.folder / 'data'}) differs from mill-0--grind"
    assert mill.ran().reason == told


def test_a_changed_literal_is_named_with_both_values(mill: Mill) -> None:
    mill.ran()
    mill.document["inputs"]["stones"] = 3
    assert mill.ran().reason == "ran: input stones (3, was 2) differs from mill-0--grind"
    mill.document["inputs"]["stones"] = 4
    mill.document["command"] += " --fine"
    assert mill.ran().reason == "ran: command and input stones (4, was 3) differ from mill-1--grind"


def test_what_was_forced_runs_and_is_no_source(mill: Mill) -> None:
    mill.ran()
    assert mill.ran(force_rerun=True).reason == "ran: force_rerun is set for the pipeline"
    again = mill.ran()
    assert again.hit is not None and again.hit.job == "mill-0--grind"


def test_results_of_a_forced_run_alone_are_never_used(mill: Mill) -> None:
    mill.ran(force_rerun=True)
    assert mill.ran().hit is None


def test_a_step_that_is_not_deterministic_always_runs(mill: Mill) -> None:
    for _ in range(2):
        verdict = mill.ran(is_deterministic=False)
        assert verdict.hit is None and verdict.reason == "ran: is_deterministic is false"
    assert mill.ran().hit is None


def test_inputs_that_change_while_it_runs_make_it_no_source(mill: Mill) -> None:
    data = mill.folder / "data" / "grain.txt"
    mill.begin().run(while_running=lambda: data.write_text("oat"))
    data.write_text("rye")
    assert mill.ran().reason == "ran: mill-0--grind is the same, but its inputs were not found unchanged when it ended"
    assert mill.ran().hit is not None


def test_open_failures_make_it_no_source(mill: Mill) -> None:
    mill.begin().run(progress=Progress(failed_item_count=1))
    assert mill.ran().reason == "ran: mill-0--grind is the same, and items of it have failed"


def test_a_failed_step_is_no_source(mill: Mill) -> None:
    mill.begin().run(status=S.FAILED)
    assert mill.ran().reason == "ran: mill-0--grind is the same, and ended as Failed"


def test_outputs_that_are_gone_or_changed_are_no_hit(mill: Mill) -> None:
    mill.ran()
    made = mill.folder / "made" / "mill-0--grind" / "flour"
    os.utime(made / "result.txt", (1, 1))
    assert mill.begin().look().hit is not None, "another time alone is no change"
    (made / "result.txt").write_text("FLOUR")
    changed = mill.begin().look()
    assert changed.hit is None
    assert changed.reason == f"ran: output flour of mill-0--grind has changed since ({made})"
    shutil.rmtree(made)
    assert mill.begin().look().reason == f"ran: output flour of mill-0--grind is gone ({made})"


def test_of_two_sources_the_one_whose_outputs_are_there_is_used(mill: Mill) -> None:
    mill.ran()
    made = mill.folder / "made" / "mill-0--grind" / "flour"
    away = made.rename(made.with_name("away"))
    mill.ran()
    away.rename(made)
    shutil.rmtree(mill.folder / "made" / "mill-1--grind")
    verdict = mill.ran()
    assert verdict.hit is not None and verdict.hit.job == "mill-0--grind"


def test_what_cannot_be_looked_at_is_no_reuse_with_that_reason(mill: Mill) -> None:
    mill.document["inputs"]["grain"] = {"type": "uri_file", "path": "https://example.com/grain.csv", "mode": "direct"}
    for _ in range(2):
        reason = mill.ran().reason
        assert reason == "ran: what input grain holds (https://example.com/grain.csv) cannot be known from here"
    mill.document["inputs"]["grain"] = {"type": "uri_folder", "path": str(mill.folder / "nowhere")}
    assert "ran: input grain cannot be looked at: " in mill.ran().reason


def test_an_optional_input_without_a_value_is_a_difference(mill: Mill) -> None:
    mill.ran()
    mill.document["inputs"]["grain"] = {"type": "uri_folder", "optional": True}
    assert mill.ran().reason == "ran: input grain differs from mill-0--grind"
    assert mill.ran().hit is not None


# ---- what other steps have made -------------------------------------------------------------------------
def chain(mill: Mill, **changes: Any) -> Going:
    """grind, then bake with what grind has made, once as data and once inside a text."""
    first = mill.step()
    document = {
        "type": "command",
        "name": f"mill-{mill.count}--bake",
        "command": "cat ${{steps.grind.outputs.flour}}/result.txt",
        "inputs": {"flour": {"type": "uri_folder", "path": "${{steps.grind.outputs.flour}}"}},
        "outputs": {"bread": {"type": "uri_folder"}},
    }
    source = StepSource(input="flour", step="grind", output="flour")
    second = StepSpec(key="bake", job=f"mill-{mill.count}--bake", type="command", document=document, sources=(source,))
    return mill.begin(steps=(first, second), **changes)


def test_a_consumer_is_reused_when_its_producer_made_the_same_anew(mill: Mill) -> None:
    going = chain(mill)
    going.run("grind"), going.run("bake")

    (mill.folder / "code" / "grind.py").write_text("print('the same')")
    again = chain(mill)
    assert again.run("grind").hit is None
    assert again.run("bake").reason == "reused from mill-0--bake: nothing that counts has changed"

    (mill.folder / "code" / "grind.py").write_text("print('other')")
    other = chain(mill)
    assert other.run("grind", text="FLOUR").hit is None
    verdict = other.run("bake")
    assert verdict.hit is None
    assert verdict.reason == "ran: command and the content of input flour (made by grind) differ from mill-0--bake"


def test_a_consumer_of_a_reused_producer_is_reused(mill: Mill) -> None:
    for _ in range(2):
        going = chain(mill)
        verdicts = going.run("grind"), going.run("bake")
    assert all(verdict.hit is not None for verdict in verdicts)


def test_another_process_decides_whether_inputs_are_still_the_same(mill: Mill) -> None:
    going = chain(mill)
    going.run("grind")
    key = going.look("bake").key
    elsewhere = ReuseDesk(mill.store, Contents(mill.store), Places.read(mill.store.home.root, {}), going.spec)
    assert elsewhere.is_still_same(going.spec.step("bake"), key)
    (mill.folder / "made" / "mill-0--grind" / "flour" / "result.txt").write_text("FLOUR")
    assert not elsewhere.is_still_same(going.spec.step("bake"), key)


# ---- the environment --------------------------------------------------------------------------------------
def test_only_a_configured_environment_counts_by_its_definition(home: Path, tmp_path: Path) -> None:
    home.mkdir()
    conda = tmp_path / "conda.yml"
    conda.write_text("a")
    (home / "config.toml").write_text('[environments.mill]\nkind = "current"\n')
    places = Places.read(home, {})

    def text(given: str | Mapping[str, object] | None) -> str:
        return environment_text(given, places)

    assert text(None) == text("azureml:other:1") == text({"image": "ubuntu"}) == text({"image": "debian"})
    assert len({text(None), text("azureml:mill:1"), text("azureml:mill:2"), text({"name": "mill"})}) == 4
    described = {"name": "mill", "conda_file": str(conda)}
    before = text(described)
    conda.write_text("b")
    assert text(described) != before
