"""A pipeline with everything resolved that can be before its steps run: what its driver is given, stored as JSON.

Sub-pipelines are flattened: only leaf steps are here, in the order of the file. A step's document is that of a job of
its own, absolute and with the pipeline's inputs put in; what comes from another step stands in it as
`${{steps.KEY.outputs.NAME}}`, and is put in when that step has completed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

KEY_JOINT = "/"
"""Between the keys of a sub-pipeline and of a step in it."""
NAME_JOINT = "--"
"""Between the names of a pipeline and of a step's job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSource:
    """An input of a step that is, or holds, an output of another."""

    input: str
    step: str
    output: str
    is_optional: bool = False
    """Absent, rather than an obstacle, when that step has not completed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpec:
    """One leaf step: a command or a parallel job."""

    key: str
    """`train`, or `sub/train` for the step `train` of the sub-pipeline `sub`."""
    job: str
    """The name of its job."""
    type: Literal["command", "parallel"]
    document: dict[str, object]
    code: str = ""
    """The pinned snapshot of its code; empty when it has none."""
    component: str = ""
    """`name:version` of the component it was made from; empty for an inline step."""
    sources: tuple[StepSource, ...] = ()
    depends_on: tuple[str, ...] = ()
    """Keys of steps that must have completed although no data comes from them."""
    is_deterministic: bool = True

    @property
    def needs(self) -> frozenset[str]:
        """Keys of the steps that must have ended before this one can be decided on."""
        return frozenset(source.step for source in self.sources) | frozenset(self.depends_on)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotedOutput:
    """An output of the pipeline, and the one of which step it is."""

    name: str
    type: str
    step: str
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSpec:
    """Everything that running a pipeline needs."""

    name: str
    experiment_name: str = "Default"
    steps: tuple[StepSpec, ...]
    outputs: tuple[PromotedOutput, ...] = ()
    continue_on_step_failure: bool = True
    force_rerun: bool = False
    max_concurrent_steps: int | None = None
    """None means max(2, cores)."""
    overwrite: bool = False
    notices: tuple[str, ...] = ()
    literals: dict[str, object] = field(default_factory=dict)
    """The pipeline's literal inputs as they were put in; for `save` and `get_graph`."""

    def step(self, key: str) -> StepSpec:
        """The step of that key; KeyError when there is none."""
        for step in self.steps:
            if step.key == key:
                return step
        raise KeyError(key)
