"""Addresses as people type them: what is none is said before anything is sent."""

from __future__ import annotations

import pytest

from client.address import check_address
from qafm.errors import InvalidSettings


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:8001", "localhost:1", "a-host.example.org:65535", "[::1]:8001", "[fe80::1%eth0]:8001", "my_host:8001"],
)
def test_an_address(address):
    check_address(address)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("", "address is empty"),
        ("  ", "address is empty"),
        ("localhost", "has no port"),
        ("127.0.0.1", "has no port"),
        ("127.0.0.1:", "its port is ''"),
        ("127.0.0.1:99999", "its port is '99999'"),
        ("127.0.0.1:0", "its port is '0'"),
        ("127.0.0.1:-1", "its port is '-1'"),
        ("127.0.0.1:8001/v2", "its port is '8001/v2'"),
        ("127.0.0.1:٣", "its port is '٣'"),
        ("http://127.0.0.1:8001", "without http://$"),
        ("https://127.0.0.1:8001", "without https://; for an encrypted connection add --tls"),
        ("::1:8001", "stands in brackets"),
        ("[::1]", "expected HOST:PORT"),
        (":8001", "expected HOST:PORT"),
        ("a host:8001", "expected HOST:PORT"),
        ("127.0.0.1:8001\n", "its port is"),
    ],
)
def test_what_is_no_address_says_why(address, says):
    with pytest.raises(InvalidSettings, match=says):
        check_address(address)
