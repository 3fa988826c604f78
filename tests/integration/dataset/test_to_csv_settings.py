"""`parallel_run_step.settings.json`: what it may say, and how a wrong one is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.dataset.settings import SETTINGS_FILE, read_settings
from runner.errors import ArgumentInvalid


def _write(folder: Path, settings: object) -> Path:
    (folder / SETTINGS_FILE).write_text(settings if isinstance(settings, str) else json.dumps(settings))
    return folder


def test_without_the_file_there_are_no_settings(tmp_path: Path) -> None:
    assert read_settings(tmp_path) == {}


def test_the_arguments_of_to_csv_are_found(tmp_path: Path) -> None:
    arguments = {"sep": ",", "index": True, "float_format": "%.3f", "columns": ["b"]}
    assert read_settings(_write(tmp_path, {"append_row": {"pandas.DataFrame.to_csv": arguments}})) == arguments
    assert read_settings(_write(tmp_path, "\ufeff" + json.dumps({"append_row": {}, "other": 1}))) == {}


@pytest.mark.parametrize("name", ["path_or_buf", "mode", "header", "compression", "encoding"])
def test_what_the_runner_decides_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArgumentInvalid) as caught:
        read_settings(_write(tmp_path, {"append_row": {"pandas.DataFrame.to_csv": {name: "x"}}}))
    assert f"{SETTINGS_FILE}: {name!r} may not be set" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("{", "is no JSON"),
        ([1], "must be a mapping"),
        ({"append_row": 1}, "must be a mapping"),
        ({"append_row": {"pandas.DataFrame.to_csv": ["sep"]}}, "must be a mapping"),
        ({"append_row": {"pandas.DataFrame.to_csv": {"seperator": ","}}}, "'seperator' is no argument"),
        ({"append_row": {"pandas.DataFrame.to_csv": {"sep": "ab"}}}, "does not take these arguments"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path: Path, settings: object, said: str) -> None:
    with pytest.raises(ArgumentInvalid) as caught:
        read_settings(_write(tmp_path, settings))
    assert SETTINGS_FILE in str(caught.value)
    assert said in str(caught.value)
