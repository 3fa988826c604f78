"""The MLflow run of a command: there before the command starts, so that what it logs without ado lands in it.

MLflow's file store is folders with small files. They are written and read here as MLflow writes and reads them, because
importing MLflow takes longer than most commands; where it is not installed nothing is written.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import re
import time
from pathlib import Path

from runner.entity.status import JobStatus
from runner.store.home import Home

log = logging.getLogger(__name__)

NOTICE = "mlflow is not installed here: what the command logs with it is kept only if it brings one of its own"
_RUN_ID = re.compile(r"[A-Za-z0-9][\w-]{0,255}", re.ASCII)
_STATUS = {JobStatus.COMPLETED: 3, JobStatus.FAILED: 4, JobStatus.CANCELED: 5}
_RUNNING = 1
_DEFAULT = "Default"


class MlflowRun:
    """The run of one job. A file that cannot be written costs the run, not the job."""

    def __init__(self, home: Home, job: str, experiment: str) -> None:
        self._root = home.root / "mlruns"
        self._job = job
        self._experiment = experiment or _DEFAULT
        self.run_id = job if _RUN_ID.fullmatch(job) else _digest(job)[:32]
        self.experiment_id = "0" if self._experiment == _DEFAULT else str(int(_digest(self._experiment)[:15], 16))
        self._is_installed = importlib.util.find_spec("mlflow") is not None

    @property
    def variables(self) -> dict[str, str]:
        """What MLflow looks for in the environment of a process."""
        return {
            "MLFLOW_TRACKING_URI": self._root.as_uri(),
            "MLFLOW_RUN_ID": self.run_id,
            "MLFLOW_EXPERIMENT_ID": self.experiment_id,
            "MLFLOW_EXPERIMENT_NAME": self._experiment,
            "MLFLOW_ALLOW_FILE_STORE": "true",  # its newer versions refuse their file store without that
        }

    @property
    def _folder(self) -> Path:
        return self._root / self.experiment_id / self.run_id

    def begin(self) -> None:
        """Make the run, unless it is there or MLflow is not installed."""
        if not self._is_installed:
            log.info(NOTICE)
            return
        try:
            self._make_experiment("0", _DEFAULT)
            self._make_experiment(self.experiment_id, self._experiment)
            if not (self._folder / "meta.yaml").exists():
                self._make_run()
            else:
                self._restate(_RUNNING, "null")
        except OSError as error:
            log.warning("there is no MLflow run for the job: %s", error)

    def end(self, status: JobStatus) -> dict[str, str]:
        """Say how the job has ended, and return the parameters that were logged."""
        found: dict[str, str] = {}
        if not self._is_installed:
            return found
        try:
            self._restate(_STATUS[status], str(int(time.time() * 1000)))
            for folder, _, names in os.walk(self._folder / "params"):
                for name in names:
                    path = Path(folder, name)
                    key = path.relative_to(self._folder / "params").as_posix()
                    found[key] = path.read_text("utf-8", errors="replace")
        except OSError as error:
            log.warning("the MLflow run of the job cannot be read: %s", error)
        return found

    def _make_experiment(self, key: str, name: str) -> None:
        folder = self._root / key
        now = int(time.time() * 1000)
        if not (folder / "meta.yaml").exists():
            folder.mkdir(parents=True, exist_ok=True)
            _write(
                folder / "meta.yaml",
                artifact_location=folder.as_uri(),
                creation_time=now,
                experiment_id=key,
                last_update_time=now,
                lifecycle_stage="active",
                name=name,
            )

    def _make_run(self) -> None:
        for name in ("metrics", "params", "tags", "artifacts"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        (self._folder / "tags" / "mlflow.runName").write_text(self._job)
        _write(
            self._folder / "meta.yaml",
            artifact_uri=(self._folder / "artifacts").as_uri(),
            end_time=None,
            entry_point_name="",
            experiment_id=self.experiment_id,
            lifecycle_stage="active",
            run_id=self.run_id,
            run_name=self._job,
            run_uuid=self.run_id,
            source_name="",
            source_type=4,
            source_version="",
            start_time=int(time.time() * 1000),
            status=_RUNNING,
            tags=[],
            user_id="",
        )

    def _restate(self, status: int, end: str) -> None:
        path = self._folder / "meta.yaml"
        text = re.sub(r"(?m)^status: .*$", f"status: {status}", path.read_text("utf-8", "replace"))
        _replace(path, re.sub(r"(?m)^end_time: .*$", f"end_time: {end}", text))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _write(path: Path, **values: object) -> None:
    """JSON values are YAML values, so each line is one of either."""
    _replace(path, "".join(f"{name}: {json.dumps(value)}\n" for name, value in values.items()))


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, "utf-8")
    draft.replace(path)
