"""Where boxes stand: arrows point down, boxes of a layer do not touch, and neighbours are near."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
import pytest
from hypothesis import given

from runner.cli.layout import GAP, keep_apart, place

Graph = tuple[dict[str, float], list[tuple[str, str]]]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    count = draw(st.integers(1, 12))
    widths = {f"b{n}": draw(st.sampled_from([40.0, 90.0, 200.0])) for n in range(count)}
    pairs = [(f"b{a}", f"b{b}") for a, b in itertools.combinations(range(count), 2)]
    return widths, draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []


@given(graphs())
def test_arrows_point_down_and_boxes_keep_apart(graph: Graph) -> None:
    widths, arrows = graph
    placed = place(widths, arrows)
    assert set(placed.across) == set(widths)
    for source, target in arrows:
        assert placed.layer[source] < placed.layer[target]
        path = placed.paths[source, target]
        assert path[0] == (placed.across[source], placed.layer[source])
        assert path[-1] == (placed.across[target], placed.layer[target])
        assert [layer for _, layer in path] == list(range(placed.layer[source], placed.layer[target] + 1))
    for layer in range(placed.layer_count):
        row = sorted((placed.across[box], widths[box]) for box in widths if placed.layer[box] == layer)
        for (left, wide), (right, other) in itertools.pairwise(row):
            assert right - left >= (wide + other) / 2 + GAP - 1e-6
    assert min(placed.across[box] - widths[box] / 2 for box in widths) >= -1e-6
    assert max(placed.across[box] + widths[box] / 2 for box in widths) <= placed.width + 1e-6


def test_a_chain_is_straight() -> None:
    placed = place(dict.fromkeys("abc", 60.0), [("a", "b"), ("b", "c")])
    assert placed.layer == {"a": 0, "b": 1, "c": 2}
    assert len({round(across, 3) for across in placed.across.values()}) == 1


def test_arrows_that_would_cross_are_untangled() -> None:
    placed = place(dict.fromkeys("abxy", 60.0), [("a", "y"), ("b", "x")])
    assert (placed.across["a"] < placed.across["b"]) == (placed.across["y"] < placed.across["x"])


def test_many_long_arrows_are_drawn_straight_and_soon() -> None:
    widths = {f"b{n}": 60.0 for n in range(400)}
    arrows = [(f"b{n // 3}", f"b{n}") for n in range(1, 400)] + [(f"b{n - 1}", f"b{n}") for n in range(1, 400)]
    placed = place(widths, arrows)
    assert placed.layer_count == 400
    assert len(placed.paths["b100", "b300"]) == 2


@pytest.mark.parametrize(
    ("wishes", "apart", "places"),
    [
        ([], [], []),
        ([5.0], [], [5.0]),
        ([0.0, 100.0], [10.0], [0.0, 100.0]),
        ([0.0, 0.0], [10.0], [-5.0, 5.0]),
        ([0.0, 0.0, 0.0], [10.0, 10.0], [-10.0, 0.0, 10.0]),
        ([10.0, 0.0], [10.0], [0.0, 10.0]),
    ],
)
def test_places_are_the_nearest_to_the_wishes_that_keep_apart(
    wishes: list[float], apart: list[float], places: list[float]
) -> None:
    assert keep_apart(wishes, apart) == pytest.approx(places)
