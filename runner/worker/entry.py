"""The user's script as a module: found, imported under a name of its own, and looked at for what it defines.

It is imported like any module, never as `__main__`, after `sys.argv`, `sys.path`, the environment and the working
directory are final. What it raises while it is imported is told with its own frames only.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from runner.errors import EntryInvalid
from runner.worker.blame import describe


@dataclass(frozen=True, slots=True)
class Entry:
    """What the script defines."""

    init: Callable[[], Any] | None
    run: Callable[..., Any]
    shutdown: Callable[[], Any] | None
    takes_context: bool


def prepare_path(script: str, code: str | None, shim: str) -> None:
    """Put the code folder first on `sys.path`, then the script's own folder, then the shim."""
    folders = [code] if code else []
    path = _script_path(script, code)
    if path is not None:
        folders.append(os.path.dirname(path))
    folders.append(shim)
    sys.path[:0] = list(dict.fromkeys(folders))


def load_entry(script: str, code: str | None) -> Entry:
    """Import the script and find its functions; EntryInvalid with the user's own traceback when that fails."""
    try:
        module = _import(script, code)
    except EntryInvalid:
        raise
    except BaseException as error:  # also SystemExit: a script that exits while it is imported is no script
        blame = describe(error)
        raise EntryInvalid(script, f"it cannot be imported: {blame.what}", blame.traceback) from error
    run = getattr(module, "run", None)
    if not callable(run):
        found = "defines no run" if run is None else f"defines run as {type(run).__name__}, not as a function"
        raise EntryInvalid(script, f"it {found}; write `def run(mini_batch): ...`", "")
    return Entry(
        init=_optional(module, script, "init"),
        run=run,
        shutdown=_optional(module, script, "shutdown"),
        takes_context=takes_context(run),
    )


def takes_context(run: Callable[..., Any]) -> bool:
    """Whether `run` has a second positional parameter, whatever its name."""
    try:
        parameters = inspect.signature(run).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(parameter.kind in positional for parameter in parameters) >= 2


def _optional(module: ModuleType, script: str, name: str) -> Callable[[], Any] | None:
    function = getattr(module, name, None)
    if function is None:
        return None
    if not callable(function):
        raise EntryInvalid(script, f"it defines {name} as {type(function).__name__}, not as a function", "")
    return function  # type: ignore[no-any-return] # any callable of the user's


def _script_path(script: str, code: str | None) -> str | None:
    """The script's file, or None when the entry is a dotted module."""
    path = os.path.normpath(os.path.join(code or os.getcwd(), script))
    if script.endswith(".py") or os.path.isfile(path):
        return path
    return None


def _import(script: str, code: str | None) -> ModuleType:
    path = _script_path(script, code)
    if path is None:
        return importlib.import_module(script)
    if not os.path.isfile(path):
        raise EntryInvalid(script, f"there is no such file in the code folder {code or os.getcwd()}", "")
    name = _module_name(path, code)
    if name not in sys.modules and _is_found_at(name, path):
        return importlib.import_module(name)
    return _import_file(path)


def _module_name(path: str, code: str | None) -> str:
    """`tasks/score.py` in the code folder is `tasks.score`, so that pickles and relative imports find it."""
    relative = os.path.relpath(path, code or os.getcwd())
    parts = os.path.splitext(relative)[0].split(os.sep)
    return ".".join(parts) if all(part.isidentifier() for part in parts) else ""


def _is_found_at(name: str, path: str) -> bool:
    if not name:
        return False
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None and os.path.realpath(spec.origin) == os.path.realpath(path)


def _import_file(path: str) -> ModuleType:
    """Import a file whose name is no module's, or is taken by another module (`types.py`)."""
    stem = os.path.splitext(os.path.basename(path))[0]
    name = (
        stem if stem.isidentifier() and stem not in sys.modules else f"entry_script_{zlib.crc32(os.fsencode(path)):08x}"
    )
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module
