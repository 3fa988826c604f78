"""A pipeline as a tree in text, and as Mermaid text that web pages and Markdown viewers draw."""

from __future__ import annotations

from runner.cli.drawing import Arrow, Box, Drawing
from runner.cli.step_tree import branches_of

FILLS = {
    "Completed": "fill:#d9f2e0,stroke:#2f855a",
    "reused": "fill:#e0ecfb,stroke:#2b6cb0",
    "Failed": "fill:#fbdcdc,stroke:#c53030",
    "Canceled": "fill:#fbeccd,stroke:#b7791f",
}
"""Of the statuses that have a colour of their own, in every drawing."""
LIVE_FILL = "fill:#fdf6d8,stroke:#b7950b"
PLAIN_FILL = "fill:#f4f5f7,stroke:#6b7280"


def fill_of(box: Box) -> str:
    """The colours of a box, by its status."""
    if box.status in ("", "NotStarted"):
        return PLAIN_FILL
    return FILLS.get(box.status, LIVE_FILL)


def tree(drawing: Drawing) -> str:
    """Each step on a line of its own, with what it needs: `├─ score  parallel  ← prepare.clean, train.model`."""
    steps = {box.key: box for box in drawing.boxes if box.type != "output"}
    by_id = {box.id: box for box in drawing.boxes}
    into: dict[str, list[Arrow]] = {box.id: [] for box in drawing.boxes}
    for arrow in drawing.arrows:
        into[arrow.target].append(arrow)
    lines = branches_of(steps)
    width = max((len(line.text) for line in lines), default=0)
    told = [drawing.name]
    for line in lines:
        if line.key is None:
            told.append(line.text)
            continue
        box = steps[line.key]
        needs = ", ".join(_source(arrow, by_id) for arrow in into[box.id])
        cells = [line.text.ljust(width), box.type.ljust(8), *([box.status.ljust(12)] if box.status else [])]
        told.append("  ".join([*cells, *([f"← {needs}"] if needs else [])]).rstrip())
    told += [
        f"output {box.key} ← {', '.join(_source(arrow, by_id) for arrow in into[box.id])}"
        for box in drawing.boxes
        if box.type == "output"
    ]
    return "\n".join(told)


def _source(arrow: Arrow, boxes: dict[str, Box]) -> str:
    """`prepare.clean`, `prepare` where only the order counts, and a question mark where it may be absent."""
    key = boxes[arrow.source].key
    said = " ".join(f"{key}.{label}" for label in arrow.labels) or key
    return f"{said}?" if arrow.is_optional else said


def mermaid(drawing: Drawing) -> str:
    """A flowchart; sub-pipelines are boxes around their steps, optional inputs are dotted."""
    lines = ["flowchart TD"]
    groups: dict[str, list[Box]] = {}
    for box in drawing.boxes:
        groups.setdefault(box.group if box.type != "output" else "", []).append(box)
    for number, (group, boxes) in enumerate(groups.items()):
        indent = "  " if not group else "    "
        if group:
            lines.append(f'  subgraph g{number}["{_quoted(group)}"]')
        lines += [f"{indent}{_mermaid_box(box)}" for box in boxes]
        if group:
            lines.append("  end")
    for arrow in drawing.arrows:
        line = "-.->" if arrow.is_optional else "-->"
        label = f'|"{_quoted(arrow.label)}"|' if arrow.labels else ""
        lines.append(f"  {arrow.source} {line}{label} {arrow.target}")
    lines += [f"  style {box.id} {fill_of(box)}" for box in drawing.boxes if box.type != "output" and box.status]
    return "\n".join(lines)


def _mermaid_box(box: Box) -> str:
    if box.type == "output":
        return f'{box.id}[/"{_quoted(box.key)}"/]'
    told = "<br/>".join([_quoted(box.label), box.type, *([box.status] if box.status else [])])
    opening, closing = ("[[", "]]") if box.type == "parallel" else ("[", "]")
    return f'{box.id}{opening}"{told}"{closing}'


def _quoted(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
