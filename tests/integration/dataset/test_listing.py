"""What is listed, in which order, and what is refused by name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from runner.dataset.listing import list_files, list_table, shown
from runner.errors import EmptyInput, InputUnreadable


def _write(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(name))


def _below(root: Path, listed: list[str]) -> list[str]:
    return [os.path.relpath(path, root) for path in listed]


def _files(root: Path) -> list[str]:
    return _below(root, [file.path for file in list_files(str(root))])


def _table(root: Path) -> list[str]:
    return _below(root, [file.path for file in list_table(str(root))])


def test_files_come_in_the_byte_order_of_whole_relative_paths(tmp_path: Path) -> None:
    names = ["a/b", "a.b", "a-b", "B", "a/a/c", "é", "a b", "a%20b", "10", "9"]
    _write(tmp_path, *names)
    assert _files(tmp_path) == sorted(names, key=os.fsencode)


def test_sizes_and_times_are_those_of_the_files(tmp_path: Path) -> None:
    _write(tmp_path, "abc")
    (file,) = list_files(str(tmp_path))
    info = (tmp_path / "abc").stat()
    assert (file.size_bytes, file.mtime_ns) == (3, info.st_mtime_ns)


def test_names_that_are_no_utf8_survive_and_can_be_shown(tmp_path: Path) -> None:
    odd = os.fsdecode(b"x\xff\xfe.png")
    _write(tmp_path, odd, "x.png")
    assert _files(tmp_path) == ["x.png", odd]
    assert shown(odd) == "x\\xff\\xfe.png"


def test_hidden_names_and_markers_are_skipped(tmp_path: Path) -> None:
    _write(tmp_path, ".hidden", ".git/config", "_SUCCESS", "_SUCCESS.txt", "_part", "_tmp/file", "kept")
    assert _files(tmp_path) == ["_SUCCESS.txt", "_part", "_tmp/file", "kept"]
    assert _table(tmp_path) == ["kept"]


def test_a_single_file_is_its_own_listing(tmp_path: Path) -> None:
    _write(tmp_path, "_one")
    assert [file.path for file in list_files(str(tmp_path / "_one"))] == [str(tmp_path / "_one")]


def test_relative_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, "data/one")
    monkeypatch.chdir(tmp_path)
    assert [file.path for file in list_files("data/")] == [str(tmp_path / "data" / "one")]


def test_links_are_followed(tmp_path: Path) -> None:
    _write(tmp_path, "outside/one", "outside/deep/two", "data/three")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "data" / "again").symlink_to(tmp_path / "outside" / "one")
    assert _files(tmp_path / "data") == ["again", "link/deep/two", "link/one", "three"]


def test_a_loop_of_links_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _write(tmp_path, "data/deep/one")
    (tmp_path / "data" / "deep" / "up").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "self").symlink_to(tmp_path / "data")
    assert _files(tmp_path / "data") == ["deep/one"]
    assert "links to a folder that it stands in" in caplog.text


def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    _write(tmp_path, "one")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    with pytest.raises(InputUnreadable, match="dangling cannot be read: it is a link to nothing"):
        list_files(str(tmp_path))


def test_what_is_neither_file_nor_folder_is_skipped_with_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _write(tmp_path, "one")
    os.mkfifo(tmp_path / "pipe")
    assert _files(tmp_path) == ["one"]
    assert "pipe is skipped" in caplog.text
    with pytest.raises(InputUnreadable, match="neither a file nor a folder"):
        list_files(str(tmp_path / "pipe"))


@pytest.mark.parametrize("lister", [list_files, list_table])
def test_missing_and_empty_folders_are_empty_inputs(tmp_path: Path, lister: type) -> None:
    with pytest.raises(EmptyInput, match=r"input 'data': .*/gone does not exist"):
        lister(str(tmp_path / "gone"), input_name="data")
    _write(tmp_path, "folder/.hidden")
    with pytest.raises(EmptyInput, match=r"input 'data': .*/folder has no files"):
        lister(str(tmp_path / "folder"), input_name="data")


def test_deep_folders_are_no_problem(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 1_200)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1_200):
        os.mkdir("d", dir_fd=descriptor)
        below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(os.open("one", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)
    try:
        assert [file.path for file in list_files(str(tmp_path))] == [str(deep / "one")]
    finally:
        (deep / "one").unlink()
        os.removedirs(deep)
        tmp_path.mkdir(exist_ok=True)


class TestManifest:
    def _manifest(self, folder: Path, text: str) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "_manifest.json").write_text(text)

    def test_only_what_it_names_is_read(self, tmp_path: Path) -> None:
        _write(tmp_path, "part-00000", "k=1/part-00000", "stray")
        parts = [{"file": name, "rows": 1, "bytes": 1, "sha256": ""} for name in ("part-00000", "k=1/part-00000")]
        self._manifest(tmp_path, json.dumps({"version": 1, "parts": parts}))
        assert _table(tmp_path) == ["k=1/part-00000", "part-00000"]
        assert _files(tmp_path) == ["k=1/part-00000", "part-00000"]

    def test_a_part_that_is_missing_is_named(self, tmp_path: Path) -> None:
        self._manifest(tmp_path, '{"version": 1, "parts": [{"file": "part-00000"}]}')
        with pytest.raises(InputUnreadable, match="part-00000 cannot be read: the manifest beside it names it"):
            list_table(str(tmp_path))

    def test_a_part_outside_is_refused(self, tmp_path: Path) -> None:
        for name in ("../secret", "/etc/passwd"):
            self._manifest(tmp_path, json.dumps({"version": 1, "parts": [{"file": name}]}))
            with pytest.raises(InputUnreadable, match="not below its folder"):
                list_files(str(tmp_path))

    def test_another_version_is_refused(self, tmp_path: Path) -> None:
        self._manifest(tmp_path, '{"version": 2, "parts": []}')
        with pytest.raises(InputUnreadable, match="version 2"):
            list_files(str(tmp_path))

    def test_one_that_is_no_json_is_refused(self, tmp_path: Path) -> None:
        self._manifest(tmp_path, '{"version": 1, "par')
        with pytest.raises(InputUnreadable, match=r"_manifest\.json cannot be read"):
            list_files(str(tmp_path))

    def test_a_file_of_that_name_that_is_no_manifest_of_parts_is_skipped(self, tmp_path: Path) -> None:
        _write(tmp_path, "one")
        self._manifest(tmp_path, '{"entries": []}')
        assert _files(tmp_path) == ["one"]


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("_delta_log/0.json", "a Delta table"),
        ("metadata/v1.metadata.json", "an Iceberg table"),
    ],
)
def test_tables_that_are_more_than_their_files_are_refused(tmp_path: Path, name: str, what: str) -> None:
    _write(tmp_path, "data/part.parquet", f"data/{name}")
    with pytest.raises(InputUnreadable, match=f"data cannot be read: it holds {what}.*plain Parquet"):
        list_table(str(tmp_path))
    assert "data/part.parquet" in _files(tmp_path)


def test_an_mltable_file_is_no_data_of_its_table(tmp_path: Path) -> None:
    _write(tmp_path, "MLTable", "x.csv")
    assert [file.path for file in list_table(str(tmp_path))] == [f"{tmp_path}/x.csv"]
