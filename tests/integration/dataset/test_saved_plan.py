"""Plans survive on disk, and damage and changed input are told."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.dataset.saved_plan import check_unchanged, load_plan, save_plan
from runner.entity.plan import Plan, PlanFile, Unit
from runner.errors import InputChanged, InputUnreadable, StorageFailed

ODD = os.fsdecode(b"/data/\xff \xe9%20\n.png")


def _plan(*files: PlanFile) -> Plan:
    return Plan(
        kind="table",
        inputs=("data",),
        files=files,
        units=tuple(
            Unit(file=index, first_mini_batch=index, mini_batch_count=1, row_count=5) for index in range(len(files))
        ),
        mini_batch_count=len(files),
        item_count=5 * len(files),
        schema="c2NoZW1h",
        fingerprint="abc",
    )


def _file(path: str) -> PlanFile:
    return PlanFile(path=path, size_bytes=3, mtime_ns=5, row_count=5, rows_per_mini_batch=10, nullable=("a", "ö"))


paths = st.text(min_size=1).map(lambda text: "/" + text).filter(lambda text: "\0" not in text)


@given(st.lists(paths | st.binary(min_size=1, max_size=30).map(lambda name: "/" + os.fsdecode(name)), max_size=30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_a_plan_comes_back_as_it_was(tmp_path: Path, names: list[str]) -> None:
    plan = _plan(*map(_file, names))
    save_plan(plan, tmp_path / "plan")
    again = load_plan(tmp_path / "plan")
    assert again == plan
    assert again.unit_starts == plan.unit_starts


def test_many_files_come_back(tmp_path: Path) -> None:
    plan = _plan(*(_file(f"/data/{number}") for number in range(25_000)), _file(ODD))
    save_plan(plan, tmp_path / "plan")
    assert load_plan(tmp_path / "plan") == plan
    assert os.listdir(tmp_path) == ["plan"]


def test_every_cut_and_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "plan"
    save_plan(_plan(_file("/a"), _file("/b")), path)
    data = path.read_bytes()
    for end in range(0, len(data), 7):
        path.write_bytes(data[:end])
        with pytest.raises(InputUnreadable, match="the plan is damaged"):
            load_plan(path)
    for at in range(0, data.rindex(b"\n", 0, -1), 5):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(InputUnreadable, match="the plan is damaged"):
            load_plan(path)


def test_another_version_is_refused(tmp_path: Path) -> None:
    save_plan(replace(_plan(), version=99), tmp_path / "plan")
    with pytest.raises(InputUnreadable, match="version 99"):
        load_plan(tmp_path / "plan")


def test_a_plan_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputUnreadable, match=re.escape(str(tmp_path / "plan"))):
        load_plan(tmp_path / "plan")


def test_a_folder_that_is_not_there_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="the plan cannot be written"):
        save_plan(_plan(), tmp_path / "gone" / "plan")
    assert os.listdir(tmp_path) == []


class TestCheckUnchanged:
    def _planned(self, folder: Path) -> Plan:
        files = []
        for name in ("a", "b", "c"):
            path = folder / name
            path.write_text(name)
            info = path.stat()
            files.append(PlanFile(path=str(path), size_bytes=info.st_size, mtime_ns=info.st_mtime_ns))
        return _plan(*files)

    def test_the_same_files_pass(self, tmp_path: Path) -> None:
        check_unchanged(self._planned(tmp_path))

    def test_the_first_changed_file_is_named(self, tmp_path: Path) -> None:
        plan = self._planned(tmp_path)
        (tmp_path / "c").unlink()
        (tmp_path / "b").write_text("longer")
        with pytest.raises(InputChanged, match="/b has changed from 1 to 6 bytes since the job was planned"):
            check_unchanged(plan)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        plan = self._planned(tmp_path)
        (tmp_path / "c").unlink()
        with pytest.raises(InputChanged, match="/c is gone"):
            check_unchanged(plan)

    def test_a_file_written_again_with_the_same_size_is_named(self, tmp_path: Path) -> None:
        plan = self._planned(tmp_path)
        os.utime(tmp_path / "a", ns=(1, 1))
        with pytest.raises(InputChanged, match="/a was written to"):
            check_unchanged(plan)
