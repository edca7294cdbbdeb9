"""The address of a server, as people type it."""

from __future__ import annotations

import re

from qafm.errors import InvalidSettings

_EXPECTED = "expected HOST:PORT of the server's gRPC endpoint, such as 127.0.0.1:8001"
_HOST = r"[^\s:/\[\]@]+|\[[0-9A-Fa-f:.]+(%\w+)?\]"


def check_address(address: str) -> None:
    """Accept HOST:PORT, and [HOST]:PORT of IPv6. Raises InvalidSettings for anything else, of which gRPC would make
    something of its own: without a port it takes 443, and of 99999 it takes what fits into 16 bits."""
    if not address.strip():
        raise InvalidSettings(f"the server's address is empty; {_EXPECTED}")
    said = f"{address!r} is no address of a server"
    if scheme := re.match(r"(\w+)://", address):
        secure = "; for an encrypted connection add --tls" if scheme[1].lower() in ("https", "grpcs") else ""
        raise InvalidSettings(f"{said}: {_EXPECTED}, without {scheme[0]}{secure}")
    if address.count(":") > 1 and "[" not in address:
        raise InvalidSettings(f"{said}: an IPv6 address stands in brackets, as in [::1]:8001")
    host, _, port = address.rpartition(":")
    if not host and ":" not in address:
        raise InvalidSettings(f"{said}: it has no port; {_EXPECTED}")
    if not re.fullmatch(_HOST, host):
        raise InvalidSettings(f"{said}: {_EXPECTED}")
    if not (re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65_536):
        raise InvalidSettings(f"{said}: its port is {port!r}, expected a number from 1 to 65535")
