"""Addresses and ports for a server that binds them later."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping

from qafm.errors import ServerFailed


def address_of(host: str) -> str:
    """The number of an address or name: Triton takes names only in places. Raises ServerFailed for an unknown one."""
    try:
        return socket.gethostbyname(host)
    except OSError as error:
        raise ServerFailed(
            f"the host {host!r} cannot be found: {error.strerror}; expected an address or name of this machine"
        ) from error


def take_ports(hosts: Mapping[str, str], wanted: Mapping[str, int], held: contextlib.ExitStack) -> dict[str, int]:
    """Settle on the ports of a server, which binds them only after it has loaded every model.

    hosts, wanted: address and port by the name of what listens there; port 0 takes a free one. held: keeps the ports
    until it is closed; the server may bind them before that. Raises ServerFailed where one is taken.
    """
    chosen = [port for port in wanted.values() if port]
    if len(set(chosen)) < len(chosen):
        listed = ", ".join(f"{endpoint} {port}" for endpoint, port in wanted.items())
        raise ServerFailed(f"expected a port of its own for each endpoint, got {listed}; 0 takes a free one")
    ports = {}
    for endpoint, port in wanted.items():
        placeholder = held.enter_context(socket.socket())
        if port:
            # A port that merely cools down after its last use is free; one with a listener is not.
            placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            placeholder.bind((hosts[endpoint], port))
        except OSError as error:
            raise ServerFailed(
                f"the {endpoint} port {port} on {hosts[endpoint]} cannot be used: {error.strerror}; "
                "stop what listens there, or choose another port (0 takes a free one)"
            ) from error
        # From here on the server may bind it too, while this one never listens.
        placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ports[endpoint] = placeholder.getsockname()[1]
    return ports
