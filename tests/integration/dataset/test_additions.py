"""What succeeds later is put at its place: the output is that of a run in which it had succeeded at once.

Items fail as whole mini-batches or in part, in any lease; they are mended in several rounds, the first from staging,
the others from what is published. After each round the output is compared with that of a run without disturbance in
which just those items are missing that are still open.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runner.dataset.layout import read_layout
from runner.dataset.parts import assemble
from runner.dataset.publish import prepare_staging, publish, remove_staging, withdraw
from runner.dataset.render import Renderer
from runner.dataset.splice import MARK, Additions, Base
from runner.dataset.spool import RECORD, write_segment
from runner.entity.lease import Part
from runner.entity.parallel import OutputSpec
from runner.errors import OutputChanged, TargetExists

KINDS = {
    "text": {"is_folder": False},
    "text folder": {"is_folder": True},
    "text with header": {"is_folder": False, "frame_header": True},
    "text packed": {"is_folder": False, "compression": "gzip"},
    "csv": {"is_folder": False, "format": "csv"},
    "csv folder": {"is_folder": True, "format": "csv", "part_size_bytes": 40},
    "jsonl folder": {"is_folder": True, "format": "jsonl", "part_size_bytes": 60},
    "jsonl packed": {"is_folder": True, "format": "jsonl", "part_size_bytes": 60, "compression": "gzip"},
    "parquet": {"is_folder": False, "format": "parquet"},
    "parquet folder": {"is_folder": True, "format": "parquet", "part_size_bytes": 1600},
    "ipc folder": {"is_folder": True, "format": "ipc", "part_size_bytes": 1600},
}
FRAMED = ("header", "csv", "parquet", "ipc")


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder in shared memory: what is tested makes every step durable, which no disk does for nothing."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as made:
        yield Path(made)


class _Taken(NamedTuple):
    records: npt.NDArray[np.void]
    outputs: list[Any]
    kept: list[tuple[Any, int, int]]


@dataclass
class Range:
    """Items that are open, with their place in what the output is made of now."""

    mini_batch: int
    first: int
    count: int
    row: int = 0
    byte: int = 0


@dataclass
class World:
    """One job with its output in a folder of its own."""

    folder: Path
    kind: str
    sizes: list[int]

    def __post_init__(self) -> None:
        self.folder.mkdir()
        target = str(self.folder / "scores")
        self.output = OutputSpec(name="scores", target=target, **KINDS[self.kind])  # type: ignore[arg-type]
        self.layout = self.folder / "layout"
        self.epoch = 0
        self.stage()

    def stage(self) -> None:
        self.staging = prepare_staging(self.output, "job")

    def result(self, mini_batch: int, items: list[int]) -> Any:
        """What `run` returns of these items: nothing for some, floats instead of integers for some mini-batches."""
        items = [item for item in items if (mini_batch * 3 + item) % 7]
        if not any(word in self.kind for word in FRAMED):
            return [f"{mini_batch}.{item} " + "x" * (mini_batch * item % 5) for item in items]
        number: Any = np.array(items, np.int64 if mini_batch % 5 else np.float64)
        return pd.DataFrame({"name": [f"{mini_batch}.{item}" for item in items], "item": number})

    def part(self, first: int, results: Mapping[int, Any], count: int, name: str) -> tuple[Part | None, Any]:
        renderer = Renderer(self.output)
        records = np.zeros(len(results), RECORD)
        outputs = []
        for record, (number, result) in zip(records, sorted(results.items()), strict=True):
            text, record["length"], record["row_count"] = renderer.finish(result, number, len(result))
            record["mini_batch"] = number
            outputs.append(text if renderer.mode == "text" else ("object", text, int(record["row_count"])))
        segment = self.folder / "segment"
        write_segment(segment, _Taken(records, outputs, []), renderer)
        numbers = np.isin(np.arange(first, first + count), list(results)).astype(int)
        return (made := assemble({1: segment}, first, numbers, self.output, self.staging / name)).part, made

    def size_of(self, mini_batch: int, items: list[int]) -> tuple[int, int]:
        """Rows and bytes that the output has of items."""
        part, made = self.part(mini_batch, {mini_batch: self.result(mini_batch, items)}, 1, "measured")
        return (part.row_count, int(made.byte_counts.sum())) if part else (0, 0)

    def begin(self, leases: list[tuple[int, int]], broken: Mapping[int, list[tuple[int, int]]]) -> list[Range]:
        """Make the parts of leases; what is open then."""
        self.parts: list[Part] = []
        self.firsts = [first for first, _ in leases]
        found = []
        for first, end in leases:
            results, rows, size = {}, 0, 0
            for number in range(first, end):
                bad = {item for start, count in broken.get(number, ()) for item in range(start, start + count)}
                for start, count in broken.get(number, ()):
                    before = [item for item in range(start) if item not in bad]
                    at = self.size_of(number, before)
                    found.append(Range(number, start, count, rows + at[0], size + at[1]))
                left = [item for item in range(self.sizes[number]) if item not in bad]
                if left:
                    results[number] = self.result(number, left)
                    at = self.size_of(number, left)
                    rows, size = rows + at[0], size + at[1]
            part, _ = self.part(first, results, end - first, f"lease-{first}")
            self.parts.append(part or Part(file="", size_bytes=0, sha256="", row_count=0))
        return found

    def publish(self, mended: list[Range], left: list[Range]) -> None:
        """Publish what is there with these ranges put in, of which each mini-batch makes a lease of its own."""
        self.epoch += 1
        sources: list[Part] = []
        rows: list[tuple[int, ...]] = []
        for number in sorted({one.mini_batch for one in mended}):
            mine = sorted((one for one in mended if one.mini_batch == number), key=lambda one: one.first)
            items = [item for one in mine for item in range(one.first, one.first + one.count)]
            name = f"mend-{number}.{self.epoch}"
            part, _ = self.part(number, {number: self.result(number, items)}, 1, name)
            row = byte = 0
            for one in mine:
                count, size = self.size_of(number, list(range(one.first, one.first + one.count)))
                if part is not None:
                    what = (number, one.first, one.count, len(sources))
                    rows.append((*what, count, size, row, byte, one.row, one.byte))
                row, byte = row + count, byte + size
            if part is not None:
                sources.append(part)
        rows += [(one.mini_batch, one.first, one.count, MARK, 0, 0, 0, 0, one.row, one.byte) for one in left]
        base = self.base()
        additions = Additions.of(sources, rows)
        publish(self.output, self.staging, base, "job", additions, layout=self.layout, epoch=self.epoch)
        remove_staging(self.staging)
        layout = read_layout(self.layout)
        if layout is not None:
            places = layout.places()
            for one in left:
                one.row, one.byte = places.get((one.mini_batch, one.first), (one.row, one.byte))

    def base(self) -> Base:
        layout = read_layout(self.layout)
        if layout is None:
            return Base(self.parts, np.array(self.firsts, np.int64))
        target = Path(self.output.target)
        folder = target if self.output.is_folder else target.parent
        firsts = np.array([file.first_mini_batch for file in layout.files], np.int64)
        return Base([file.as_part(folder) for file in layout.files], firsts, layout, self.layout)

    def content(self) -> object:
        """What a reader of the output sees: the bytes of lines, the rows of tables."""
        target = Path(self.output.target)
        files = sorted(target.iterdir()) if target.is_dir() else [target]
        data = {file.name: file for file in files if file.name != "_manifest.json"}
        if self.output.is_folder and self.output.format != "text":
            listed = json.loads((target / "_manifest.json").read_bytes())["parts"]
            assert [part["file"] for part in listed] == list(data)
            assert [part["bytes"] for part in listed] == [file.stat().st_size for file in data.values()]
        if self.output.format == "parquet":
            return pa.concat_tables([pq.read_table(file) for file in data.values()]).to_pydict()
        if self.output.format == "ipc":
            return pa.concat_tables([pa.ipc.open_file(file).read_all() for file in data.values()]).to_pydict()
        if self.output.compression == "gzip":
            return {name: pa.input_stream(str(file), compression="gzip").read() for name, file in data.items()}
        return {name: file.read_bytes() for name, file in data.items()}


def _undisturbed(folder: Path, kind: str, sizes: list[int], left: list[Range]) -> object:
    world = World(folder, kind, sizes)
    missing: dict[int, list[tuple[int, int]]] = {}
    for one in left:
        missing.setdefault(one.mini_batch, []).append((one.first, one.count))
    world.begin([(0, len(sizes))], missing)
    world.publish([], [])
    seen = world.content()
    shutil.rmtree(folder)
    return seen


def _broken(rng: random.Random, sizes: list[int]) -> dict[int, list[tuple[int, int]]]:
    """Some mini-batches fail as a whole, some item by item."""
    broken: dict[int, list[tuple[int, int]]] = {}
    for number, size in enumerate(sizes[:-1]):
        kind = rng.random()
        if kind < 0.25:
            broken[number] = [(0, size)]
        elif kind < 0.55:
            items = sorted(rng.sample(range(size), rng.randint(1, size)))
            broken[number] = [(item, 1) for item in items]
    return broken


def _round(rng: random.Random, left: list[Range], *, is_last: bool) -> tuple[list[Range], list[Range]]:
    """What of the open ranges is mended now, and what is open then: of a long one perhaps only a part is mended."""
    mended, still = [], []
    for one in left:
        if is_last or rng.random() < 0.4:
            mended.append(one)
        elif one.count > 2 and rng.random() < 0.5:
            cut = rng.randint(1, one.count - 1)
            mended.append(Range(one.mini_batch, one.first, cut, one.row, one.byte))
            still.append(Range(one.mini_batch, one.first + cut, one.count - cut, one.row, one.byte))
        else:
            still.append(one)
    return mended, still


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_what_is_mended_stands_where_it_would_have_stood(place: Path, kind: str, seed: int) -> None:
    rng = random.Random(f"{kind} {seed}")
    sizes = [rng.randint(1, 5) for _ in range(14)]
    borders = sorted({0, len(sizes), *rng.sample(range(1, len(sizes)), 4)})
    world = World(place / "world", kind, sizes)
    left = world.begin(list(pairwise(borders)), _broken(rng, sizes))
    for number in range(4):
        mended, left = _round(rng, left, is_last=number == 3)
        world.publish(mended, left)
        assert world.content() == _undisturbed(place / "other", kind, sizes, left), f"round {number}"
        world.stage()


def _half_open(place: Path, kind: str) -> tuple[World, list[Range]]:
    """A published output of several files with open mini-batches in the last."""
    world = World(place / "world", kind, [4] * 12)
    left = world.begin([(n, n + 3) for n in range(0, 12, 3)], {10: [(0, 4)], 11: [(1, 1)]})
    world.publish([], left)
    world.stage()
    return world, left


@pytest.mark.parametrize("kind", ["jsonl folder", "parquet folder", "ipc folder"])
def test_only_files_that_change_are_made_anew(place: Path, kind: str) -> None:
    world, left = _half_open(place, kind)
    target = Path(world.output.target)
    before = {file.name: file.stat().st_ino for file in target.iterdir()}
    world.publish(left, [])
    after = {file.name: file.stat().st_ino for file in target.iterdir()}
    first = min(after)
    assert len(before) > 2 and after["_manifest.json"] != before["_manifest.json"]
    assert {name for name in before if after[name] == before[name]} >= {
        name for name in before if name < max(set(before) - {"_manifest.json"}) and name != "_manifest.json"
    } or after[first] == before[first]


@pytest.mark.parametrize("kind", KINDS)
def test_a_published_file_that_was_changed_or_removed_is_refused_by_name(place: Path, kind: str) -> None:
    world, left = _half_open(place, kind)
    target = Path(world.output.target)
    file = max(file for file in target.iterdir() if file.name[0] != "_") if target.is_dir() else target
    data = file.read_bytes()
    about = file.stat()
    changed = bytearray(data)
    changed[-1] ^= 1
    file.write_bytes(changed)
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
    with pytest.raises(OutputChanged, match=rf"{file.name} was changed since it was published"):
        world.publish(left, [])
    file.write_bytes(data + b"\n")
    with pytest.raises(OutputChanged, match=rf"{file.name} has \d+ bytes instead of {len(data)}"):
        world.publish(left, [])
    file.unlink()
    with pytest.raises(OutputChanged, match=rf"{file.name} was removed"):
        world.publish(left, [])
    file.write_bytes(data)  # restored from a backup: another time and inode, the same content
    world.publish(left, [])
    assert world.content() == _undisturbed(place / "other", kind, world.sizes, [])


def test_a_publication_that_was_only_prepared_is_forgotten_when_more_is_to_come(place: Path) -> None:
    world = World(place / "world", "parquet folder", [4] * 6)
    left = world.begin([(0, 3), (3, 6)], {4: [(0, 4)]})
    taken = Path(world.output.target) / "part-00000.parquet"
    taken.write_text("somebody's")
    with pytest.raises(TargetExists):
        world.publish([], left)
    taken.unlink()
    assert withdraw(world.staging, world.output, None)
    world.publish(left, [])
    assert world.content() == _undisturbed(place / "other", "parquet folder", world.sizes, [])
