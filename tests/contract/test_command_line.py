"""What every verb has in common: JSON for programs, `--server`, and a body that only parses, calls and renders."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import click
import pytest

from runner.cli.main import SHORT, VERBS, cli

SILENT = {"cancel", "archive", "restore", "delete", "watch", "download", "serve"}
"""Verbs that have nothing to print for a program but what their names say, or paths."""
HEAVY = ("ray", "pyarrow", "grpc", "pandas", "numpy", "rich", "yaml", "sqlite3")


def commands(group: click.Group = cli, above: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command by its words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{above}{name} ")
        else:
            yield f"{above}{name}", command


COMMANDS = dict(commands())


@pytest.mark.parametrize("words", sorted(COMMANDS.keys() - SILENT))
def test_a_verb_that_tells_something_tells_it_in_json_too(words: str) -> None:
    (output,) = [p for p in COMMANDS[words].params if "--output" in p.opts]
    assert isinstance(output.type, click.Choice) and "json" in output.type.choices


@pytest.mark.parametrize("words", sorted(COMMANDS.keys() - {"serve"}))
def test_a_verb_works_through_a_service(words: str) -> None:
    assert any("--server" in param.opts for param in COMMANDS[words].params)


@pytest.mark.parametrize("words", sorted(COMMANDS))
def test_a_verb_is_short_and_says_what_it_does(words: str) -> None:
    callback = COMMANDS[words].callback
    assert callback is not None
    (function,) = ast.parse(textwrap.dedent(inspect.getsource(callback))).body
    assert isinstance(function, ast.FunctionDef) and function.end_lineno is not None
    assert function.end_lineno - function.lineno < 40
    assert (COMMANDS[words].help or "").strip().endswith(".")


def test_every_verb_has_a_short_help() -> None:
    assert VERBS.keys() == SHORT.keys()


def test_help_loads_nothing_heavy() -> None:
    code = "import sys\nfrom runner.cli.main import main\nmain(['--help'])\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert not loaded & {*HEAVY}
