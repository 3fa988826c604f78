"""What the embedded Ray is started with."""

from __future__ import annotations

from pathlib import Path

from runner.cluster.folder import MARK
from runner.cluster.keeper import ray_environment


def test_settings_for_another_ray_and_proxies_are_left_out() -> None:
    found = ray_environment(
        {
            "PATH": "/bin",
            "RAY_ADDRESS": "x:1",
            "RAY_AUTH_TOKEN": "t",
            "https_proxy": "p",
            "ALL_PROXY": "p",
            "HOME": "/h",
        },
        Path("/home/ray/token"),
        "/tmp/runner-ray-1",
    )
    assert found == {
        "PATH": "/bin",
        "HOME": "/h",
        MARK: "/tmp/runner-ray-1",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": "/home/ray/token",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_memory_monitor_refresh_ms": "0",
    }
