"""An address is asked before Ray is."""

from __future__ import annotations

import socket

import pytest

from runner.cluster.address import answers, probe
from runner.errors import ClusterUnavailable


def test_an_address_where_something_listens_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert answers(address) == ""
        probe(address)


def test_an_address_where_nothing_listens_is_refused_by_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(ClusterUnavailable, match=rf"no Ray cluster at {address}: connection refused; start it, or"):
        probe(address)


def test_a_host_that_is_not_there_is_refused() -> None:
    with pytest.raises(ClusterUnavailable, match=r"no Ray cluster at no\.such\.host\.invalid:6379"):
        probe("no.such.host.invalid:6379")
