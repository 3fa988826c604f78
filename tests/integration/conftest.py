"""What tests of the whole path share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_kit import Bench


@pytest.fixture
def bench(tmp_path: Path, home: Path) -> Iterator[Bench]:
    """A folder to write a job in, outside the home."""
    made = Bench(tmp_path / "work", home)
    yield made
    made.close()
