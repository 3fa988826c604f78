"""What is drawn of a pipeline: boxes for its steps, arrows for what goes from one to another. Knows no format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from runner.entity.job import JobState
from runner.entity.pipeline import KEY_JOINT, PipelineSpec, StepSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A step, or an output of the pipeline."""

    id: str
    """Short, and safe in every format."""
    key: str
    type: str
    """`command`, `parallel`, or `output`."""
    status: str = ""
    """The word of the step's status, or `reused`; empty for a pipeline that was not submitted."""
    note: str = ""

    @property
    def label(self) -> str:
        """The step's own name, without those of the sub-pipelines around it."""
        return self.key.rpartition(KEY_JOINT)[2]

    @property
    def group(self) -> str:
        """The sub-pipelines around it, as `a/b`; empty at the top."""
        return self.key.rpartition(KEY_JOINT)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrow:
    """From the step that must have ended first. No labels: only order."""

    source: str
    target: str
    labels: tuple[str, ...] = ()
    """The names of the outputs that go along it."""
    is_optional: bool = False

    @property
    def label(self) -> str:
        return ", ".join(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Boxes in the order of the file, outputs last."""

    name: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]

    def as_dict(self) -> dict[str, object]:
        """Steps, outputs and edges, as programs read them."""
        key_of = {box.id: box.key for box in self.boxes}
        outputs = {box.id: box for box in self.boxes if box.type == "output"}
        return {
            "name": self.name,
            "steps": [
                {"name": box.key, "type": box.type, "status": box.status or None}
                for box in self.boxes
                if box.id not in outputs
            ],
            "edges": [
                {
                    "source": key_of[arrow.source],
                    "target": key_of[arrow.target],
                    "outputs": list(arrow.labels),
                    "optional": arrow.is_optional,
                }
                for arrow in self.arrows
                if arrow.target not in outputs
            ],
            "outputs": [
                {"name": outputs[arrow.target].key, "step": key_of[arrow.source], "output": arrow.label}
                for arrow in self.arrows
                if arrow.target in outputs
            ],
        }


def drawing_of(spec: PipelineSpec, steps: Iterable[JobState] = ()) -> Drawing:
    """The drawing of a pipeline; with the states of its steps, when it was submitted."""
    states = {step.step: step for step in steps}
    ids = {step.key: f"s{number}" for number, step in enumerate(spec.steps)}
    boxes = [_box(step, ids[step.key], states.get(step.key)) for step in spec.steps]
    arrows = [arrow for step in spec.steps for arrow in _arrows(step, ids)]
    for number, output in enumerate(spec.outputs):
        boxes.append(Box(id=f"o{number}", key=output.name, type="output"))
        arrows.append(Arrow(source=ids[output.step], target=f"o{number}", labels=(output.output,)))
    return Drawing(name=spec.name, boxes=tuple(boxes), arrows=tuple(arrows))


def _box(step: StepSpec, name: str, state: JobState | None) -> Box:
    status = "" if state is None else "reused" if state.reused_from else str(state.status)
    note = "" if state is None else (state.error.message if state.error else state.reuse_reason)
    return Box(id=name, key=step.key, type=step.type, status=status, note=note)


def _arrows(step: StepSpec, ids: Mapping[str, str]) -> list[Arrow]:
    """One from each step that this one needs, in the order in which they are named."""
    labels: dict[str, list[str]] = {}
    needed: set[str] = set()
    for source in step.sources:
        outputs = labels.setdefault(source.step, [])
        if source.output not in outputs:
            outputs.append(source.output)
        if not source.is_optional:
            needed.add(source.step)
    for key in step.depends_on:
        labels.setdefault(key, [])
        needed.add(key)
    return [
        Arrow(source=ids[key], target=ids[step.key], labels=tuple(outputs), is_optional=key not in needed)
        for key, outputs in labels.items()
    ]
