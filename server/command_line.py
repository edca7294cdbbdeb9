"""How Triton is asked to serve a repository."""

from __future__ import annotations

from collections.abc import Mapping

from server.installation import Installation
from server.repository import Repository

DRAIN_S = 10
"""How long a stopping server may finish the requests it has begun."""

# These let a caller read the server's memory, exchange its models or write files; nothing here needs them. The value
# that opens them is on a command line that everyone on this machine can read, and is one that no request can carry: a
# header ends at its first line break.
_RESTRICTED = "model-repository,shared-memory,trace,logging:restricted=\n\n"


def command_line(
    installation: Installation,
    repository: Repository,
    addresses: Mapping[str, str],
    ports: Mapping[str, int],
    shm_prefix: str,
) -> list[str]:
    """The command. addresses, ports: of the endpoints HTTP, gRPC and metrics. shm_prefix: of names in /dev/shm."""
    command = [
        str(installation.executable),
        f"--model-repository={repository.folder}",
        # Every model is loaded at the start, as configured and not as guessed, or the start fails.
        "--model-control-mode=none",
        "--disable-auto-complete-config",
        "--exit-on-error=true",
        "--strict-readiness=true",
        f"--exit-timeout-secs={DRAIN_S}",
        *(f"--{endpoint.lower()}-address={address}" for endpoint, address in addresses.items()),
        *(f"--{endpoint.lower()}-port={port}" for endpoint, port in ports.items()),
        f"--http-restricted-api={_RESTRICTED}",
        f"--grpc-restricted-protocol={_RESTRICTED}",
        *installation.backend_options(shm_prefix),
    ]
    if repository.config_name:
        command.append(f"--model-config-name={repository.config_name}")
    return command
