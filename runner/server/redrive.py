"""A redrive: a new run of a completed job that tries only what it has set aside, perhaps with corrected code.

Order of events, all under the job's lock: the code gets its place in the job's folder, `redrive.json` tells the next
driver what to do, then the store begins the run. A crash in between leaves a completed job. The driver removes the file
when the redrive has ended well; until then the redrive is gone on with, by whoever begins the next run.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from runner.entity.job import JobState
from runner.entity.parallel import ParallelSpec
from runner.entity.status import JobStatus
from runner.errors import ArgumentInvalid, SpecInvalid, StorageFailed
from runner.server.admission import remove_tree
from runner.server.resume import held, refusal
from runner.server.specs import read_pipeline, read_spec
from runner.spec.script import ScriptMissing, check_script, find_script
from runner.spec.snapshot import take_snapshot
from runner.store.home import JobFolder
from runner.store.store import Store

_VERB = "redriven"


@contextmanager
def redrivable(store: Store, job: JobState, code: str) -> Iterator[str]:
    """Hold the lock of a job whose open failures may be tried again, everything written that its driver needs.

    Gives what to say about it. JobStatusConflict when it may not; ArgumentInvalid, SpecInvalid for the code.
    """
    from runner.schedule.failures import count_open  # numpy, for which no other call should wait
    from runner.schedule.opening import Redrive

    folder = store.home.job(job.name)

    def check(job: JobState) -> None:
        _check(store, job, folder)

    check(job)
    with _drafted(folder, code, store.home.root) as draft, held(store, job, _VERB, check) as (job, message):
        if job.status is JobStatus.COMPLETED and not count_open(folder):
            history = f"`runner failures {job.name} --all` shows the history"
            raise refusal(job, _VERB, f"nothing that it has set aside is open; {history}")
        number = job.run_number + 1
        redrive = Redrive.read(folder)
        # One that has lost its driver is gone on with as it is, else what failed in it would be tried again.
        if redrive is None or draft is not None or job.status.is_terminal:
            try:
                if draft is not None:
                    draft.rename(folder.code_of(number))
                redrive = Redrive(folder.code_of(number).name if draft is not None else _code_in_use(folder), number)
                _write(folder, msgspec.json.encode(redrive))
            except OSError as error:
                raise StorageFailed(str(error.filename or folder.root), error.strerror or str(error)) from error
        said = f"a redrive with {f'the code in {redrive.code}' if redrive.code else 'the code of the submission'}"
        yield "; ".join(one for one in (said, message, _stale(store, job)) if one)


def _check(store: Store, job: JobState, folder: JobFolder) -> None:
    if job.type != "parallel":
        raise refusal(job, _VERB, f"it is a {job.type} job, and only parallel jobs set anything aside")
    if job.parent and not (above := store.get(job.parent)).status.is_terminal:
        raise refusal(job, _VERB, f"its pipeline {above.name} is {above.status}; wait for its end")
    if job.reused_from:
        raise refusal(job, _VERB, f"its results are those of {job.reused_from}, of which nothing is open")
    if job.status is JobStatus.COMPLETED or folder.redrive.is_file():
        output = read_spec(folder).output
        if output is not None and output.partition_by:
            raise refusal(job, _VERB, "nothing can be put into an output that partition_by divides; submit it anew")
        return
    if job.status in (JobStatus.FAILED, JobStatus.CANCELED):
        whole = job.parent or job.name
        raise refusal(job, _VERB, f"`runner resume {whole}` tries what it has set aside again, and the rest")
    raise refusal(job, _VERB, f"it has not ended; `runner watch {job.name}` follows it to its end")


def _stale(store: Store, job: JobState) -> str:
    """What was made from the outputs of a step, and is not made anew: to be said, not to be mended."""
    if not job.parent:
        return ""
    found = set(store.reuse.users(job.name))
    spec, reached = read_pipeline(store.home.job(job.parent)), {job.step}
    jobs = {step.step: step for step in store.steps(job.parent)}
    for _ in spec.steps:  # each round reaches one step further
        reached |= {step.key for step in spec.steps if reached & {source.step for source in step.sources}}
    found |= {jobs[key].name for key in reached - {job.step} if jobs[key].status is JobStatus.COMPLETED}
    return f"stale from now on, as made from what it had before: {', '.join(sorted(found))}" if found else ""


def _code_in_use(folder: JobFolder) -> str | None:
    """The code of the last redrive that brought any."""
    numbers = [int(path.suffix[1:]) for path in folder.root.glob("code.*") if path.suffix[1:].isdecimal()]
    return folder.code_of(max(numbers)).name if numbers else None


@contextmanager
def _drafted(folder: JobFolder, code: str, home: Path) -> Iterator[Path | None]:
    """A checked copy of the code beside its place; whatever is still there at the end is removed."""
    if not code:
        yield None
        return
    spec = read_spec(folder)
    draft = folder.root / f".code.{secrets.token_hex(4)}.new"
    try:
        _copy(spec, Path(code), draft, home)
        yield draft
    finally:
        remove_tree(draft)


def _copy(spec: ParallelSpec, code: Path, into: Path, home: Path) -> None:
    if not code.is_absolute():
        raise ArgumentInvalid("code", f"{code} is no absolute path; write one")
    if not code.exists():
        raise ArgumentInvalid("code", f"{code} is not there; give the folder that holds {spec.entry_script}")
    try:
        take_snapshot(code, spec.entry_script, code, into, home)
        script = find_script(into, spec.entry_script, into)
    except ScriptMissing as error:
        what = str(error).replace(str(into), str(code))
        raise ArgumentInvalid("code", f"{what}; give a folder with {spec.entry_script} in it") from None
    if script.file is not None:
        problem = check_script(script.file, str(code / script.file.relative_to(into)))
        if problem is not None:
            raise SpecInvalid((problem,))


def _write(folder: JobFolder, text: bytes) -> None:
    """Durably, and whole or not at all."""
    draft = folder.redrive.with_suffix(".new")
    with open(draft, "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder.redrive)
    descriptor = os.open(folder.root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
