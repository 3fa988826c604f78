"""`python -m runner.compose drive NAME`: the door of a driver's process."""

from __future__ import annotations

import os
import sys

from runner.compose.launch import GO, LOADS, talk_of
from runner.store.home import Home


def main() -> int:
    """Drive the job that the command line names; 2 when it names none."""
    if sys.argv[1:2] != ["drive"] or len(sys.argv) != 3:
        sys.stderr.write("usage: python -m runner.compose drive NAME\n")
        return 2
    loads = os.environ.pop(LOADS, "")
    if loads and not _is_told_to_go(sys.argv[2], loads):
        return 0
    # After Ray, which everything waits for; what else a driver needs is loaded while Ray is connected to.
    from runner.compose.driver import drive

    return drive(sys.argv[2])


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
