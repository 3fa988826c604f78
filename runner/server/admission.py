"""What is checked and made before a job exists: a document becomes a folder and a row, or an error and nothing."""

from __future__ import annotations

import dataclasses
import getpass
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from runner.entity.job import JobState
from runner.entity.parallel import ParallelSpec
from runner.entity.status import JobStatus
from runner.errors import ArgumentInvalid, SpecInvalid, StorageFailed, TargetExists
from runner.server.names import new_name
from runner.spec.jobs import ParallelJob
from runner.spec.load import job_of_document
from runner.spec.places import Places
from runner.spec.resolve import resolve, snapshot_code
from runner.spec.validate import validate
from runner.store.home import Home, JobFolder, check_name


def choose_name(wanted: str | None, document: Mapping[str, object]) -> str:
    """The name asked for, else that of the document, else a new one. `--` is kept for the steps of pipelines."""
    name = wanted if wanted is not None else document.get("name")
    if name is None:
        return new_name()
    if not isinstance(name, str):
        raise ArgumentInvalid("name", f"is {name!r}; write text")
    if "--" in name:
        raise ArgumentInvalid("name", f"{name!r} holds '--', which only names of steps do; write another name")
    return check_name(name)


@contextmanager
def drafted(home: Home, name: str) -> Iterator[JobFolder]:
    """A hidden folder to make a job in; whatever is still there at the end is removed."""
    folder = JobFolder(home.jobs / f".{name}.{secrets.token_hex(4)}.new")
    try:
        folder.root.mkdir(mode=0o700)
        yield folder
    except OSError as error:
        raise StorageFailed(str(folder.root), error.strerror or str(error)) from error
    finally:
        remove_tree(folder.root)


def admit(
    home: Home, document: Mapping[str, object], *, base: Path, name: str, overwrite: bool, draft: JobFolder, now: float
) -> JobState:
    """Check a document, and write what its driver needs into the draft folder.

    Raises:
        SpecInvalid: everything that is wrong with the job.
        TargetExists: all is well but for a target that would be replaced.
    """
    wanted = {**document, "name": name}
    if overwrite:
        wanted["runner"] = {**_mapping(document.get("runner")), "overwrite": True}
    places = Places.read(home.root, os.environ)
    job = job_of_document(wanted, base)
    _check(job, places)
    code = snapshot_code(job, draft.code, places)
    resolved = resolve(job, name=name, places=places, code=code)
    spec = _moved(resolved.spec, draft, home.job(name))
    if spec.output is not None and not spec.output.overwrite and is_taken(spec.output.target, spec.output.is_folder):
        raise TargetExists(spec.output.target)
    stored = job.absolute_document()
    draft.logs.mkdir()
    draft.lock.touch(mode=0o600)
    draft.spec.write_bytes(msgspec.json.encode(spec))
    draft.document.write_bytes(msgspec.json.format(msgspec.json.encode(stored)))
    return JobState(
        name=name,
        type=job.type,
        status=JobStatus.NOT_STARTED,
        display_name=job.display_name or name,
        description=job.description or "",
        experiment_name=job.experiment_name or os.path.basename(os.getcwd()).replace(" ", "") or "Default",
        tags=_texts(job.tags),
        properties=_texts(job.properties),
        document=stored,
        create_time=now,
        created_by=_user(),
        outputs=resolved.outputs,
    )


def is_taken(target: str, is_folder: bool) -> bool:
    """Whether something would be replaced; an empty folder is nothing."""
    if not is_folder or not os.path.isdir(target):
        return os.path.lexists(target)
    with os.scandir(target) as entries:
        return next(entries, None) is not None


def staging_of(spec: ParallelSpec) -> Path | None:
    """The hidden sibling of the target in which the job's parts wait for publication."""
    if spec.output is None:
        return None
    target = Path(spec.output.target)
    return target.with_name(f".{target.name}.{spec.name}.staging")


def remove_tree(folder: Path) -> None:
    """Remove a folder whose files may be read-only; harmless when it is not there."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.is_dir():  # a read-only folder keeps its entries: open it, and try once more
        for root, folders, _ in os.walk(folder):
            for name in folders:
                os.chmod(os.path.join(root, name), 0o700, follow_symlinks=True)
        shutil.rmtree(folder, ignore_errors=True)


def _check(job: ParallelJob, places: Places) -> None:
    """Everything at once; a target that exists is an error of its own when it is all that is wrong."""
    problems = validate(job, places=places).problems
    if not problems:
        return
    willing = job_of_document({**job.absolute_document(), "runner": {**job.runner, "overwrite": True}}, job.base_path)
    if validate(willing, places=places).problems or job.runner.get("overwrite"):
        raise SpecInvalid(problems)
    resolved = resolve(job, name=str(job.name), places=places, code=None)
    raise TargetExists(resolved.spec.output.target if resolved.spec.output else problems[0].path)


def _moved(spec: ParallelSpec, draft: JobFolder, final: JobFolder) -> ParallelSpec:
    """The spec as it will be true once the draft has its name."""
    if spec.code is None:
        return spec
    return dataclasses.replace(spec, code=str(final.root / Path(spec.code).relative_to(draft.root)))


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in values.items() if value is not None}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        return str(os.getuid())
