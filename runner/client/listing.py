"""Lists of jobs as users ask for them: all pages, and the words for whether what is archived belongs to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runner.client.backend import Backend
from runner.entity.job import JobState
from runner.entity.status import JobStatus

VIEWS: dict[str, bool | None] = {"ACTIVE_ONLY": False, "ARCHIVED_ONLY": True, "ALL": None}
"""What a view may be, to whether what is listed is archived; None: either."""


def view_of(said: object) -> str:
    """The view that a text or an enum says, which is one of VIEWS or unknown; `ActiveOnly` is `ACTIVE_ONLY`."""
    view = str(getattr(said, "value", said))
    return view if view.isupper() else "".join(f"_{c}" if c.isupper() else c.upper() for c in view).lstrip("_")


def states(
    backend: Backend,
    statuses: Sequence[JobStatus] = (),
    *,
    parent: str = "",
    archived: bool | None = False,
    experiment: str = "",
) -> Iterator[JobState]:
    """All jobs that fit, newest first, page by page."""
    token = ""
    while True:
        page = backend.list(
            page_token=token, statuses=statuses, parent=parent, archived=archived, experiment=experiment
        )
        yield from page.jobs
        token = page.next_page_token
        if not token:
            return
