"""`python worker/__main__.py CONTROL_FD PARENT_PID`: how an instance starts a worker.

Started by its path and with `-P`, so that nothing in the working directory, which is the user's code folder, can take
the place of a module that the worker needs before the script is imported.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    if not __package__:
        sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from runner.worker.process import main

    main(int(sys.argv[1]), int(sys.argv[2]))
