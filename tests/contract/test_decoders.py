"""Where several threads may read, types are known to msgspec before the first of them does.

msgspec builds what it knows of a dataclass or a struct when it first decodes one; a second thread that decodes the same
type at that moment uses it half built, and the process dies of a segmentation fault.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

RUNNER = Path(__file__).parents[2] / "runner"
ROOMS = ("client", "dataset", "pipeline", "server", "store")
PLAIN = {"dict", "list", "tuple", "str", "int", "float", "bool", "object", "Any"}


@pytest.mark.parametrize("room", ROOMS)
def test_decoders_of_own_types_are_made_by_the_module(room: str) -> None:
    late = [
        f"{path.relative_to(RUNNER)}:{call.lineno}"
        for path in sorted((RUNNER / room).rglob("*.py"))
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and is_late(call)
    ]
    assert not late, f"make these decoders where the module begins: {late}"


def is_late(call: ast.Call) -> bool:
    """Whether a call makes msgspec look at a type that is not plain."""
    what = ast.unparse(call.func)
    if what in ("msgspec.json.decode", "msgspec.convert"):
        types = [keyword.value for keyword in call.keywords if keyword.arg == "type"]
    elif what == "msgspec.json.Decoder":
        types = call.args
    else:
        return False
    return any(isinstance(node, ast.Name) and node.id not in PLAIN for one in types for node in ast.walk(one))
