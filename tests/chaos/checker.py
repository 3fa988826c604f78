"""Proves from files alone that each item is in the output exactly once, or in the failures exactly once.

It imports nothing of what it judges. It reads the inputs, the output, the failures, and the side files in which the
entry script noted each of its calls. Items have an `id`, whose score anybody can compute: `score_of`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq


class Broken(AssertionError):
    """Something is lost, doubled, or wrong."""


@dataclass(frozen=True)
class Verdict:
    """What was counted on the way."""

    item_count: int
    output_count: int
    failed_count: int
    call_count: int
    repeated_call_count: int

    def __str__(self) -> str:
        return (
            f"{self.item_count} items: {self.output_count} in the output, {self.failed_count} in the failures; "
            f"{self.call_count} calls, {self.repeated_call_count} of them again"
        )


def score_of(item: int) -> int:
    """What the entry script returns for an item."""
    return item * item % 9973


def check(inputs: Path, output: Path, failures: Path | None, calls: Path) -> Verdict:
    """Check everything; raises Broken with the items that are wrong."""
    files = {str(path): items_of(path) for path in sorted(inputs.glob("*.parquet"))}
    items = [item for held in files.values() for item in held]
    if len(set(items)) != len(items):
        raise Broken("the inputs themselves hold an item twice")
    scored = list(read_output(output))
    failed = list(read_failures(failures, files)) if failures is not None else []
    counts = Counter(item for item, _ in scored)
    counts.update(failed)
    lost = [item for item in items if not counts[item]]
    doubled = [item for item, count in counts.items() if count > 1]
    strange = sorted(set(counts) - set(items))
    if lost or doubled or strange:
        raise Broken(f"lost {lost[:20]} ({len(lost)}), doubled {doubled[:20]} ({len(doubled)}), strange {strange[:20]}")
    wrong = [(item, score) for item, score in scored if score != score_of(item)]
    if wrong:
        raise Broken(f"wrong scores: {wrong[:20]}")
    place = {item: number for number, item in enumerate(items)}
    places = [place[item] for item, _ in scored]
    if places != sorted(places):
        raise Broken("the output is not in the order of the input")
    called = Counter(read_calls(calls))
    ran = {item for first, count in called for item in items[place[first] : place[first] + count]}
    unseen = [item for item, _ in scored if item not in ran]
    if unseen:
        raise Broken(f"in the output, but no call was ever made for them: {unseen[:20]}")
    repeated = sum(called.values()) - len(called)
    return Verdict(len(items), len(scored), len(failed), sum(called.values()), repeated)


def items_of(path: Path) -> list[int]:
    """The ids of an input file, in order."""
    ids: list[int] = pq.read_table(path, columns=["id"])["id"].to_pylist()
    return ids


def read_output(output: Path) -> Iterator[tuple[int, int]]:
    """Item and score of each line of a text, or of each row of the parts that a manifest lists."""
    if output.is_file():
        for line in output.read_text().splitlines():
            item, score = line.split()
            yield int(item), int(score)
        return
    listed = [part["file"] for part in json.loads((output / "_manifest.json").read_bytes())["parts"]]
    found = {path.name for path in output.iterdir()} - {"_manifest.json"}
    if set(listed) != found:
        raise Broken(f"the manifest lists {sorted(listed)}, the folder holds {sorted(found)}")
    for name in listed:
        table = pq.read_table(output / name)
        yield from zip(table["id"].to_pylist(), table["score"].to_pylist(), strict=True)


def read_failures(failures: Path, files: dict[str, list[int]]) -> Iterator[int]:
    """The items that failure records name by file and row, from a folder of Parquet or from JSON lines."""
    if failures.is_dir():
        rows = [row for path in sorted(failures.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    else:
        rows = [json.loads(line) for line in failures.read_text().splitlines()]
    for row in rows:
        held = next(items for path, items in files.items() if path.endswith(row["file"].rpartition("/")[2]))
        yield from held[row["row"] : row["row"] + row["item_count"]]


def read_calls(calls: Path) -> Iterator[tuple[int, int]]:
    """First item and number of items of each call, from the names of the side files."""
    for path in calls.iterdir():
        first, count, _ = path.name.split(".", 2)
        yield int(first), int(count)
