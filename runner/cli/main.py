"""The door: `runner VERB ...`, one message for every error, documented exit codes.

Exit codes: 0 completed, 1 the job failed or a redrive left something open, 2 the job or the command line is invalid,
3 cluster, server or driver cannot be reached, 130 cancelled.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from runner import __version__
from runner.cli.render import say
from runner.errors import MEANINGS, RunnerError

VERBS = {
    "submit": ("runner.cli.submit", "submit"),
    "validate": ("runner.cli.submit", "validate"),
    "preview": ("runner.cli.preview", "preview"),
    "list": ("runner.cli.reading", "list_jobs"),
    "show": ("runner.cli.reading", "show"),
    "steps": ("runner.cli.steps", "steps"),
    "graph": ("runner.cli.steps", "graph"),
    "watch": ("runner.cli.submit", "watch"),
    "logs": ("runner.cli.reading", "logs"),
    "cancel": ("runner.cli.submit", "cancel"),
    "resume": ("runner.cli.submit", "resume"),
    "failures": ("runner.cli.failing", "failures"),
    "redrive": ("runner.cli.failing", "redrive"),
    "download": ("runner.cli.reading", "download"),
    "update": ("runner.cli.changing", "update"),
    "archive": ("runner.cli.changing", "archive"),
    "restore": ("runner.cli.changing", "restore"),
    "delete": ("runner.cli.submit", "delete"),
    "data": ("runner.cli.assets", "data"),
    "component": ("runner.cli.assets", "component"),
    "publish": ("runner.cli.publishing", "publish"),
    "published": ("runner.cli.publishing", "published"),
    "serve": ("runner.cli.serve", "serve"),
}
"""Verb to the module and the command in it: loaded when asked for, so that `runner --help` stays quick."""

SHORT = {
    "submit": "Run a job and watch it to its end.",
    "validate": "Check a job file, its code and its data, and run nothing.",
    "preview": "Show the first mini-batch of a job and how its input is cut, and run nothing.",
    "list": "List the jobs, newest first.",
    "show": "Show one job.",
    "steps": "List the steps of a pipeline, and why each was reused or was not.",
    "graph": "Draw a pipeline as text, Mermaid or SVG.",
    "watch": "Follow a job to its end; the exit code is the job's.",
    "logs": "Print what the user's code printed, or one log file.",
    "cancel": "Ask a job to end.",
    "resume": "Go on with a job that failed, was cancelled or lost its driver.",
    "failures": "List what a job has set aside.",
    "redrive": "Try again what a completed job has set aside, with corrected code.",
    "download": "Copy the outputs of a job into a folder.",
    "update": "Change description, display name, tags or properties of a job.",
    "archive": "Leave a job out of the list.",
    "restore": "Bring an archived job back.",
    "delete": "Forget a job that has ended, with its folder.",
    "data": "List, show and register data.",
    "component": "List, show and register components.",
    "publish": "Keep the pipeline of a job, so that it can be submitted again.",
    "published": "List, show, submit, enable and disable published pipelines.",
    "serve": "Serve the jobs of this home over gRPC.",
}


class Verbs(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        import importlib

        module, attribute = VERBS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(SHORT.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="runner")
def cli() -> None:
    """Run jobs from YAML: commands, parallel scoring with init() and run(mini_batch), and pipelines of both.

    Jobs live under RUNNER_HOME (default ~/.runner), or behind the service at RUNNER_SERVER (--server).
    """


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code; a traceback is shown only when it is the user's own code's."""
    try:
        result: Any = cli.main(args=argv, prog_name="runner", standalone_mode=False)
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except RunnerError as error:
        return complain(error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output has gone (`runner list | head`): nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return result if isinstance(result, int) else 0


def complain(error: RunnerError) -> int:
    """Say what is wrong in the error's own words and return the exit code it stands for."""
    say(str(error))
    own = getattr(error, "traceback", "")
    if own:
        say(str(own).rstrip())
    return MEANINGS[error.reason].exit_code


if __name__ == "__main__":
    sys.exit(main())
