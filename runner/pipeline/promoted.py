"""The outputs of a pipeline: each is one of a step, and is where that step, or the earlier one in its place, has it."""

from __future__ import annotations

from collections.abc import Iterator

from runner.entity.asset import OutputRecord
from runner.entity.job import JobState, OutputState
from runner.entity.pipeline import PipelineSpec, PromotedOutput
from runner.store.store import Store


class Promotions:
    """Keeps the row of a pipeline right about them."""

    def __init__(self, store: Store, spec: PipelineSpec) -> None:
        self._store, self._spec = store, spec
        self._of_step: dict[str, list[PromotedOutput]] = {}
        for output in spec.outputs:
            self._of_step.setdefault(output.step, []).append(output)
        self._known = {output.name: output for output in store.get(spec.name).outputs}

    def see(self, step: JobState) -> None:
        """Take over where a step has its outputs now."""
        changed = False
        for promoted in self._of_step.get(step.step, ()):
            for output in step.outputs:
                known = self._known.get(promoted.name)
                if output.name == promoted.output and output.path and (known is None or known.path != output.path):
                    kind = promoted.type or output.type
                    self._known[promoted.name] = OutputState(name=promoted.name, type=kind, path=output.path)
                    changed = True
        if changed:
            self._store.set_outputs(self._spec.name, tuple(self._known.values()))

    def records(self) -> Iterator[OutputRecord]:
        """What the steps have recorded of them, under the names they have in the pipeline."""
        for promoted in self._spec.outputs:
            for one in self._store.reuse.records(self._spec.step(promoted.step).job):
                if one.name == promoted.output:
                    yield OutputRecord(name=promoted.name, type=one.type, path=one.path, content=one.content)
