"""What a record of the journal depends on is on disk before the record is: each fsync of the driver is written down."""

from __future__ import annotations

import os
from pathlib import Path

from cli_kit import Bench

from runner.schedule.journal import Begun, Committed, Mended, decode

RECORDER = """
import os

def recorded(own):
    def sync(fd):
        own(fd)
        number = fd if isinstance(fd, int) else fd.fileno()
        line = f"{os.fstat(number).st_size} {os.readlink(f'/proc/self/fd/{number}')}\\n"
        log = os.open(os.environ["SYNCS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(log, line.encode())
        os.close(log)
    return sync

os.fsync, os.fdatasync = recorded(os.fsync), recorded(os.fdatasync)
"""
SCORE = """\
import os
import signs

def run(mini_batch):
    name = os.path.basename(mini_batch[0])
    if name in ("001.txt", "004.txt") and not signs.is_given("good"):
        raise ValueError(name)
    return [name]
"""


def syncs_of(log: Path) -> list[tuple[str, int]]:
    """Path and size at each fsync, in order."""
    return [(path, int(size)) for size, _, path in (line.partition(" ") for line in log.read_text().splitlines())]


def test_everything_that_a_record_names_is_durable_before_it(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(RECORDER)
    log = tmp_path / "syncs"
    environment = {"PYTHONPATH": str(tmp_path / "site"), "SYNCS": str(log)}
    bench.script(SCORE)
    bench.files(6)
    job = bench.job()
    assert bench.run("submit", job, "--name", "probe", env=environment).code == 0
    bench.give("good")
    mended = tmp_path / "mended"
    mended.mkdir()
    for name in ("signs.py", "score.py"):
        (mended / name).write_text((bench.code / name).read_text())
    assert bench.run("redrive", "probe", "--code", mended, env=environment).code == 0

    folder = bench.home / "jobs" / "probe"
    syncs = syncs_of(log)
    journal = str(folder / "journal")
    staging = str(bench.target.parent / f".{bench.target.name}.probe.staging")

    def seen_before(record_end: int) -> dict[str, int]:
        """The files that were durable, with their sizes, when this much of the journal became so."""
        at = next(i for i, (path, size) in enumerate(syncs) if path == journal and size >= record_end)
        return dict(syncs[:at])

    kinds = []
    with open(journal, "rb") as file:
        for record, end in decode(file):
            before = seen_before(end)
            kinds.append(type(record))
            if isinstance(record, Begun):
                wanted = {folder.parent, folder, folder / "spec.json", folder / "code" / "score.py"}
                assert {str(path) for path in wanted} <= set(before)
                # It is written under another name.
                assert any(os.path.dirname(path) == str(folder) and "plan" in os.path.basename(path) for path in before)
            if isinstance(record, Committed | Mended):
                assert before.get(str(folder / "failures.jsonl"), 0) >= record.failures_end
            if isinstance(record, Committed | Mended) and record.part:
                assert before[os.path.join(staging, record.part)] == record.size
                assert staging in before and os.path.dirname(staging) in before
            if isinstance(record, Mended):
                assert str(folder / "redrive.json") in before or str(folder / "redrive.new") in before
                assert any(path.startswith(str(folder / "code.2" / "score.py")) for path in before)
    assert Mended in kinds and Committed in kinds
