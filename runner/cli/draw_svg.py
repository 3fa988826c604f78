"""A pipeline as one SVG file that needs nothing else: no script, no font of its own, no style sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from runner.cli.draw_text import fill_of
from runner.cli.drawing import Arrow, Box, Drawing
from runner.cli.layout import Placed, place

LETTER = 7.4
"""About as wide as a letter of the label is."""
SMALL_LETTER = 5.8
PAD = 12.0
BOX_HEIGHT = 48.0
LAYER_HEIGHT = 104.0
MARGIN = 24.0
TITLE_HEIGHT = 32.0
LABEL_LIMIT = 40
PORT_GAP = 26.0
"""Between the ends of arrows at one box, where there is room."""
HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" \
viewBox="0 0 {width:.0f} {height:.0f}" font-family="system-ui, sans-serif" role="img">
<title>{title}</title>
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">\
<path d="M0 0L8 4L0 8z" fill="#6b7280"/></marker></defs>
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="{margin:.0f}" y="26" font-size="15" font-weight="600" fill="#111827">{title}</text>"""


def svg(drawing: Drawing) -> str:
    """The drawing: steps from top to bottom, on each arrow the outputs that go along it, colours by status."""
    widths = {box.id: _width(box) for box in drawing.boxes}
    placed = place(widths, [(arrow.source, arrow.target) for arrow in drawing.arrows])
    traced = _traced(drawing.arrows, placed, widths)
    width = max(placed.width, len(drawing.name) * 9) + 2 * MARGIN
    height = max(placed.layer_count, 1) * LAYER_HEIGHT - (LAYER_HEIGHT - BOX_HEIGHT) + 2 * MARGIN + TITLE_HEIGHT
    lines = [HEAD.format(width=width, height=height, title=escape(drawing.name), margin=MARGIN)]
    lines += [_path(arrow, at) for arrow, at in traced]
    lines += [_arrow_label(arrow, at) for arrow, at in traced if arrow.labels]
    lines += [_box(box, placed, widths[box.id]) for box in drawing.boxes]
    return "\n".join([*lines, "</svg>"])


def _top(layer: float) -> float:
    return MARGIN + TITLE_HEIGHT + layer * LAYER_HEIGHT


def _words(box: Box) -> tuple[str, str]:
    """The label, and the smaller line below it."""
    parts = [box.group, box.type, box.status] if box.type != "output" else ["output"]
    return _cut(box.label), _cut(" · ".join(part for part in parts if part))


def _cut(text: str) -> str:
    return text if len(text) <= LABEL_LIMIT else f"{text[: LABEL_LIMIT - 1]}…"


def _width(box: Box) -> float:
    label, small = _words(box)
    return max(len(label) * LETTER, len(small) * SMALL_LETTER, 60.0) + 2 * PAD


def _box(box: Box, placed: Placed, width: float) -> str:
    middle = MARGIN + placed.across[box.id]
    top = _top(placed.layer[box.id])
    fill, stroke = (part.partition(":")[2] for part in fill_of(box).split(","))
    label, small = _words(box)
    told = f"{box.key}: {box.note}" if box.note else box.key
    shape = 'rx="24" stroke-dasharray="4 3"' if box.type == "output" else 'rx="6"'
    lines = [
        f"<g><title>{escape(told)}</title>",
        f'<rect x="{middle - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" height="{BOX_HEIGHT:.0f}" {shape} '
        f'fill="{fill}" stroke="{stroke}" stroke-width="1.3"/>',
    ]
    if box.type == "parallel":  # a double border
        lines.append(
            f'<rect x="{middle - width / 2 + 3:.1f}" y="{top + 3:.1f}" width="{width - 6:.1f}" '
            f'height="{BOX_HEIGHT - 6:.0f}" rx="4" fill="none" stroke="{stroke}" stroke-width="0.8"/>'
        )
    lines += [
        f'<text x="{middle:.1f}" y="{top + 21:.1f}" text-anchor="middle" font-size="13" font-weight="600" '
        f'fill="#111827">{escape(label)}</text>',
        f'<text x="{middle:.1f}" y="{top + 37:.1f}" text-anchor="middle" font-size="10.5" '
        f'fill="#4b5563">{escape(small)}</text></g>',
    ]
    return "\n".join(lines)


def _traced(
    arrows: Sequence[Arrow], placed: Placed, widths: Mapping[str, float]
) -> list[tuple[Arrow, list[tuple[float, int]]]]:
    """Each arrow with its points; those of one box leave and arrive side by side, in the order of their other ends."""
    leaving: dict[str, list[int]] = {}
    arriving: dict[str, list[int]] = {}
    paths = [list(placed.paths[arrow.source, arrow.target]) for arrow in arrows]
    for number, arrow in enumerate(arrows):
        leaving.setdefault(arrow.source, []).append(number)
        arriving.setdefault(arrow.target, []).append(number)
    moved: list[tuple[int, int, float]] = []
    for ends, own, other in ((leaving, 0, 1), (arriving, -1, -2)):
        for box, numbers in ends.items():
            numbers.sort(key=lambda number: paths[number][other][0])
            apart = min(PORT_GAP, widths[box] * 0.8 / len(numbers))
            moved += [(number, own, (place - (len(numbers) - 1) / 2) * apart) for place, number in enumerate(numbers)]
    for number, end, shift in moved:
        across, layer = paths[number][end]
        paths[number][end] = (across + shift, layer)
    return list(zip(arrows, paths, strict=True))


def _path(arrow: Arrow, points: Sequence[tuple[float, int]]) -> str:
    """From the bottom of one box to the top of the other, straight down through the layers between."""
    x, y = MARGIN + points[0][0], _top(points[0][1]) + BOX_HEIGHT
    path = [f"M{x:.1f} {y:.1f}"]
    for number, (across, layer) in enumerate(points[1:], 1):
        to_x, to_y = MARGIN + across, _top(layer)
        bend = (to_y - y) / 2
        path.append(f"C{x:.1f} {y + bend:.1f} {to_x:.1f} {to_y - bend:.1f} {to_x:.1f} {to_y:.1f}")
        x, y = to_x, to_y
        if number < len(points) - 1:
            y += BOX_HEIGHT
            path.append(f"L{x:.1f} {y:.1f}")
    dash = ' stroke-dasharray="5 4"' if arrow.is_optional else ""
    return f'<path d="{"".join(path)}" fill="none" stroke="#6b7280" stroke-width="1.2"{dash} marker-end="url(#tip)"/>'


def _arrow_label(arrow: Arrow, points: Sequence[tuple[float, int]]) -> str:
    """Above the tip of the arrow, on the side it comes from, so that it does not stand in the way of others."""
    (before, _), (tip, layer) = points[-2], points[-1]
    from_left = before < tip - 1
    x = MARGIN + tip + (before - tip) * 0.12 + (-4 if from_left else 4)
    return (
        f'<text x="{x:.1f}" y="{_top(layer) - 16:.1f}" font-size="10.5" fill="#4b5563" '
        f'text-anchor="{"end" if from_left else "start"}" '
        f'stroke="#ffffff" stroke-width="3" paint-order="stroke">{escape(_cut(arrow.label))}</text>'
    )
