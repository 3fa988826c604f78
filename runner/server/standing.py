"""What may change of a job that exists: the words about it, and nothing that it does."""

from __future__ import annotations

from typing import Any

from runner.errors import JobNotFound
from runner.server.admission import texts
from runner.spec.jobs import Job
from runner.store.store import Store

WORDS = ("display_name", "description", "tags", "properties")


def changed_only_in_words(store: Store, name: str, job: Job) -> dict[str, Any] | None:
    """The new words for the job of that name, when it exists and is to do the same; else None, also without news."""
    try:
        known = store.get(name)
    except JobNotFound:
        return None
    if _deeds(known.document) != _deeds(job.absolute_document()):
        return None
    said: dict[str, Any] = {"display_name": job.display_name, "description": job.description}
    changes = {key: value for key, value in said.items() if value is not None and value != getattr(known, key)}
    for key in ("tags", "properties"):
        before, now = getattr(known, key), texts(getattr(job, key))
        if any(before.get(one) != value for one, value in now.items()):
            changes[key] = now
    return changes or None


def _deeds(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in (*WORDS, "experiment_name")}
