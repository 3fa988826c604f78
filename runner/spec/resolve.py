"""A checked job to what driver, instances and workers are given: absolute paths, substituted bindings, defaults in."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runner.entity.job import OutputState
from runner.entity.parallel import MiniBatchSize, OutputSpec, ParallelSpec, SplitInput
from runner.entity.table import TableOptions
from runner.spec.bindings import references, substitute
from runner.spec.data_shapes import is_literal
from runner.spec.findings import Findings
from runner.spec.jobs import Job, ParallelJob
from runner.spec.leaf_kinds import LEAF_KINDS
from runner.spec.meaning import (
    Arguments,
    effective,
    read_arguments,
    split_kind,
    split_names,
    target_name,
    text_of_literal,
)
from runner.spec.mltable import find_mltable, read_mltable
from runner.spec.places import Places
from runner.spec.schema import shape_job
from runner.spec.script import ScriptMissing
from runner.spec.sizes import bytes_of, mini_batch_size
from runner.spec.snapshot import take_snapshot
from runner.spec.surroundings import code_folder, frame_settings, say_fallbacks
from runner.spec.targets import (
    NOT_LOOKED_UP,
    Target,
    Unplaceable,
    is_pattern,
    place_input,
    place_output,
    root_of_pattern,
)
from runner.spec.validate import findings_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A job ready to be planned, and what the store should know of its outputs."""

    spec: ParallelSpec
    outputs: tuple[OutputState, ...]


def snapshot_code(job: ParallelJob, into: Path, places: Places) -> Path | None:
    """Copy the job's code to the new folder `into`; None when it has none to copy (an installed module).

    Raises:
        SpecInvalid: code or entry script are not there.
        StorageFailed: the disk said no.
    """
    found = findings_of(job)
    document = _shaped(job, found)
    try:
        code = code_folder(document, job.base_path)
        return take_snapshot(code, document["task"]["entry_script"], job.base_path, into, places.home)
    except ScriptMissing as error:
        found.problem(("task", "entry_script"), str(error), "mend the path")
    except Unplaceable as error:
        found.problem(("task", "code"), error.what, error.remedy)
    found.raise_if_any()
    return None


def resolve(job: ParallelJob, *, name: str, places: Places, code: Path | None) -> Resolved:
    """Resolve a job that `validate` found no problem with.

    Args:
        name: the job's final name, part of default output paths.
        code: the snapshot of its code, as `snapshot_code` gave it.

    Raises:
        SpecInvalid: something is wrong after all.
    """
    found = findings_of(job)
    document = _shaped(job, found)
    base = job.base_path
    targets = _targets(document, name, base, places, found)
    texts = _texts(document, targets, base, places, found)
    found.raise_if_any()
    arguments = read_arguments(document, texts.__getitem__, found)
    inputs = _split_inputs(document, texts, found)
    found.raise_if_any()
    aggregated = _output(document, targets, arguments, code, found)
    spec = _spec(document, arguments, places, found) | _script(document, base, code)
    say_fallbacks(document, places, found)
    variables = document["environment_variables"].items()
    bound = _bound_outputs(document)
    resolved = ParallelSpec(
        **spec,
        name=name,
        argv=arguments.argv,
        inputs=inputs,
        mini_batch_size=_size(document, arguments, inputs, found),
        environment_variables={key: substitute(value, texts.__getitem__) for key, value in variables},
        output=aggregated,
        side_outputs={
            target.name: target.folder
            for target in targets.values()
            if aggregated is None or target.name != aggregated.name or (target.is_folder and target.name in bound)
        },
        notices=tuple(dict.fromkeys((*(job._origin.notices if job._origin else ()), *found.notices))),
    )
    found.raise_if_any()
    outputs = tuple(OutputState(name=t.name, type=t.type, path=t.path) for t in targets.values())
    return Resolved(spec=resolved, outputs=outputs)


def preview_spec(job: Job, places: Places) -> ParallelSpec:
    """What a parallel job would be planned and read by. Its code is looked at where it is, its targets are not.

    Raises:
        SpecInvalid: something is wrong with what stands in the file, or with the data.
    """
    found = findings_of(job)
    if not isinstance(job, ParallelJob):
        found.problem(("type",), f"is {job.type}, and only parallel jobs have mini-batches", "give a parallel job")
        found.raise_if_any()
        raise AssertionError
    document = _shaped(job, found)
    kind = LEAF_KINDS[job.type]
    kind.check(document, job.base_path, found)
    kind.check_data(document, job.base_path, found, places)
    found.raise_if_any()
    return resolve(job, name=job.name or "preview", places=places, code=None).spec


def _shaped(job: ParallelJob, found: Findings) -> dict[str, Any]:
    shaped = shape_job(job.written(), found)
    found.raise_if_any()
    assert shaped is not None
    return shaped


def _targets(document: Mapping[str, Any], job: str, base: Path, places: Places, found: Findings) -> dict[str, Target]:
    targets = {}
    for name, value in document["outputs"].items():
        try:
            targets[name] = place_output(name, value, job, base, places)
        except Unplaceable as error:
            found.problem(("outputs", name, "path"), error.what, error.remedy)
    return targets


def _texts(
    document: Mapping[str, Any], targets: Mapping[str, Target], base: Path, places: Places, found: Findings
) -> dict[str, str]:
    """The text of every binding that has one: literals, absolute paths."""
    texts = {f"outputs.{name}": target.path for name, target in targets.items()}
    for name, value in document["inputs"].items():
        if is_literal(value):
            texts[f"inputs.{name}"] = text_of_literal(value)
            continue
        try:
            placed = place_input(value, base, places)
        except Unplaceable as error:
            found.problem(("inputs", name, "path"), error.what, error.remedy)
            continue
        texts[f"inputs.{name}"] = placed or ""
        if placed is None and "path" in value:
            found.problem(("inputs", name, "path"), *NOT_LOOKED_UP)
    return texts


def _split_inputs(document: Mapping[str, Any], texts: Mapping[str, str], found: Findings) -> tuple[SplitInput, ...]:
    return tuple(_split_input(name, document, texts, found) for name in split_names(document, found))


def _split_input(name: str, document: Mapping[str, Any], texts: Mapping[str, str], found: Findings) -> SplitInput:
    value, path = document["inputs"][name], texts[f"inputs.{name}"]
    kind, table = split_kind(value), TableOptions()
    file = find_mltable(path) if value.get("type") == "mltable" else None
    if file is not None:
        definition = read_mltable(file)
        table = definition.options
        kind = kind if definition.reads else "files"
        path = str(file.parent)
        for notice in definition.notices:
            found.notice((), notice)
    elif is_pattern(path) and not os.path.lexists(path):
        table = TableOptions(paths=(path,))
        path = root_of_pattern(path)
    name_of_path = document.get("runner", {}).get("path_column")
    if name_of_path is not None and kind == "table":
        keep = None if table.keep_columns is None else (*table.keep_columns, name_of_path)
        table = replace(table, include_path_column=True, path_column=name_of_path, keep_columns=keep)
    return SplitInput(name=name, kind=kind, path=path, table=table)


def _size(
    document: Mapping[str, Any], arguments: Arguments, inputs: tuple[SplitInput, ...], found: Findings
) -> MiniBatchSize:
    given = effective(document, arguments.read, "mini_batch_size", Findings(""))
    size = mini_batch_size(given, inputs[0].kind)
    if size is None:
        found.problem(("mini_batch_size",), f"is {given!r}, but the input is cut by files", "write a count of files")
        return MiniBatchSize(kind="files", value=1)
    return size


def _output(
    document: Mapping[str, Any],
    targets: Mapping[str, Target],
    arguments: Arguments,
    code: Path | None,
    found: Findings,
) -> OutputSpec | None:
    name = target_name(document, found)
    if name is None or arguments.read.get("output_action") == "summary_only":
        return None
    to_csv = frame_settings(code, found)
    runner, read, target = document.get("runner", {}), arguments.read, targets[name]
    said = _given(
        format=runner.get("output_format"),
        file_name=read.get("append_row_file_name"),
        frame_header=read.get("append_row_dataframe_header"),
        keep_columns=_tuple(runner.get("keep_columns")),
        partition_by=_tuple(runner.get("partition_by")),
        part_size_bytes=_bytes(runner.get("part_size")),
        compression=runner.get("compression"),
        overwrite=runner.get("overwrite"),
    )
    return OutputSpec(name=name, target=target.path, is_folder=target.is_folder, to_csv=to_csv, **said)


def _spec(document: Mapping[str, Any], arguments: Arguments, places: Places, found: Findings) -> dict[str, Any]:
    """The settings by the names of ParallelSpec, those that were not given left to its defaults."""
    read, runner = arguments.read, document.get("runner", {})
    retry, compute = document.get("retry_settings", {}), places.compute_of(document.get("compute"))

    def setting(name: str) -> Any:
        return effective(document, read, name, found)

    tries = read.get("run_max_try")
    return _given(
        columns=_tuple(runner.get("columns")),
        mini_batch_format=runner.get("mini_batch_format"),
        frame_types=runner.get("frame_types"),
        writable=runner.get("writable"),
        worker_count=setting("process_count_per_node"),
        instance_count=document.get("resources", {}).get("instance_count"),
        gpus_per_worker=_float(runner.get("gpus_per_worker")),
        max_retries=retry.get("max_retries") if tries is None else tries - 1,
        timeout_s=_float(setting("run_invocation_timeout")),
        task_overhead_timeout_s=_float(read.get("task_overhead_timeout")),
        progress_update_timeout_s=_float(read.get("progress_update_timeout")),
        first_task_creation_timeout_s=_float(read.get("first_task_creation_timeout")),
        error_threshold=setting("error_threshold"),
        mini_batch_error_threshold=setting("allowed_failed_count"),
        allowed_failed_percent=_float(read.get("allowed_failed_percent")),
        logging_level=setting("logging_level"),
        bisect=False if setting("partition_keys") else runner.get("bisect"),
        partition_keys=_tuple(setting("partition_keys")),
        speculate=runner.get("speculate"),
        limit=runner.get("limit"),
        memory_bytes=_bytes(runner.get("memory")),
        compute=compute.kind,
        ray_address=compute.address,
    )


def _script(document: Mapping[str, Any], base: Path, code: Path | None) -> dict[str, Any]:
    """The entry script as the worker imports it: relative to the snapshot, or a module."""
    written = document["task"]["entry_script"]
    if not written.endswith(".py"):
        return {"entry_script": written, "code": None if code is None else str(code)}
    original = code_folder(document, base)
    if original is None:
        inside = os.path.basename(written)
    elif os.path.isabs(written):
        inside = os.path.relpath(written, original)
    else:
        inside = os.path.normpath(written)
    return {"entry_script": inside, "code": None if code is None else str(code)}


def _bound_outputs(document: Mapping[str, Any]) -> set[str]:
    """The outputs that the script is told about: it may write to them from its first moment."""
    texts = [document["task"].get("program_arguments") or "", *document["environment_variables"].values()]
    found = [reference for text in texts for reference in references(text)]
    return {reference.removeprefix("outputs.") for reference in found if reference.startswith("outputs.")}


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _convert(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else change(value)


_float = _convert(float)
_tuple = _convert(tuple)
_bytes = _convert(bytes_of)
