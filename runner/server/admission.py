"""What is checked and made before a job exists: a document becomes a folder and rows, or an error and nothing."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runner.entity.job import JobState, OutputState
from runner.entity.status import JobStatus
from runner.errors import ArgumentInvalid, StorageFailed
from runner.server.catalog import StoreCatalog
from runner.server.names import new_name
from runner.spec.jobs import Job
from runner.spec.load import job_of_document
from runner.spec.places import Places
from runner.store.home import Home, JobFolder, check_name
from runner.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A job that may be created, its folder drafted; of a pipeline also the jobs of its steps."""

    job: JobState
    steps: tuple[JobState, ...] = ()


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


def read_job(document: Mapping[str, object], *, base: Path, name: str, overwrite: bool, catalog: StoreCatalog) -> Job:
    """The job that a document means now: with its final name, and the versions of what it names."""
    wanted = {**document, "name": name}
    if overwrite:
        given = document.get("runner")
        wanted["runner"] = {**(given if isinstance(given, Mapping) else {}), "overwrite": True}
    job = job_of_document(catalog.pinned(wanted), base)
    # Set here, so that the job's own process and its steps are told the same as its row.
    job.experiment_name = job.experiment_name or os.path.basename(os.getcwd()).replace(" ", "") or "Default"
    return job


def admit(store: Store, job: Job, draft: JobFolder, catalog: StoreCatalog) -> Admitted:
    """Check a job, and write what its driver needs into the draft folder.

    Raises:
        SpecInvalid: everything that is wrong with the job.
        TargetExists: all is well but for a target that would be replaced.
    """
    places = replace(Places.read(store.home.root, os.environ), catalog=catalog)
    if job.type == "pipeline":
        from runner.server.pipelines import admit_pipeline  # loaded by those alone who submit one

        return admit_pipeline(store, job, draft, places)
    from runner.server.singles import admit_single

    return Admitted(job=admit_single(store, job, draft, places))


def state_of(job: Job, name: str, now: float, outputs: tuple[OutputState, ...]) -> JobState:
    """The row of a new job."""
    return JobState(
        name=name,
        type=job.type,
        status=JobStatus.NOT_STARTED,
        display_name=job.display_name or name,
        description=job.description or "",
        experiment_name=job.experiment_name or "Default",
        tags=texts(job.tags),
        properties=texts(job.properties),
        document=job.absolute_document(),
        create_time=now,
        created_by=user(),
        outputs=outputs,
    )


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Tags or properties as they are stored; those without a value are none."""
    return {str(key): str(value) for key, value in values.items() if value is not None}


def user() -> str:
    """Who submits."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        return str(os.getuid())


def remove_tree(folder: Path) -> None:
    """Remove a folder whose files may be read-only; harmless when it is not there."""
    if not os.path.lexists(folder):
        return
    shutil.rmtree(folder, ignore_errors=True)
    if folder.is_dir():  # a read-only folder keeps its entries: open it, and try once more
        for root, folders, _ in os.walk(folder):
            for name in folders:
                os.chmod(os.path.join(root, name), 0o700, follow_symlinks=True)
        shutil.rmtree(folder, ignore_errors=True)
