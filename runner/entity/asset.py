"""What outlives its job: contents that were made, registered data and components, published pipelines, experiments."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

AssetKind = Literal["data", "component"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What is at a path: a digest of what is read there, and a stamp by which an unchanged tree is known unread."""

    digest: str
    """sha256 in hex over the relative names and contents of all files; for one file over its content alone."""
    stamp: str
    """A hash over names, sizes, times and inodes."""
    file_count: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputRecord:
    """An output of a completed job as it was at that moment."""

    name: str
    type: str
    path: str
    content: Content


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A registered `name:version`. Versions are text; one that was not chosen counts up from 1."""

    kind: AssetKind
    name: str
    version: str
    """Empty in a request: the next one."""
    type: str
    """Of data: uri_file, uri_folder, mltable and so on; of a component: command, parallel or pipeline."""
    path: str = ""
    """Of data: the absolute path."""
    document: dict[str, object] = field(default_factory=dict)
    """Of a component: what its file says, paths absolute."""
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    job: str = ""
    """The job that made it; empty when it was registered by hand."""
    create_time: float = 0.0

    @property
    def reference(self) -> str:
        """As it is written in YAML: `azureml:name:version`."""
        return f"azureml:{self.name}:{self.version}"


class PublishedStatus(StrEnum):
    """Whether a published pipeline may be submitted: only when Active."""

    ACTIVE = "Active"
    DEPRECATED = "Deprecated"
    DISABLED = "Disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedState:
    """A pipeline that can be submitted again by its id, with other values for its literal inputs."""

    id: str
    name: str
    description: str = ""
    version: str = ""
    status: PublishedStatus = PublishedStatus.ACTIVE
    document: dict[str, object] = field(default_factory=dict)
    job: str = ""
    """The job it was published from."""
    continue_on_step_failure: bool | None = None
    create_time: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentState:
    """What jobs are grouped by; it exists once something was submitted to it or it was asked for by name."""

    name: str
    create_time: float
    archived_time: float | None = None
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReuseKey:
    """What decides whether a step's results may stand in for running it: named digests, and one over all of them."""

    key: str
    family: str
    """Which earlier steps are worth a comparison when there is no hit: those of the same key in a pipeline."""
    parts: dict[str, str]
    """Digest or short text by part: `command`, `code`, `environment`, `input raw`, `output o`, `settings`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReuseEntry:
    """What is known of the key of one step's job."""

    job: str
    key: ReuseKey
    is_source: bool
    """Whether later steps may use its results: it completed, and neither was forced nor had its inputs changed."""
    records: tuple[OutputRecord, ...] = ()
