"""The doors of processes: `python -m runner.compose drive NAME` runs a job, `nurse NAME DESCRIPTOR` forks its steps."""

from __future__ import annotations

import os
import sys

from runner.compose.launch import GO, LOADS, talk_of
from runner.store.home import Home


def main() -> int:
    """Do what the command line says; 2 when it says nothing known."""
    match sys.argv[1:]:
        case ["drive", name]:
            return _drive(name)
        case ["nurse", _, descriptor] if descriptor.isdecimal():
            from runner.compose.driver import nurse

            return nurse(int(descriptor))
    sys.stderr.write("usage: python -m runner.compose drive NAME\n")
    return 2


def _drive(name: str) -> int:
    loads = os.environ.pop(LOADS, "")
    if loads and not _is_told_to_go(name, loads):
        return 0
    # After Ray, which everything waits for; what else a driver needs is loaded while Ray is connected to.
    from runner.compose.driver import drive

    return drive(name)


def _is_told_to_go(name: str, loads: str) -> bool:
    """Load what the job will need, then wait for the word; from then on talk where a driver talks."""
    if loads == "ray":
        from runner.cluster.connect import import_ray

        import_ray()
    if sys.stdin.buffer.read() != GO:
        return False
    with open(talk_of(Home(), name), "ab") as log, open(os.devnull, "rb") as nothing:
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source.fileno(), target)
    return True


if __name__ == "__main__":
    sys.exit(main())
