"""Rows to groups by key: scattered by the high bits of a hash into spill files, then grouped bucket by bucket.

Buckets are ranges of the hash, so how many there are never shows: groups are numbered by their hash, those of equal
hash by their first row, and rows keep the order of the input. A bucket that is larger than the budget is scattered
again by further bits; one that holds a single hash is in order as it is, and is only copied. Nothing here is named by
the journal: until the plan is stored it can be made anew, and afterwards the files of groups are its input.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from runner.dataset.key_hash import differs_from_next, hashes_of
from runner.dataset.storage import telling

HASH = "\0hash"
"""The column of hashes in spill files; no input has a name with a zero byte."""
SPILL_BYTES = 4 << 20
"""Rows of a bucket are gathered to about this much before they are written."""
BATCH_ROWS = 65_536
MOST_BITS = 8
HASH_BITS = 64


@dataclass(frozen=True, slots=True)
class GroupFile:
    """Grouped rows of one range of hashes, in an Arrow IPC file."""

    path: str
    row_count: int
    byte_count: int


@dataclass(frozen=True, slots=True)
class Groups:
    """All groups in the order of their numbers."""

    files: tuple[GroupFile, ...]
    counts: npt.NDArray[np.int64]
    """Rows of each group."""
    keys: pa.Table
    """One row of key values for each group."""


class Exchange:
    """Groups the rows of a table by `keys`, with at most about `budget_bytes` of them in memory at a time."""

    def __init__(self, schema: pa.Schema, keys: Sequence[str], folder: Path, budget_bytes: int) -> None:
        self._schema, self._keys, self._folder = schema, tuple(keys), folder
        self._budget_bytes = max(budget_bytes, 1)
        self._files: list[GroupFile] = []
        self._counts: list[npt.NDArray[np.int64]] = []
        self._key_tables: list[pa.Table] = []

    def run(self, batches: Iterable[pa.RecordBatch], byte_count: int) -> Groups:
        """Group all rows, of which there are about `byte_count` bytes.

        Raises:
            StorageFailed: the disk said no.
        """
        with telling(self._folder, "rows cannot be grouped by key"):
            if self._folder.exists():
                shutil.rmtree(self._folder)
            self._folder.mkdir(parents=True)
            self._split(self._hashed(batches), byte_count, 0)
        keys = pa.schema([self._schema.field(name) for name in self._keys])
        return Groups(
            tuple(self._files),
            np.concatenate(self._counts) if self._counts else np.empty(0, np.int64),
            pa.concat_tables(self._key_tables) if self._key_tables else keys.empty_table(),
        )

    def _hashed(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if batch.num_rows:
                hashes = hashes_of([batch.column(name) for name in self._keys])
                yield batch.append_column(HASH, pa.array(hashes))

    def _split(self, batches: Iterator[pa.RecordBatch], byte_count: int, used_bits: int) -> None:
        """Group what fits the budget; scatter what does not by the next bits of the hash."""
        bits = min(max(byte_count // self._budget_bytes, 0).bit_length(), MOST_BITS, HASH_BITS - used_bits)
        if not bits:
            self._group(list(batches))
            return
        for spill in self._scatter(batches, bits, used_bits):
            self._bucket(spill, used_bits + bits)

    def _scatter(self, batches: Iterator[pa.RecordBatch], bits: int, used_bits: int) -> list[_Spill]:
        shift = np.uint64(HASH_BITS - used_bits - bits)
        mask = np.uint64((1 << bits) - 1)
        spills = [_Spill(self._folder / f"spill-{used_bits}-{number:03d}") for number in range(1 << bits)]
        for batch in batches:
            bucket = ((batch.column(HASH).to_numpy() >> shift) & mask).astype(np.uint8)
            order = np.argsort(bucket, kind="stable")
            rows = batch.take(pa.array(order))
            ends = np.searchsorted(bucket[order], np.arange(1 << bits), side="right")
            start = 0
            for number, end in enumerate(ends.tolist()):
                if end > start:
                    spills[number].add(rows.slice(start, end - start))
                start = end
        for spill in spills:
            spill.finish()
        return spills

    def _bucket(self, spill: _Spill, used_bits: int) -> None:
        if not spill.row_count:
            return
        if spill.byte_count <= self._budget_bytes or used_bits >= HASH_BITS:
            self._group(list(spill.read()))
        elif spill.lowest == spill.highest:
            self._copy(spill)
        else:
            self._split(spill.read(), spill.byte_count, used_bits)
        spill.remove()

    def _group(self, batches: list[pa.RecordBatch]) -> None:
        """Sort the rows of one bucket by hash, in the order of the input within each."""
        if not batches:
            return
        table = pa.Table.from_batches(batches).combine_chunks()
        hashes = table.column(HASH).to_numpy()
        order = np.argsort(hashes, kind="stable")
        table = table.take(pa.array(order))
        hashes = hashes[order]
        columns = [_whole(table.column(name)) for name in self._keys]
        same_hash = hashes[1:] == hashes[:-1]
        differs = differs_from_next(columns)
        if (differs & same_hash).any():
            table = table.take(pa.array(_apart(columns, same_hash)))
            columns = [_whole(table.column(name)) for name in self._keys]
            differs = differs_from_next(columns)
        starts = np.concatenate([[0], np.flatnonzero(differs | ~same_hash) + 1])
        self._key_tables.append(table.select(self._keys).take(pa.array(starts)))
        self._counts.append(np.diff(np.append(starts, table.num_rows)).astype(np.int64))
        self._write(table.drop_columns(HASH).to_batches(BATCH_ROWS))

    def _copy(self, spill: _Spill) -> None:
        """One hash, and so but for collisions one group, larger than the budget: its rows stand in order already."""
        first: pa.RecordBatch | None = None
        count = 0

        def rows() -> Iterator[pa.RecordBatch]:
            nonlocal first, count
            for batch in spill.read():
                first = batch if first is None else first
                joined = [_joined(first.column(name), batch.column(name)) for name in self._keys]
                if differs_from_next(joined).any():
                    raise ValueError("two keys of more rows than fit the memory budget have one hash; raise `memory`")
                count += batch.num_rows
                yield batch.drop_columns([HASH])

        self._write(rows())
        assert first is not None
        self._key_tables.append(pa.Table.from_batches([first.slice(0, 1)]).select(self._keys))
        self._counts.append(np.array([count], np.int64))

    def _write(self, batches: Iterable[pa.RecordBatch]) -> None:
        path = self._folder / f"groups-{len(self._files):05d}.arrow"
        rows = 0
        with pa.OSFile(os.fsencode(path), "wb") as sink, pa.ipc.new_file(sink, self._schema) as writer:
            for batch in batches:
                rows += batch.num_rows
                for start in range(0, batch.num_rows, BATCH_ROWS):
                    writer.write_batch(batch.slice(start, BATCH_ROWS))
        self._files.append(GroupFile(str(path), rows, path.stat().st_size))


class _Spill:
    """The rows of one bucket on their way: gathered, then appended to a stream of batches."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = 0
        self._sink: pa.NativeFile | None = None
        self._writer: pa.RecordBatchStreamWriter | None = None
        self.row_count = 0
        self.byte_count = 0
        self.lowest, self.highest = 2**64, -1

    def add(self, batch: pa.RecordBatch) -> None:
        """Append rows."""
        hashes = batch.column(HASH).to_numpy()
        self.lowest, self.highest = min(self.lowest, int(hashes.min())), max(self.highest, int(hashes.max()))
        size = batch.nbytes
        self.row_count += batch.num_rows
        self.byte_count += size
        self._waiting.append(batch)
        self._waiting_bytes += size
        if self._waiting_bytes >= SPILL_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            whole = pa.concat_batches(self._waiting)
            if self._writer is None:
                self._sink = pa.OSFile(os.fsencode(self._path), "wb")
                self._writer = pa.ipc.new_stream(self._sink, whole.schema)
            self._writer.write_batch(whole)
            self._waiting, self._waiting_bytes = [], 0

    def finish(self) -> None:
        """Nothing more comes."""
        self._flush()
        if self._writer is not None and self._sink is not None:
            self._writer.close()
            self._sink.close()

    def read(self) -> Iterator[pa.RecordBatch]:
        """The rows in the order in which they came."""
        with pa.OSFile(os.fsencode(self._path), "rb") as source, pa.ipc.open_stream(source) as reader:
            yield from reader

    def remove(self) -> None:
        """Give the space back."""
        self._path.unlink(missing_ok=True)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _joined(first: pa.Array, others: pa.Array) -> pa.Array:
    return pa.concat_arrays([first.slice(0, 1), others])


def _apart(columns: Sequence[pa.Array], same_hash: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """An order that keeps rows of one hash together but those of each key apart, by the first row of each key."""
    run = np.concatenate([[0], np.cumsum(~same_hash)])
    keys = list(zip(run.tolist(), *(column.to_pylist() for column in columns), strict=True))
    numbers: dict[tuple[object, ...], int] = {}
    ranks = [numbers.setdefault(tuple(map(repr, key)), len(numbers)) for key in keys]
    return np.lexsort((np.arange(len(ranks)), ranks, run)).astype(np.int64)
