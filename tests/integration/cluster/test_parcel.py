"""How an actor knows whether it is apart, and what it is brought then."""

from __future__ import annotations

import os
from pathlib import Path

from runner.cluster.parcel import pack_folder, sees, sweep_probes, unpack_folder, write_probe


def test_a_probe_is_seen_in_the_same_folder_only(tmp_path: Path) -> None:
    probe = write_probe(tmp_path)
    assert sees(probe)
    Path(probe.path).write_text("another folder of the same name")
    assert not sees(probe)
    sweep_probes(tmp_path)
    assert not sees(probe)
    assert not list(tmp_path.iterdir())


def test_a_code_folder_arrives_as_it_is(tmp_path: Path) -> None:
    code = tmp_path / "code"
    (code / "package").mkdir(parents=True)
    (code / "score.py").write_text("def run(mini_batch): ...")
    (code / "package" / "tool.sh").write_text("#!/bin/sh\n")
    (code / "package" / "tool.sh").chmod(0o755)
    unpack_folder(pack_folder(code), tmp_path / "there")
    assert (tmp_path / "there" / "score.py").read_text() == "def run(mini_batch): ..."
    assert os.access(tmp_path / "there" / "package" / "tool.sh", os.X_OK)
