"""What git knows of the code of a job becomes its properties."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from runner.server.worktree import Worktrees, git_properties

ENVIRON = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.com",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.com",
}


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *words], env=ENVIRON, check=True, capture_output=True, text=True, timeout=30
    )
    return done.stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "src").mkdir(parents=True)
    (root / "src/main.py").write_text("1\n")
    git(root, "init", "-q", "-b", "tides/high")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "first")
    git(root, "remote", "add", "origin", "https://example.com/harbour.git")
    return root


def test_branch_commit_and_address_are_told_and_whether_anything_changed(tree: Path) -> None:
    expected = {
        "mlflow.source.git.repoURL": "https://example.com/harbour.git",
        "mlflow.source.git.branch": "tides/high",
        "mlflow.source.git.commit": git(tree, "rev-parse", "HEAD"),
        "azureml.git.dirty": "False",
    }
    assert git_properties(tree / "src", {}) == expected
    git(tree, "pack-refs", "--all")
    assert git_properties(tree / "src/main.py", {}) == expected
    (tree / "src/main.py").write_text("2\n")
    assert git_properties(tree / "src", {}) == {**expected, "azureml.git.dirty": "True"}


def test_a_commit_without_a_branch_and_a_linked_tree_are_known(tree: Path, tmp_path: Path) -> None:
    commit = git(tree, "rev-parse", "HEAD")
    git(tree, "worktree", "add", "-q", "-b", "low", str(tmp_path / "linked"))
    linked = git_properties(tmp_path / "linked/src", {})
    assert linked["mlflow.source.git.branch"] == "low"
    assert linked["mlflow.source.git.commit"] == commit
    assert linked["mlflow.source.git.repoURL"] == "https://example.com/harbour.git"
    git(tree, "checkout", "-q", "--detach")
    found = git_properties(tree, {})
    assert "mlflow.source.git.branch" not in found
    assert found["mlflow.source.git.commit"] == commit


@pytest.mark.parametrize(
    ("address", "is_told"),
    [
        ("git@example.com:harbour.git", True),
        ("ssh://git@example.com/harbour.git", True),
        ("https://token@example.com/harbour.git", False),
        ("https://user:secret@example.com/harbour.git", False),
        ("/srv/harbour.git", True),
    ],
)
def test_an_address_with_a_secret_in_it_is_left_out(tree: Path, address: str, is_told: bool) -> None:
    git(tree, "remote", "set-url", "origin", address)
    assert (git_properties(tree, {}).get("mlflow.source.git.repoURL") == address) is is_told


def test_variables_go_before_what_is_found(tree: Path, tmp_path: Path) -> None:
    said = {"AZUREML_GIT_BRANCH": "mine", "AZUREML_GIT_BUILD_ID": "7", "AZUREML_GIT_COMMIT": ""}
    found = git_properties(tree, said)
    assert (found["mlflow.source.git.branch"], found["azureml.git.build_id"]) == ("mine", "7")
    assert found["mlflow.source.git.commit"] == git(tree, "rev-parse", "HEAD")
    assert git_properties(tmp_path, {}) == {}


def test_a_damaged_tree_is_no_reason_to_fail(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/config").write_text("[[[\nnonsense")
    assert git_properties(tmp_path, {}) == {}
    (tmp_path / "file").mkdir()
    (tmp_path / "file/.git").write_text("gitdir: /nowhere/at/all")
    assert git_properties(tmp_path / "file", {}) == {}


def test_the_code_of_a_document_is_looked_at_by_its_kind_and_once_a_tree(tree: Path, tmp_path: Path) -> None:
    trees = Worktrees({})
    of_command = trees.properties({"command": "x", "code": "./tree/src"}, tmp_path)
    assert of_command["mlflow.source.git.branch"] == "tides/high"
    (tree / "src/main.py").write_text("2\n")
    task = {"code": str(tree), "entry_script": "src/main.py"}
    assert trees.properties({"type": "parallel", "task": task}, tmp_path) == of_command
    assert Worktrees({}).properties({"task": task}, tmp_path)["azureml.git.dirty"] == "True"
    for document in ({"command": "x"}, {"code": "azureml:a:1"}, {"code": "./elsewhere"}, {"task": {}}):
        assert trees.properties(document, tmp_path) == {}
