"""A checked job to the folder that its driver begins with: what a submission does for a job, and a pipeline for a step.

Harmless to do again for a job that no driver has seen yet.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import msgspec

from runner.entity.command import CommandSpec
from runner.entity.job import OutputState
from runner.entity.parallel import ParallelSpec
from runner.errors import StorageFailed, TargetExists
from runner.spec.jobs import Job, ParallelJob
from runner.spec.places import Places
from runner.store.home import JobFolder


def prepare(
    job: Job,
    *,
    name: str,
    root_name: str,
    places: Places,
    code: Path | None,
    folder: JobFolder,
    final: JobFolder,
) -> tuple[OutputState, ...]:
    """Resolve a command or parallel job that `validate` found no problem with, and write what its driver needs.

    Args:
        root_name: the pipeline that the job is a step of, else its own name.
        code: the snapshot of its code, as it was pinned, or copied into `folder`.
        folder: where to write; made if it is missing.
        final: where the folder will be when the driver starts.

    Returns:
        Where the outputs will be.

    Raises:
        SpecInvalid: something is wrong after all.
        TargetExists: an output would be replaced.
        StorageFailed: the disk said no.
    """
    spec, outputs = _resolved(job, name=name, root_name=root_name, places=places, code=code)
    for path in taken_targets(spec):
        raise TargetExists(path)
    moved = code is not None and code.is_relative_to(folder.root)
    try:
        folder.logs.mkdir(parents=True, exist_ok=True)
        if isinstance(spec, ParallelSpec) and code is not None and not moved:
            _copy_code(code, folder.code)
            spec = dataclasses.replace(spec, code=str(final.code))
        folder.lock.touch(mode=0o600)
        folder.spec.write_bytes(msgspec.json.encode(_moved(spec, folder, final) if moved else spec))
        write_document(folder, job.absolute_document())
    except OSError as error:
        raise StorageFailed(str(error.filename or folder.root), error.strerror or str(error)) from error
    return outputs


def write_document(folder: JobFolder, document: dict[str, object]) -> None:
    """Keep the job as its user wrote it, for people to read."""
    folder.document.write_bytes(msgspec.json.format(msgspec.json.encode(document)))


def _copy_code(code: Path, into: Path) -> None:
    """Copy code that is shared: a script runs in the folder of its code, and may write there. As a whole, or not."""
    if into.is_dir():
        return
    draft = into.with_name(f".{into.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    for above, _, names in os.walk(code):
        folder = draft / os.path.relpath(above, code)
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copy2(os.path.join(above, name), folder / name)
    draft.rename(into)


def taken_targets(spec: CommandSpec | ParallelSpec) -> tuple[str, ...]:
    """The targets that exist although the job may not replace anything."""
    if isinstance(spec, CommandSpec):
        wanted = () if spec.overwrite else spec.outputs
        return tuple(output.target for output in wanted if is_taken(output.target, output.is_folder))
    output = spec.output
    if output is None or output.overwrite or not is_taken(output.target, output.is_folder):
        return ()
    return (output.target,)


def is_taken(target: str, is_folder: bool) -> bool:
    """Whether something would be replaced; an empty folder is nothing."""
    if not is_folder or not os.path.isdir(target):
        return os.path.lexists(target)
    with os.scandir(target) as entries:
        return next(entries, None) is not None


def _resolved(
    job: Job, *, name: str, root_name: str, places: Places, code: Path | None
) -> tuple[CommandSpec | ParallelSpec, tuple[OutputState, ...]]:
    if isinstance(job, ParallelJob):
        from runner.spec.resolve import resolve

        parallel = resolve(job, name=name, places=places, code=code)
        return parallel.spec, parallel.outputs
    from runner.spec.command_job import CommandJob
    from runner.spec.resolve_command import resolve_command

    assert isinstance(job, CommandJob)
    command = resolve_command(job, name=name, places=places, code=code, root_name=root_name)
    return command.spec, command.outputs


def _moved(spec: CommandSpec | ParallelSpec, draft: JobFolder, final: JobFolder) -> CommandSpec | ParallelSpec:
    """The spec as it will be true once the draft has its name."""
    if spec.code is None:
        return spec
    return dataclasses.replace(spec, code=str(final.root / Path(spec.code).relative_to(draft.root)))
