"""A job that is about to be driven, how it is put back to that state, and what is to be seen of it at its end."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from runner.schedule.failures import read_failures
from runner.schedule.journal import Committed, replay
from runner.server.jobs import Jobs
from runner.store.home import Home

NAME = "probe"
MINI_BATCHES, ROWS_EACH, BAD = 14, 5, 9
"""Enough for several leases; one mini-batch fails."""
KINDS = ("text", "parquet")
SCORE = {
    "text": f"""\
import os

def run(mini_batch):
    (path,) = mini_batch
    if os.path.basename(path) == "{BAD:03d}.txt":
        raise ValueError("a wrong label")
    return [open(path).read(), os.path.basename(path)]
""",
    "parquet": f"""\
import hashlib

def run(mini_batch):
    first = int(mini_batch["id"].iloc[0])
    if first == {BAD * ROWS_EACH}:
        raise ValueError("a wrong label")
    # Parts of different sizes: some are joined, some are large enough.
    seals = [hashlib.sha512(b"%d" % i).hexdigest() * (40 if first % 3 == 0 else 1) for i in mini_batch["id"]]
    return mini_batch.assign(seal=seals)
""",
}


class World:
    """A folder with inputs, a home with one job that has begun, and where its output goes."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.kind, self.folder = kind, folder
        self.live, self._pristine = folder / "live", folder / "pristine"
        self.home, self.out = self.live / "home", self.live / "out"
        self.talk = folder / "talk"

    def make(self) -> None:
        """Write the inputs and submit the job; its driver is not started."""
        code, data = self.folder / "code", self.folder / "data"
        for made in (code, data, self.home, self.out):
            made.mkdir(parents=True)
        (code / "score.py").write_text(SCORE[self.kind])
        if self.kind == "text":
            for number in range(MINI_BATCHES):
                (data / f"{number:03d}.txt").write_text(f"the text of {number}")
        else:
            rows = MINI_BATCHES * ROWS_EACH
            pq.write_table(pa.table({"id": range(rows)}), data / "table.parquet", row_group_size=ROWS_EACH * 4)
        jobs = Jobs(Home(self.home), launch=lambda name: None)
        jobs.create(self._document(code, data), name=NAME, base_path=str(self.folder))
        jobs.close()
        shutil.copytree(self.live, self._pristine)

    def _document(self, code: Path, data: Path) -> dict[str, Any]:
        is_text = self.kind == "text"
        return {
            "type": "parallel",
            "compute": "local",
            "inputs": {"cargo": {"type": "uri_folder" if is_text else "mltable", "path": str(data)}},
            "outputs": {
                "scores": {
                    "type": "uri_file" if is_text else "uri_folder",
                    "path": str(self.out / ("scores.txt" if is_text else "scores")),
                }
            },
            "input_data": "${{inputs.cargo}}",
            "mini_batch_size": "1" if is_text else f"{ROWS_EACH} rows",
            "max_concurrency_per_instance": 1,
            "retry_settings": {"max_retries": 0, "timeout": 60},
            "task": {
                "type": "run_function",
                "code": str(code),
                "entry_script": "score.py",
                "append_row_to": "${{outputs.scores}}",
            },
            "runner": {} if is_text else {"output_format": "parquet", "part_size": "64kb"},
        }

    def restore(self) -> None:
        """Put everything back to where nothing was driven yet."""
        until = time.monotonic() + 5
        while self.live.exists():
            # A worker of a driver that was killed may write its last line.
            shutil.rmtree(self.live, ignore_errors=time.monotonic() < until)
        shutil.copytree(self._pristine, self.live)

    @property
    def journal(self) -> Path:
        return self.home / "jobs" / NAME / "journal"

    def see(self) -> dict[str, Any]:
        """What must be the same however the job came to its end, as JSON."""
        jobs = Jobs(Home(self.home), launch=lambda name: None)
        job = jobs.get(NAME)
        jobs.close()
        said = [record for record in replay(self.journal).records if isinstance(record, Committed)]
        failures = read_failures(Home(self.home).job(NAME))
        return {
            "status": str(job.status),
            "progress": [
                job.progress.done_mini_batch_count,
                job.progress.done_item_count,
                job.progress.failed_mini_batch_count,
                job.progress.failed_item_count,
            ],
            "committed": sorted(n for record in said for n in range(record.first, record.end)),
            "failures": [[one.mini_batch, one.row, str(one.cls), one.message] for one in failures],
            "output": self._text() if self.kind == "text" else self._rows(),
            "beside": self._beside(),
            "scratch": sorted(path.name for path in (self.home / "jobs" / NAME).glob("scratch/*/*")),
        }

    def _text(self) -> str:
        return (self.out / "scores.txt").read_text()

    def _rows(self) -> list[Any]:
        folder = self.out / "scores"
        rows: list[Any] = []
        listed = json.loads((folder / "_manifest.json").read_bytes())["parts"]
        names = [part["file"] for part in listed]
        assert sorted(names) == names, names
        assert {path.name for path in folder.iterdir()} == {*names, "_manifest.json"}, list(folder.iterdir())
        for part in listed:
            data = (folder / part["file"]).read_bytes()
            table = pq.read_table(pa.BufferReader(data))
            assert (part["rows"], part["bytes"]) == (table.num_rows, len(data)), part
            assert part["sha256"] == hashlib.sha256(data).hexdigest(), part
            rows += zip(table["id"].to_pylist(), table["seal"].to_pylist(), strict=True)
        return [[number, hashlib.sha256(seal.encode()).hexdigest()[:12]] for number, seal in rows]

    def _beside(self) -> list[str]:
        """The names beside the output: nothing of staging is left."""
        return sorted(path.name for path in self.out.iterdir())
