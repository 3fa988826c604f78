"""What `azureml:` names lead to when a job is submitted: versions are chosen once, and stay."""

from __future__ import annotations

import re
from typing import Any

from runner.errors import AssetNotFound
from runner.schedule import catalog

_NAMED = re.compile(r"azureml:(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:@latest)?")


class StoreCatalog(catalog.StoreCatalog):
    """The catalog that a submission is checked with, which also pins what it finds. Threads may share it."""

    def pinned(self, document: Any) -> Any:
        """A document in which every asset without a version, or `@latest`, is written with the version it is now.

        A name that leads nowhere stays as it is: the check of the job tells it, with its place.
        """
        return self._pinned(document, "")

    def _pinned(self, value: Any, key: str) -> Any:
        if isinstance(value, dict):
            return {inner: self._pinned(one, inner) for inner, one in value.items()}
        if key not in ("path", "component") or not isinstance(value, str):
            return value
        match = _NAMED.fullmatch(value)
        if match is None:
            return value
        try:
            return self.asset("component" if key == "component" else "data", match["name"]).reference
        except AssetNotFound:
            return value
