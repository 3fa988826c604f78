"""What `run` gets of an input of files: a list of paths that knows the number of its mini-batch."""

from __future__ import annotations

from collections.abc import Iterable


class FileBatch(list[str]):
    """A list of local paths; `task_id` is the mini-batch number. It pickles, prints and may be returned like a list."""

    task_id: int

    def __init__(self, paths: Iterable[str] = (), task_id: int = -1) -> None:
        super().__init__(paths)
        self.task_id = task_id
