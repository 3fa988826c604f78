"""Code is kept once for each content, read-only, and never half."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runner.errors import SpecInvalid, StorageFailed
from runner.spec.code_trees import pin_code, pin_document_code


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    (folder / "deep/er").mkdir(parents=True)
    (folder / "main.sh").write_text("echo\n")
    (folder / "main.sh").chmod(0o755)
    (folder / "deep/er/one.txt").write_text("one")
    (folder / "notes.log").write_text("left out")
    (folder / ".amlignore").write_text("*.log\n")
    return folder


@pytest.fixture
def trees(home: Path) -> Path:
    return home / "code"


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_tree_is_a_read_only_copy_without_what_is_ignored(code: Path, trees: Path, home: Path) -> None:
    tree = pin_code(code, trees, home=home)
    assert tree.path == trees / tree.digest
    assert files(tree.path) == [".amlignore", "deep/er/one.txt", "main.sh"]
    assert stat.S_IMODE((tree.path / "main.sh").stat().st_mode) == 0o555
    assert stat.S_IMODE((tree.path / "deep/er/one.txt").stat().st_mode) == 0o444
    assert stat.S_IMODE((tree.path / "deep").stat().st_mode) & 0o200, "its owner can remove it"
    (code / "deep/er/one.txt").write_text("two")
    assert (tree.path / "deep/er/one.txt").read_text() == "one"


def test_the_same_content_is_the_same_tree_wherever_and_whenever(code: Path, trees: Path, tmp_path: Path) -> None:
    first = pin_code(code, trees, home=None)
    untouched = trees.stat().st_mtime_ns
    os.utime(code / "main.sh", (1, 1))
    (code / "notes.log").write_text("changed, but left out")
    assert pin_code(code, trees, home=None) == first
    moved = code.rename(tmp_path / "moved")
    assert pin_code(moved, trees, home=None) == first
    assert trees.stat().st_mtime_ns == untouched, "nothing is copied when it is there already"
    assert os.listdir(trees) == [first.digest]


def test_names_bytes_and_the_right_to_execute_count(code: Path, trees: Path) -> None:
    first = pin_code(code, trees, home=None).digest
    (code / "main.sh").chmod(0o644)
    seen = {first, pin_code(code, trees, home=None).digest}
    (code / "main.sh").chmod(0o755)
    assert pin_code(code, trees, home=None).digest == first
    (code / "main.sh").write_text("echo 2\n")
    seen.add(pin_code(code, trees, home=None).digest)
    (code / "main.sh").rename(code / "other.sh")
    seen.add(pin_code(code, trees, home=None).digest)
    assert len(seen) == len(os.listdir(trees)) == 4


def test_two_submissions_at_once_make_one_whole_tree(code: Path, trees: Path) -> None:
    for number in range(100):
        (code / f"{number}.txt").write_text(str(number))
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: pin_code(code, trees, home=None), range(8)))
    assert len(set(made)) == 1
    assert os.listdir(trees) == [made[0].digest]
    assert len(files(made[0].path)) == 103


def test_a_link_is_kept_as_what_it_leads_to(code: Path, trees: Path, tmp_path: Path) -> None:
    (tmp_path / "beside.txt").write_text("beside")
    (code / "link.txt").symlink_to(tmp_path / "beside.txt")
    (code / "nowhere.txt").symlink_to(tmp_path / "nowhere")
    tree = pin_code(code, trees, home=None)
    assert "nowhere.txt" not in files(tree.path)
    assert not (tree.path / "link.txt").is_symlink()
    assert (tree.path / "link.txt").read_text() == "beside"


def test_a_home_inside_the_code_stays_out(code: Path) -> None:
    home = code / ".home"
    first = pin_code(code, home / "code", home=home)
    assert pin_code(code, home / "code", home=home) == first


def test_one_file_some_files_and_more_folders(code: Path, trees: Path, tmp_path: Path) -> None:
    assert files(pin_code(code / "main.sh", trees, home=None).path) == ["main.sh"]
    assert files(pin_code(code, trees, home=None, only=("deep/er/one.txt",)).path) == ["deep/er/one.txt"]
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/tool.py").write_text("x")
    (tmp_path / "main.sh").write_text("the code itself goes before what is put beside it")
    more = (tmp_path / "shared", tmp_path / "main.sh")
    tree = pin_code(code, trees, home=None, includes=more)
    assert files(tree.path) == [".amlignore", "deep/er/one.txt", "main.sh", "shared/tool.py"]
    assert (tree.path / "main.sh").read_text() == "echo\n"
    assert files(pin_code(None, trees, home=None, includes=more).path) == ["main.sh", "shared/tool.py"]


def test_a_disk_that_says_no_leaves_nothing_behind(code: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageFailed):
        pin_code(code / "missing", tmp_path / "trees", home=None)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailed, match="file"):
        pin_code(code, tmp_path / "file/trees", home=None)
    assert not (tmp_path / "trees").exists()


def test_the_code_of_a_document_is_found_by_its_kind(code: Path, trees: Path, tmp_path: Path) -> None:
    (code / "score.py").write_text("def run(mini_batch): return []\n")

    def pinned(document: dict[str, object]) -> list[str] | None:
        tree = pin_document_code(document, tmp_path, trees, home=None)
        return None if tree is None else files(tree.path)

    everything = [".amlignore", "deep/er/one.txt", "main.sh", "score.py"]
    assert pinned({"type": "command", "command": "x", "code": "./code"}) == everything
    assert pinned({"command": "x"}) is None
    assert pinned({"command": "x", "additional_includes": ["./code/deep"]}) == ["deep/er/one.txt"]
    assert pinned({"type": "parallel", "task": {"code": "code", "entry_script": "score.py"}}) == everything
    assert pinned({"type": "parallel", "task": {"entry_script": "code/score.py"}}) == ["score.py"]
    assert pinned({"type": "parallel", "task": {"entry_script": "json.tool"}}) is None
    with pytest.raises(SpecInvalid, match=r"code leads to .*/no, and there is nothing"):
        pinned({"command": "x", "code": "no"})
    with pytest.raises(SpecInvalid, match=r"there is no file .*/code/no.py"):
        pinned({"type": "parallel", "task": {"code": "code", "entry_script": "no.py"}})
