"""Which addresses of a Ray cluster are taken, and how proxies are kept away from them."""

from __future__ import annotations

import pytest

from runner.cluster.address import keep_from_proxies, split_address
from runner.errors import ArgumentInvalid


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.5:6379", ("10.0.0.5", 6379)),
        ("head.example:1", ("head.example", 1)),
        ("[::1]:6379", ("::1", 6379)),
    ],
)
def test_host_and_port_are_taken(address: str, expected: tuple[str, int]) -> None:
    assert split_address(address) == expected


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("ray://head:10001", "Ray client"),
        ("http://head:8265", "dashboard"),
        ("https://head", "dashboard"),
        ("redis://head:1", "begins with redis://"),
        ("auto", "names no cluster"),
        ("local", "names no cluster"),
        ("head", "not of the form HOST:PORT"),
        ("head:port", "not of the form HOST:PORT"),
        ("head:0", "not of the form HOST:PORT"),
        ("head:65536", "not of the form HOST:PORT"),
        (":6379", "not of the form HOST:PORT"),
        ("", "not of the form HOST:PORT"),
    ],
)
def test_other_forms_are_refused_with_the_one_that_works(address: str, why: str) -> None:
    with pytest.raises(ArgumentInvalid, match=why) as refused:
        split_address(address)
    assert "write HOST:PORT of the head's GCS" in str(refused.value)


def test_no_proxy_catches_the_address_or_loopback() -> None:
    environment = {"http_proxy": "http://proxy:1", "no_proxy": "example.com,localhost"}
    keep_from_proxies("10.0.0.5:6379", environment)
    assert environment["no_proxy"] == "example.com,localhost,10.0.0.5,127.0.0.1"
    assert environment["NO_PROXY"] == environment["no_grpc_proxy"] == "10.0.0.5,127.0.0.1,localhost"
    keep_from_proxies("10.0.0.5:6379", environment)
    assert environment["no_proxy"].count("10.0.0.5") == 1
