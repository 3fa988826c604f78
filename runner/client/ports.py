"""The outputs of steps and pipelines as SDK v1 has them: data that can be downloaded, or be an input elsewhere."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.client.download import write_chunks
from runner.client.workspace import Workspace
from runner.entity.job import OutputState
from runner.entity.page import Chunk
from runner.errors import OutputMissing
from runner.spec.pieces import Input
from runner.spec.places import Places

log = logging.getLogger(__name__)
_MODES = {"mount": "ro_mount", "download": "download"}


class PortDataReference:
    """Where an output of a run is.

    Attributes:
        name: the output.
        datastore, datastore_name: which datastore holds it; None for a path of its own.
        path_on_datastore: where in that, or the absolute path without its root.
        pipeline_run_id: the pipeline that made it.
    """

    def __init__(self, context: Workspace, pipeline_run_id: str, data_reference: OutputState, *, job: str) -> None:
        """`job` is the one whose output this is: a step of the pipeline, or the pipeline."""
        self._context, self._job, self._output = context, job, data_reference
        self.pipeline_run_id = pipeline_run_id
        self.name = data_reference.name
        self.datastore_name, self.path_on_datastore = _on_datastore(context, data_reference.path)
        self.datastore = self.datastore_name

    def download(
        self, local_path: str | os.PathLike[str], overwrite: bool | None = None, show_progress: bool | None = None
    ) -> int:
        """Write the files to `local_path/<path_on_datastore>`; how many were written, 0 when there is nothing.

        Args:
            overwrite: whether files that are there are replaced; without it they stay as they are.
            show_progress: whether a line for each file is logged.

        Raises:
            JobStatusConflict: the run has not ended.
        """
        base = Path(local_path)
        base.mkdir(parents=True, exist_ok=True)
        folder = base / self.path_on_datastore
        try:
            chunks = self._context.backend.read_output(self._job, self.name)
            return len(write_chunks(self._placed(chunks), folder.parent, is_wanted=_asker(overwrite, show_progress)))
        except OutputMissing:
            return 0

    def _placed(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        """The files of a folder below its own name; one file has that name already."""
        top = Path(self.path_on_datastore).name
        is_file = self._output.type == "uri_file"
        for chunk in chunks:
            yield chunk if is_file and chunk.path == top else replace(chunk, path=f"{top}/{chunk.path}")

    def as_download(
        self, input_name: str | None = None, path_on_compute: str | None = None, overwrite: bool | None = None
    ) -> Input:
        """The data as an input of another job, which gets a copy of it."""
        return self.create_input_binding("download", input_name, path_on_compute, overwrite)

    def as_mount(self, input_name: str | None = None, path_on_compute: str | None = None) -> Input:
        """The data as an input of another job, which reads it in its place."""
        return self.create_input_binding("mount", input_name, path_on_compute)

    def as_input(self, input_name: str | None = None, mode: str = "mount") -> Input:
        """The data as an input of another job."""
        return self.create_input_binding(mode, input_name)

    def create_input_binding(
        self,
        mode: str = "mount",
        input_name: str | None = None,
        path_on_compute: str | None = None,
        overwrite: bool | None = None,
    ) -> Input:
        """The data as an input of another job. ValueError unless the mode is `mount` or `download`."""
        if mode not in _MODES:
            raise ValueError(f"mode is {mode!r}; write one of {', '.join(_MODES)}")
        reference = f"azureml:jobs/{self._job}/outputs/{self.name}"
        return Input(type=self._output.type, path=reference, mode=_MODES[mode], path_on_compute=path_on_compute)

    def __str__(self) -> str:
        return f"$AZUREML_DATAREFERENCE_{self.name}"

    def __repr__(self) -> str:
        return f"PortDataReference(name={self.name!r}, path_on_datastore={self.path_on_datastore!r})"


class StepRunOutput:
    """An output of a step: `step_run, pipeline_run_id, context, name, step_output`."""

    def __init__(
        self, context: Workspace, pipeline_run_id: str, step_run: Any, name: str, step_output: OutputState, *, job: str
    ) -> None:
        self.context, self.pipeline_run_id, self.step_run = context, pipeline_run_id, step_run
        self.name, self.step_output, self._job = name, step_output, job

    def get_port_data_reference(self) -> PortDataReference:
        """Where the data is."""
        return PortDataReference(self.context, self.pipeline_run_id, self.step_output, job=self._job)

    def __repr__(self) -> str:
        return f"StepRunOutput(name={self.name!r}, path={self.step_output.path!r})"


def _on_datastore(context: Workspace, path: str) -> tuple[str | None, str]:
    places = Places.read(context.home.root, os.environ)
    known = {name: Path(root).expanduser() for name, root in places.datastores.items()}
    below = context.home.datastores
    place = Path(path)
    if place.is_relative_to(below) and place != below:
        name = place.relative_to(below).parts[0]
        known.setdefault(name, below / name)
    for name, root in known.items():
        if place != root and place.is_relative_to(root):
            return name, str(place.relative_to(root))
    return None, path.lstrip("/")


def _asker(overwrite: bool | None, show_progress: bool | None) -> Callable[[Path], bool]:
    def is_wanted(target: Path) -> bool:
        if target.exists() and not overwrite:
            log.warning("Path already exists. Skipping download for %s", target)
            return False
        if show_progress:
            log.info("Downloading %s", target)
        return True

    return is_wanted
