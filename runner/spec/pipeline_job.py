"""Pipelines as Python objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from runner.spec.findings import Findings
from runner.spec.inlining import Files, inlined
from runner.spec.jobs import Job
from runner.spec.pieces import Input, Output, Piece, plain
from runner.spec.pipeline_schema import shape_pipeline
from runner.spec.services import identity_of, service_of


@dataclass(kw_only=True)
class PipelineJobSettings(Piece):
    """What holds for all steps of a pipeline."""

    default_datastore: str | None = None
    default_compute: str | None = None
    continue_on_step_failure: bool | None = None
    """None: True for a pipeline that is submitted as a job, False through the v1 names."""
    force_rerun: bool | None = None
    others: dict[str, Any] = field(default_factory=dict)
    """Settings that are not known: kept, without effect."""

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> PipelineJobSettings:
        """The settings that a mapping says."""
        known = {one.name for one in fields(cls)} - {"others"}
        others = {name: value for name, value in said.items() if name not in known}
        return cls(**{name: value for name, value in said.items() if name in known}, others=others)

    def written(self) -> dict[str, Any]:
        """The settings as YAML holds them."""
        said = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "others"}
        return {**{name: value for name, value in said.items() if value is not None}, **plain(self.others)}


class PipelineStep(dict[str, Any]):
    """A step as its file says it; its keys can be read as attributes too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the step says no {name!r}") from None


class PipelineWritten(dict[str, Any]):
    """What a pipeline object says, with the component files that were read along with it."""

    files: Files | None = None


class PipelineJob(Job):
    """Steps that are jobs of their own, and what they pass on. Everything is optional until it is submitted."""

    type: ClassVar[str] = "pipeline"
    _fields: ClassVar[tuple[str, ...]] = (
        "name",
        "version",
        "display_name",
        "description",
        "tags",
        "properties",
        "experiment_name",
        "comment",
        "compute",
        "services",
        "identity",
        "inputs",
        "outputs",
        "component",
        "jobs",
        "settings",
        "runner",
    )

    def __init__(
        self,
        *,
        component: str | Mapping[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
        jobs: dict[str, Any] | None = None,
        settings: PipelineJobSettings | dict[str, Any] | None = None,
        identity: Any = None,
        version: str | None = None,
        runner: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Build a pipeline; nothing is checked before it is submitted or validated.

        Args:
            component: a pipeline component whose steps these are, in place of `jobs`.
            jobs: the steps by name: CommandJob or ParallelJob objects, or mappings as in YAML.
            settings: PipelineJobSettings, or a mapping as in YAML.
            runner: the extensions of this runner, as the mapping of that name in YAML.
            kwargs: what every job has: name, display_name, description, tags, properties, experiment_name, compute,
                services, comment, id. Anything else is a TypeError.
        """
        super().__init__(**kwargs)
        self.component = component
        self.inputs = dict(inputs or {})
        self.outputs = dict(outputs or {})
        self.jobs = dict(jobs or {})
        self.settings = settings
        self.identity = identity
        self.version = version
        self.runner = dict(runner or {})
        self._files: Files | None = None

    @property
    def settings(self) -> PipelineJobSettings:
        """What holds for all steps; a mapping put here becomes an object."""
        return self._settings

    @settings.setter
    def settings(self, said: PipelineJobSettings | Mapping[str, Any] | None) -> None:
        self._settings = said if isinstance(said, PipelineJobSettings) else PipelineJobSettings.of(said or {})

    def _shape(self, written: dict[str, Any], found: Findings) -> dict[str, Any]:
        return shape_pipeline(written, found)

    def written(self) -> dict[str, Any]:
        said = {name: getattr(self, name) for name in self._fields if name not in ("jobs", "settings")}
        result = PipelineWritten({"type": self.type})
        result.update({name: plain(value) for name, value in said.items() if value is not None})
        if not result["runner"]:
            del result["runner"]
        result["settings"] = self.settings.written()
        if self.component is None or self.jobs:
            result["jobs"] = {name: self._step(step) for name, step in self.jobs.items()}
        result.files = self._files
        return result

    def to_document(self) -> dict[str, Any]:
        return dict(super().to_document())

    def _step(self, step: Any) -> Any:
        if not isinstance(step, Job):
            return plain(step)
        # A job object may have been built, or read from a file, in another folder.
        document = step.to_document() if step.base_path == self.base_path else step.absolute_document()
        return {key: value for key, value in document.items() if key not in ("name", "version")}

    def absolute_document(self) -> dict[str, Any]:
        """The document with every component in it and every path absolute: what travels and is stored."""
        return inlined(self.to_document(), self._base_path, self._files if self._files is not None else {})


def build_pipeline(shaped: dict[str, Any]) -> PipelineJob:
    """The pipeline that a document in its final types says."""
    said = {name: value for name, value in shaped.items() if name != "type"}
    said["inputs"] = {n: Input(**v) if isinstance(v, dict) else v for n, v in shaped["inputs"].items()}
    said["outputs"] = {name: Output(**{"type": None, **value}) for name, value in shaped["outputs"].items()}
    said["jobs"] = {name: PipelineStep(step) for name, step in shaped.get("jobs", {}).items()}
    if "services" in shaped:
        said["services"] = {name: service_of(value) for name, value in shaped["services"].items()}
    if "identity" in shaped:
        said["identity"] = identity_of(shaped["identity"])
    job = PipelineJob(**said)
    job._files = getattr(shaped, "files", None)
    return job
