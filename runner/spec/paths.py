"""Which values of a document are local paths, and how they become absolute or relative again."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
DATASTORE = re.compile(r"azureml://(?:subscriptions/.*?/)?datastores/([^/]+)(?:/paths(?:/(.*))?)?", re.DOTALL)


def is_local(path: object) -> bool:
    """Whether a value is a path on this machine, rather than a URI or a registered name."""
    return (
        isinstance(path, str)
        and bool(path)
        and not _SCHEME.match(path)
        and not path.startswith(("azureml:", "git+", "${{"))
    )


def plain_path(path: str) -> str:
    """`file:///data` and `azureml:./data` (as other tools write relative paths) without their prefix."""
    if path.startswith("file://"):
        return path.removeprefix("file://")
    rest = path.removeprefix("azureml:")
    return rest if rest.startswith(("./", "../", "/")) and not rest.startswith("//") else path


def absolute(path: str, base: Path) -> str:
    """The absolute path, `..` resolved by name only, so that links stay as the user wrote them."""
    return os.path.normpath(os.path.join(os.path.abspath(base), path))


def absolute_paths(document: dict[str, Any], base: Path) -> dict[str, Any]:
    """The document with its local paths made absolute against `base`."""
    return _each_path(document, lambda path: absolute(path, base))


def portable_paths(document: dict[str, Any], base: Path, folder: Path | None) -> dict[str, Any]:
    """The document with paths below `folder` relative to it, and all others absolute."""

    def move(path: str) -> str:
        whole = absolute(path, base)
        if folder is None:
            return whole
        inside = os.path.relpath(whole, os.path.abspath(folder))
        return whole if inside.startswith("..") else f"./{inside}" if inside != "." else "."

    return _each_path(document, move)


def _each_path(document: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    result = dict(document)
    for side in ("inputs", "outputs"):
        if isinstance(items := document.get(side), dict):
            result[side] = {name: _with(item, ("path",), change) for name, item in items.items()}
    match str(document.get("type") or "command").lower():
        case "command":
            result = _command_paths(result, change)
        case "parallel" if isinstance(task := document.get("task"), dict):
            result["task"] = _task_paths(task, change)
        case "pipeline" if isinstance(jobs := document.get("jobs"), dict):
            result["jobs"] = {
                name: _each_path(step, change) if isinstance(step, dict) else step for name, step in jobs.items()
            }
    component = document.get("component")
    if isinstance(component, dict):
        result["component"] = _each_path(component, change)
    elif isinstance(component, str):
        result["component"] = _with({"path": component.strip().removeprefix("file:")}, ("path",), change)["path"]
    return result


def _command_paths(document: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    result = _environment_paths(_with(document, ("code",), change), change)
    if isinstance(includes := document.get("additional_includes"), list):
        result["additional_includes"] = [_with({"path": item}, ("path",), change)["path"] for item in includes]
    return result


def _task_paths(task: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    result = _with(task, ("code",), change)
    script = task.get("entry_script")
    if "code" not in task and isinstance(script, str) and script.endswith(".py"):
        result = _with(result, ("entry_script",), change)
    return _environment_paths(result, change)


def _environment_paths(document: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    environment = document.get("environment")
    if not isinstance(environment, dict):
        return document
    return {**document, "environment": _with(_with(environment, ("conda_file",), change), ("build", "path"), change)}


def _with(value: Any, at: tuple[str, ...], change: Callable[[str], str]) -> Any:
    """A copy of the mapping with the path at that place changed, when there is one and it is local."""
    if not isinstance(value, dict):
        return value
    inner = value.get(at[0])
    if len(at) > 1:
        return {**value, at[0]: _with(inner, at[1:], change)} if isinstance(inner, dict) else dict(value)
    if isinstance(inner, str):
        inner = plain_path(inner)
        return {**value, at[0]: change(inner) if is_local(inner) else inner}
    return dict(value)
