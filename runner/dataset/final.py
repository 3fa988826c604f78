"""What publication is about to put at the target: files in staging, and what a layout says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from runner.dataset.layout import LaidFile, Mark
from runner.entity.parallel import OutputSpec


class Final(NamedTuple):
    """A file in staging and the name it gets at the target."""

    source: str
    name: str
    rows: int
    size_bytes: int
    sha256: str
    replaces: bool = False
    """Whether it takes the place of a file that this job has published before."""


@dataclass(frozen=True, slots=True)
class Made:
    """What was made of base parts and additions."""

    files: list[Final]
    """Those that are to be moved."""
    laid: list[LaidFile]
    """All files of the output in order; empty where no layout is wanted."""
    marks: list[Mark]


def part_name(number: int, output: OutputSpec) -> str:
    """`part-00000.parquet` and so on, in the order of names as of rows up to a hundred thousand files."""
    extension = {"parquet": "parquet", "ipc": "arrow", "csv": "csv", "jsonl": "jsonl"}[output.format]
    packed = {"gzip": ".gz", "zstd": ".zst"}.get(output.compression, "") if output.format in ("csv", "jsonl") else ""
    return f"part-{number:05d}.{extension}{packed}"
