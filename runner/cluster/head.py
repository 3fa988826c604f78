"""`ray start` without processes that an embedded Ray does not need: `python -m runner.cluster.head start --head ...`.

The Ray client's server cannot be left out by an option: it costs a second of start-up, 90 MB, and a port that is the
same on every host. The dashboard's process runs even where no dashboard is wanted. A Ray in which these names have
changed is started as it is, with a free port.
"""

from __future__ import annotations

import socket
import sys
from typing import Any

_CLIENT_CHECK = "get_ray_client_dependency_error"
_DASHBOARD_START = "start_api_server"


def main() -> None:
    from ray._private import node
    from ray.scripts import scripts

    inside: Any = scripts
    if hasattr(inside, _CLIENT_CHECK):
        setattr(inside, _CLIENT_CHECK, lambda: ImportError("the embedded Ray has no client server"))
    else:
        sys.argv.append(f"--ray-client-server-port={free_port()}")
    if hasattr(node.Node, _DASHBOARD_START):
        setattr(node.Node, _DASHBOARD_START, lambda self, **options: None)
    inside.main()


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


if __name__ == "__main__":
    main()
