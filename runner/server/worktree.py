"""Where code came from: branch, commit and address of the git work tree that it lies in, as properties of its job.

Branch, commit and address are read from git's own files; git itself is asked only whether anything has changed.
"""

from __future__ import annotations

import configparser
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from runner.spec.paths import absolute, is_local

_PATIENCE_S = 2.0
_SAID = {
    "AZUREML_GIT_REPOSITORY_URI": "mlflow.source.git.repoURL",
    "AZUREML_GIT_BRANCH": "mlflow.source.git.branch",
    "AZUREML_GIT_COMMIT": "mlflow.source.git.commit",
    "AZUREML_GIT_DIRTY": "azureml.git.dirty",
    "AZUREML_GIT_BUILD_ID": "azureml.git.build_id",
    "AZUREML_GIT_BUILD_URI": "azureml.git.build_uri",
}
"""Variables of the submitter that go before what is found."""


class Worktrees:
    """The work trees that the code of one submission lies in, each looked at once."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._known: dict[Path, dict[str, str]] = {}

    def properties(self, document: Mapping[str, Any], base: Path) -> dict[str, str]:
        """The properties of a command or parallel job: what git knows of its code; none when it has none."""
        task = document.get("task")
        code = (task if isinstance(task, Mapping) else document).get("code")
        if not isinstance(code, str) or not is_local(code):
            return {}
        folder = Path(absolute(code, base))
        root = next((above for above in (folder, *folder.parents) if (above / ".git").exists()), None)
        if root is None:
            return {}
        if root not in self._known:
            self._known[root] = git_properties(root, self._environ)
        return self._known[root]


def git_properties(code: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """What git knows of the code, and what the environment says of it; nothing outside of a work tree."""
    found = {}
    root = next((folder for folder in (code, *code.parents) if (folder / ".git").exists()), None)
    if root is not None:
        folder = _git_folder(root / ".git")
        shared = _shared(folder)
        branch, commit = _head(folder, shared)
        known = {
            "mlflow.source.git.repoURL": _address(shared),
            "mlflow.source.git.branch": branch,
            "mlflow.source.git.commit": commit,
            "azureml.git.dirty": _is_dirty(root),
        }
        found = {name: value for name, value in known.items() if value}
    return found | {name: environ[said] for said, name in _SAID.items() if environ.get(said)}


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _git_folder(mark: Path) -> Path:
    """The folder itself, or the one that a file of that name leads to, as in linked work trees."""
    if mark.is_dir():
        return mark
    return Path(os.path.normpath(mark.parent / _text(mark).removeprefix("gitdir:").strip()))


def _shared(folder: Path) -> Path:
    """What a linked work tree shares with the others."""
    common = _text(folder / "commondir")
    return Path(os.path.normpath(folder / common)) if common else folder


def _head(folder: Path, shared: Path) -> tuple[str, str]:
    """The branch, empty when there is none, and the commit."""
    head = _text(folder / "HEAD")
    if not head.startswith("ref:"):
        return "", head
    name = head.removeprefix("ref:").strip()
    commit = _text(folder / name) or _text(shared / name)
    if not commit:
        lines = [line.split() for line in _text(shared / "packed-refs").splitlines()]
        commit = next((line[0] for line in lines if len(line) == 2 and line[1] == name), "")
    return name.removeprefix("refs/heads/"), commit


def _address(shared: Path) -> str:
    """Where the tree was cloned from; nothing when the address holds a password or a token."""
    config = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        config.read_string(_text(shared / "config"))
    except configparser.Error:
        return ""
    address = config.get('remote "origin"', "url", fallback="") or ""
    try:
        user = urlsplit(address)
        return "" if user.password or (user.username and user.scheme in ("http", "https")) else address
    except ValueError:
        return ""


def _is_dirty(root: Path) -> str:
    """`True` or `False`; empty when git cannot say so soon."""
    command = ["git", "-C", str(root), "status", "--porcelain", "--untracked-files=no"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return str(bool(done.stdout.strip())) if done.returncode == 0 else ""
