"""`python -m runner.compose drive NAME`: the door of a driver's process."""

from __future__ import annotations

import sys

from runner.compose.driver import drive


def main() -> int:
    """Drive the job that the command line names; 2 when it names none."""
    if sys.argv[1:2] != ["drive"] or len(sys.argv) != 3:
        sys.stderr.write("usage: python -m runner.compose drive NAME\n")
        return 2
    return drive(sys.argv[2])


if __name__ == "__main__":
    sys.exit(main())
