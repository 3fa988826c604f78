"""The desk that knows whether an earlier result may stand in for running a step, and says why, or why not.

Inputs count by content: they are looked at when the key is made and again when the step has ended, because a step whose
inputs changed meanwhile has a result that belongs to no key. A hit needs the earlier outputs there and unchanged.
"""

from __future__ import annotations

import filecmp
import functools
import hashlib
import json
import os
import platform
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.entity.asset import ReuseEntry, ReuseKey
from runner.entity.pipeline import PipelineSpec, StepSpec
from runner.entity.status import JobStatus
from runner.errors import RunnerError, StorageFailed
from runner.pipeline.keys import closest, data_part, key_of, tell_difference, unknown_part
from runner.schedule.contents import Contents
from runner.spec.data_shapes import is_literal
from runner.spec.flatten import fill_step
from runner.spec.places import Places
from runner.spec.targets import Unplaceable, place_input
from runner.store.store import Store

_DIGEST = re.compile(r"[0-9a-f]{64}")
_SITES = ("site-packages", "dist-packages")
_INSTALLED = (".dist-info", ".egg-info", ".egg-link")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is decided on a step: the earlier result that stands in, or None; and why, as its user is told."""

    key: ReuseKey
    hit: ReuseEntry | None
    reason: str


@dataclass(frozen=True, slots=True)
class _Data:
    """What the inputs of a step are: parts of its key, where they come from, and why one cannot be known."""

    parts: dict[str, str]
    places: dict[str, str]
    obstacle: str = ""


class ReuseDesk:
    """Decides for the steps of one pipeline. Threads may share it."""

    def __init__(self, store: Store, contents: Contents, places: Places, spec: PipelineSpec) -> None:
        self._store, self._contents, self._places, self._spec = store, contents, places, spec
        self._own = frozenset(step.job for step in spec.steps)
        self._environments: dict[str, str] = {}
        self._documents: dict[str, Mapping[str, Any]] = {}
        self._lock = threading.Lock()

    def look(self, step: StepSpec, document: Mapping[str, Any]) -> Verdict:
        """Whether an earlier result may stand in for a step, whose `document` has real paths in it. Reads its inputs.

        A key that comes with a miss is for `Store.set_reuse`; the results become a source when `is_still_same` agrees.
        """
        if self._spec.force_rerun or not step.is_deterministic:
            why = "force_rerun is set for the pipeline" if self._spec.force_rerun else "is_deterministic is false"
            # Never a source, so its inputs need not be read.
            key = ReuseKey(key=f"{step.job}: {why}", family=step.key, parts={})
            return Verdict(key=key, hit=None, reason=f"ran: {why}")
        with self._lock:
            self._documents[step.key] = document
        key, data = self._key(step, document)
        if data.obstacle:
            return Verdict(key=key, hit=None, reason=f"ran: {data.obstacle}")
        lost = ""
        # Who writes two equal steps into one pipeline wants both to run, whichever of them is faster.
        sources = self._store.reuse.sources(key.key, outside=self._spec.name)
        for entry in sorted(sources, key=lambda source: source.key.family != step.key):  # those of its name first
            problem = self._problem(entry, document)
            if not problem:
                return Verdict(key=key, hit=entry, reason=f"reused from {entry.job}: nothing that counts has changed")
            lost = lost or problem
        return Verdict(key=key, hit=None, reason=lost or self._why_not(step, key, data))

    def is_still_same(self, step: StepSpec, key: ReuseKey) -> bool:
        """Whether a step that has ended would get the same key now, its inputs being what they were. Reads changes."""
        with self._lock:
            document = self._documents.get(step.key)
        try:
            now, data = self._key(step, document if document is not None else fill_step(step, self._place_of))
        except RunnerError:
            return False
        return not data.obstacle and now == key

    # ---- what the key is made of ----------------------------------------------------------------------------
    def _key(self, step: StepSpec, document: Mapping[str, Any]) -> tuple[ReuseKey, _Data]:
        data = self._data(document)
        data.places.update({source.input: f"made by {source.step}" for source in step.sources})
        code, environment = _digest_of_code(step.code), self._environment(step)
        return key_of(step, code=code, environment=environment, data=data.parts, made=self._made), data

    def _data(self, document: Mapping[str, Any]) -> _Data:
        found = _Data({}, {})
        obstacle = ""
        inputs = document.get("inputs")
        for name, value in inputs.items() if isinstance(inputs, Mapping) else ():
            if is_literal(value) or value.get("path") is None:
                continue
            try:
                path = place_input(dict(value), Path("/"), self._places)
                if path is None:
                    raise Unplaceable("cannot be looked up", "")
                found.parts[name] = data_part(value, self._contents.of(path).digest, path)
                found.places[name] = path
            except Unplaceable:
                found.parts[name] = unknown_part(str(value["path"]))
                obstacle = obstacle or f"what input {name} holds ({value['path']}) cannot be known from here"
            except StorageFailed as error:
                found.parts[name] = unknown_part(str(error))
                obstacle = obstacle or f"input {name} cannot be looked at: {error}"
        return _Data(found.parts, found.places, obstacle)

    def _environment(self, step: StepSpec) -> str:
        task = step.document.get("task")
        given = task.get("environment") if isinstance(task, Mapping) else step.document.get("environment")
        said = json.dumps(given, sort_keys=True, default=str)
        with self._lock:
            if said not in self._environments:
                self._environments[said] = environment_text(given, self._places)
            return self._environments[said]

    def _made(self, key: str, output: str) -> str:
        """The content of an output of another step, for a binding inside a text."""
        place = self._place_of(key, output)
        try:
            return "absent" if place is None else self._contents.of(place).digest
        except StorageFailed:
            return "absent"

    def _place_of(self, key: str, output: str) -> str | None:
        state = self._store.get(self._spec.step(key).job)
        if state.status is not JobStatus.COMPLETED:
            return None
        return next((one.path for one in state.outputs if one.name == output), None)

    # ---- whether a result may be used -----------------------------------------------------------------------
    def _problem(self, entry: ReuseEntry, document: Mapping[str, Any]) -> str:
        """Why the results of an earlier step with the same key cannot be used; empty when they can."""
        outputs = document.get("outputs")
        recorded = {record.name for record in entry.records}
        for name in outputs if isinstance(outputs, Mapping) else ():
            if name not in recorded:
                return f"ran: output {name} of {entry.job} was never recorded"
        for record in entry.records:
            if not os.path.exists(record.path):
                return f"ran: output {record.name} of {entry.job} is gone ({record.path})"
            if not self._contents.is_still(record.path, record.content):
                return f"ran: output {record.name} of {entry.job} has changed since ({record.path})"
        return ""

    def _why_not(self, step: StepSpec, key: ReuseKey, data: _Data) -> str:
        relatives = [entry for entry in self._store.reuse.relatives(key.family) if entry.job not in self._own]
        near = closest(relatives, key)
        if near is not None:
            old, new = near.key.parts.get("code", ""), key.parts["code"]
            files = _differing_files(self._store.home.code / old, step.code) if old != new else ()
            return tell_difference(near, key, files=files, places=data.places)
        for job in self._store.reuse.barred(key.key):
            if job not in self._own:
                return f"ran: {self._why_barred(job)}"
        return "ran: no earlier step of this kind has completed"

    def _why_barred(self, job: str) -> str:
        state = self._store.get(job)
        if not state.status.is_terminal:
            return f"{job} is the same, and has not ended"
        if state.status is not JobStatus.COMPLETED:
            return f"{job} is the same, and ended as {state.status}"
        if state.progress.failed_item_count or state.progress.failed_mini_batch_count:
            return f"{job} is the same, and items of it have failed"
        return f"{job} is the same, but its inputs were not found unchanged when it ended"


def environment_text(given: Any, places: Places) -> str:
    """What a step runs in: this Python with what is installed for it, and a configured environment's definition."""
    text = f"Python {platform.python_version()}; packages {_installed()}"
    if given is None or places.environment_notice(given) is not None:
        return text
    said = dict(given) if isinstance(given, Mapping) else {"name": given}
    conda = said.get("conda_file")
    if isinstance(conda, str) and os.path.isfile(conda):
        said["conda_file"] = hashlib.sha256(Path(conda).read_bytes()).hexdigest()
    return f"{text}; definition {hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()}"


@functools.cache
def _installed() -> str:
    """A digest over names and versions of what is installed, as the names of its folders tell them."""
    names = {name for folder in sys.path if folder.endswith(_SITES) for name in _names_in(folder)}
    return hashlib.sha256("\n".join(sorted(names)).encode("utf-8", "surrogateescape")).hexdigest()


def _names_in(folder: str) -> Iterator[str]:
    try:
        yield from (name for name in os.listdir(folder) if name.endswith(_INSTALLED))
    except OSError:
        return


def _digest_of_code(code: str) -> str:
    """The digest of a pinned tree, by which its folder is named."""
    name = os.path.basename(code)
    return name if not code or _DIGEST.fullmatch(name) else hashlib.sha256(code.encode()).hexdigest()


def _differing_files(old: Path, new: str) -> tuple[str, ...]:
    """The files that two pinned trees do not have in common, relative; none when one is not there any more."""
    if not new or not old.is_dir() or not os.path.isdir(new):
        return ()
    before, after = _files_below(str(old)), _files_below(new)
    return tuple(
        name
        for name in sorted({*before, *after})
        if name not in before or name not in after or not filecmp.cmp(before[name], after[name], shallow=False)
    )


def _files_below(root: str) -> dict[str, str]:
    return {
        os.path.relpath(os.path.join(folder, name), root): os.path.join(folder, name)
        for folder, _, names in os.walk(root)
        for name in names
    }
