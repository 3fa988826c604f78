"""Where the boxes of a drawing stand: in layers from top to bottom, so that all arrows point down.

Theory of operation: a box stands one layer below the lowest box that it needs. An arrow over several layers is cut
into pieces by points, one in each layer between, so that boxes and points of a layer share its width. Within a layer
they are ordered by the average place of their neighbours, to and fro until it settles: that untangles most arrows.
Then each is put as near as its neighbours' places as the others of its layer allow: a least-squares fit with the
order kept, which pooling neighbours that want to overlap solves exactly. All of it is pure and deterministic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

SWEEPS = 8
"""More hardly change anything."""
GAP = 28.0
POINT_WIDTH = 8.0
POINT_LIMIT = 10_000
"""With more points than this all long arrows are drawn straight: such a drawing is not read arrow by arrow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """The middle of each box across, its layer, the points of each arrow as (across, layer), and the whole width."""

    across: dict[str, float]
    layer: dict[str, int]
    paths: dict[tuple[str, str], tuple[tuple[float, int], ...]]
    width: float
    layer_count: int


def place(widths: Mapping[str, float], arrows: Sequence[tuple[str, str]]) -> Placed:
    """Place boxes of these widths; arrows are pairs of boxes, without a circle."""
    layer = _layers(list(widths), arrows)
    is_cut = sum(layer[target] - layer[source] - 1 for source, target in arrows) <= POINT_LIMIT
    chains = {arrow: _chain(arrow, layer) if is_cut else list(arrow) for arrow in dict.fromkeys(arrows)}
    wide = dict(widths)
    rows: list[list[str]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for box in widths:
        rows[layer[box]].append(box)
    above: dict[str, list[str]] = {}
    below: dict[str, list[str]] = {}
    for (source, _), chain in chains.items():
        for upper, lower in pairwise(chain):
            below.setdefault(upper, []).append(lower)
            above.setdefault(lower, []).append(upper)
        for number, point in enumerate(chain[1:-1], layer[source] + 1):
            rows[number].append(point)
            wide[point] = POINT_WIDTH
    _order(rows, above, below)
    across = _spread(rows, above, below, wide)
    left = min((across[one] - wide[one] / 2 for one in across), default=0.0)
    across = {one: at - left for one, at in across.items()}
    width = max((across[one] + wide[one] / 2 for one in across), default=0.0)
    layer_of = {one: number for number, row in enumerate(rows) for one in row}
    paths = {arrow: tuple((across[one], layer_of[one]) for one in chain) for arrow, chain in chains.items()}
    at = {box: across[box] for box in widths}
    return Placed(across=at, layer=layer, paths=paths, width=width, layer_count=len(rows))


def _layers(boxes: Sequence[str], arrows: Sequence[tuple[str, str]]) -> dict[str, int]:
    """One below the lowest that it needs."""
    needs: dict[str, set[str]] = {box: set() for box in boxes}
    leads: dict[str, list[str]] = {box: [] for box in boxes}
    for source, target in arrows:
        if source not in needs[target]:
            needs[target].add(source)
            leads[source].append(target)
    missing = {box: len(needs[box]) for box in boxes}
    layer = {box: 0 for box in boxes if not missing[box]}
    ready = list(layer)
    for box in ready:  # grows while it is read
        for target in leads[box]:
            layer[target] = max(layer.get(target, 0), layer[box] + 1)
            missing[target] -= 1
            if not missing[target]:
                ready.append(target)
    assert len(ready) == len(boxes), "a drawing has no circle"
    return {box: layer[box] for box in boxes}


def _chain(arrow: tuple[str, str], layer: Mapping[str, int]) -> list[str]:
    """The two boxes of an arrow with a point for each layer between."""
    source, target = arrow
    points = [f"{source}>{target}#{number}" for number in range(layer[source] + 1, layer[target])]
    return [source, *points, target]


def _order(rows: list[list[str]], above: Mapping[str, list[str]], below: Mapping[str, list[str]]) -> None:
    """Sort each layer by the average place of the neighbours in the layer before, down and up again."""
    for sweep in range(SWEEPS):
        downwards = sweep % 2 == 0
        neighbours = above if downwards else below
        numbers = range(1, len(rows)) if downwards else range(len(rows) - 2, -1, -1)
        for number in numbers:
            before = rows[number - 1 if downwards else number + 1]
            where = {one: place for place, one in enumerate(before)}
            own = {one: place for place, one in enumerate(rows[number])}

            def key(
                one: str,
                where: dict[str, int] = where,
                own: dict[str, int] = own,
                neighbours: Mapping[str, list[str]] = neighbours,
            ) -> float:
                near = [where[other] for other in neighbours.get(one, ()) if other in where]
                return sum(near) / len(near) if near else float(own[one])

            rows[number].sort(key=key)


def _spread(
    rows: list[list[str]], above: Mapping[str, list[str]], below: Mapping[str, list[str]], wide: Mapping[str, float]
) -> dict[str, float]:
    """Places across: side by side first, then drawn to the neighbours, the order of each layer kept."""
    across: dict[str, float] = {}
    for row in rows:
        at = 0.0
        for one in row:
            across[one] = at + wide[one] / 2
            at += wide[one] + GAP
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wishes = []
            for one in row:
                near = [across[other] for other in (*above.get(one, ()), *below.get(one, ()))]
                wishes.append(sum(near) / len(near) if near else across[one])
            apart = [(wide[a] + wide[b]) / 2 + GAP for a, b in pairwise(row)]
            across.update(zip(row, keep_apart(wishes, apart), strict=True))
    return across


def keep_apart(wishes: Sequence[float], apart: Sequence[float]) -> list[float]:
    """The places nearest to the wishes (least squares) that keep the order and these distances between neighbours."""
    offsets = [0.0]
    for distance in apart:
        offsets.append(offsets[-1] + distance)
    pools: list[tuple[float, int]] = []  # the sum and the count of those that are stuck together
    for wish, offset in zip(wishes, offsets, strict=False):
        total, count = wish - offset, 1
        while pools and pools[-1][0] / pools[-1][1] > total / count:
            before = pools.pop()
            total, count = total + before[0], count + before[1]
        pools.append((total, count))
    settled = [total / count for total, count in pools for _ in range(count)]
    return [place + offset for place, offset in zip(settled, offsets, strict=False)]
