"""The entry script, looked at without running it: is it there, does it parse, does it define `run`."""

from __future__ import annotations

import ast
import functools
import importlib.util
import os
import traceback
from dataclasses import dataclass
from pathlib import Path

from runner.errors import Problem
from runner.spec.paths import absolute


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """Where the entry script is: its file, and the folder it is imported from; no file for an installed module."""

    root: Path
    file: Path | None


class ScriptMissing(ValueError):
    """The entry script is not where it should be; the message says what was looked for."""


def find_script(code: Path | None, entry_script: str, base: Path) -> Script:
    """Find the script below the code folder (which may be the one file itself), or, without one, below `base`.

    Raises:
        ScriptMissing: there is none, or it lies outside.
    """
    if code is not None and code.is_file():
        if os.path.normpath(entry_script) != code.name:
            raise ScriptMissing(f"code is the one file {code}, so it must be {code.name}")
        return Script(root=code.parent, file=code)
    root = code if code is not None else base
    if not entry_script.endswith(".py"):
        return _find_module(root, entry_script, code is not None)
    # By name only: a link in the code folder may point anywhere, its content is what is snapshotted.
    file = Path(absolute(entry_script, root))
    if code is None:
        if not file.is_file():
            raise ScriptMissing(f"there is no file {file}")
        return Script(root=file.parent, file=file)
    if not file.is_relative_to(absolute(".", root)):
        raise ScriptMissing(f"{file} lies outside the code folder {root}")
    if not file.is_file():
        raise ScriptMissing(f"there is no file {file}")
    return Script(root=root, file=file)


def _find_module(root: Path, name: str, is_code: bool) -> Script:
    steps = name.split(".")
    if not all(step.isidentifier() for step in steps):
        raise ScriptMissing(f"{name!r} is neither a .py file nor a dotted module")
    place = root.joinpath(*steps)
    for file in (place.with_suffix(".py"), place / "__init__.py"):
        if file.is_file():
            return Script(root=root, file=file)
    # The top package is looked for, never the module itself: that would import its parents.
    if importlib.util.find_spec(steps[0]) is None:
        where = f"{root} has no {'/'.join(steps)}.py" if is_code else f"{place.with_suffix('.py')} is not there"
        raise ScriptMissing(f"{where}, and no package {steps[0]!r} is installed")
    return Script(root=root, file=None)


def check_script(file: Path, shown: str) -> Problem | None:
    """What is wrong with a script that can be seen without importing it: syntax, or no `run`."""
    try:
        text = file.read_bytes()
    except OSError as error:
        return Problem(file=shown, line=0, path="task.entry_script", what=f"cannot be read: {error.strerror}")
    return _check_text(text, shown)


@functools.lru_cache(maxsize=16)
def _check_text(text: bytes, shown: str) -> Problem | None:
    """The same for what a script says; steps of a pipeline share few scripts, and parsing one takes milliseconds."""
    try:
        tree = ast.parse(text, filename=shown)
    except SyntaxError as error:
        told = "".join(traceback.format_exception_only(error)).rstrip()
        return Problem(
            file=shown, line=error.lineno or 0, path="task.entry_script", what=f"the entry script is not Python\n{told}"
        )
    except ValueError as error:
        return Problem(file=shown, line=0, path="task.entry_script", what=f"the entry script is not Python: {error}")
    if _may_define(tree, "run"):
        return None
    return Problem(
        file=shown,
        line=0,
        path="task.entry_script",
        what="the entry script has no function run",
        remedy="define `def run(mini_batch):` that returns a list or a frame",
    )


def _may_define(tree: ast.Module, name: str) -> bool:
    """Whether importing the module can bind `name`; in doubt yes, since the worker looks again after the import."""
    dynamic = any(
        (isinstance(node, ast.Global) and name in node.names)
        or (isinstance(node, ast.Name) and node.id in ("globals", "exec", "eval", "vars", "setattr"))
        for node in ast.walk(tree)
    )
    return dynamic or any(_binds(node, name) for node in _module_level(tree))


def _module_level(node: ast.AST) -> list[ast.AST]:
    """All nodes that run when the module is imported: everything but the insides of functions and classes."""
    nodes: list[ast.AST] = []
    for child in ast.iter_child_nodes(node):
        nodes.append(child)
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            nodes.extend(_module_level(child))
    return nodes


def _binds(node: ast.AST, name: str) -> bool:
    match node:
        case ast.FunctionDef(name=bound) | ast.AsyncFunctionDef(name=bound) | ast.ClassDef(name=bound):
            return bound in (name, "__getattr__")
        case ast.Name(id=bound, ctx=ast.Store()):
            return bound == name
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            return any((alias.asname or alias.name) in (name, "*") for alias in aliases)
    return False
