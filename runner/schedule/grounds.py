"""The folders that a job makes outside its own: staging, the target's, and those of side outputs.

A job that ends without having committed anything takes back what it made, so that one that was refused leaves nothing.
"""

from __future__ import annotations

import logging
from pathlib import Path

from runner.dataset.failures import claim_failures
from runner.dataset.staging import prepare_staging, remove_staging, staging_of
from runner.entity.parallel import ParallelSpec
from runner.errors import RunnerError, StorageFailed
from runner.store.home import JobFolder

log = logging.getLogger(__name__)


class Grounds:
    """Made before work starts; what was there before is never removed."""

    def __init__(self, spec: ParallelSpec, folder: JobFolder) -> None:
        self._spec, self._folder = spec, folder
        self._made: list[Path] = []
        """Folders that were not there, each before those below it."""

    def prepare(self, *, is_new: bool) -> Path | None:
        """Make the folders; returns that of staging, None when nothing is staged. Harmless to repeat.

        Raises:
            StorageFailed: that is not allowed, or the disk is full.
            TargetExists: what no job has written stands where the failures would.
        """
        for folder in self._spec.side_outputs.values():
            self._make(Path(folder))
        output = self._spec.output
        if output is None:
            return None
        target = Path(output.target)
        self._make(target if output.is_folder else target.parent)
        if is_new:
            # What lies there is of another home's job of this name, or of one whose folder was removed by hand.
            self.remove_staging()
            claim_failures(output, self._folder.root)
        return prepare_staging(output, self._spec.name)

    def remove_staging(self) -> None:
        """Forget what is staged; for when the job is recorded as completed."""
        if self._spec.output is not None:
            remove_staging(staging_of(self._spec.output, self._spec.name))

    def take_back(self) -> None:
        """Remove staging, and the folders that were made and hold nothing. Never raises."""
        try:
            if self._made or self._spec.output is not None:
                self.remove_staging()
        except RunnerError as error:
            log.warning("staging is left: %s", error)
        for folder in reversed(self._made):
            try:
                folder.rmdir()
            except OSError:
                pass  # the script has written something there, or somebody else has

    def _make(self, folder: Path) -> None:
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageFailed(str(folder), f"the folder of an output cannot be made: {error.strerror}") from error
        self._made += reversed(missing)
