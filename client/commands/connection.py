"""How the commands reach a server: the options for it, understood before and after a command's name."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from client import defaults

if TYPE_CHECKING:
    from client.reid import ReidClient


_PEM_FILE = partial(typer.Option, exists=True, dir_okay=False)


@dataclass(frozen=True)
class Connection:
    """A server's address, and what it wants from a client. Nothing is connected yet.

    url: HOST:PORT of the gRPC endpoint. connect_timeout_s: how long to wait until the server is ready. tls: encrypt,
    even if none of the files is given. ca_certificate, certificate, private_key: PEM files, as in
    `client.transport.Tls`. headers: sent with every request; names in lower case, as gRPC wants them.
    """

    url: str = defaults.URL
    connect_timeout_s: float = defaults.CONNECT_TIMEOUT_S
    tls: bool = False
    ca_certificate: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def encrypted(self) -> bool:
        """Whether to speak TLS: a file asks for it too."""
        return self.tls or any((self.ca_certificate, self.certificate, self.private_key))

    @property
    def open_to_perf_analyzer(self) -> bool:
        """Whether perf_analyzer can use it: `client.load` tells it only the address."""
        return not (self.encrypted or self.headers)

    def client(
        self, *, request_timeout_s: float = defaults.REQUEST_TIMEOUT_S, retry_s: float = defaults.RETRY_S
    ) -> "ReidClient":
        """A client that connects when it is entered. Raises InvalidSettings for a certificate without its key."""
        from client.reid import ReidClient
        from client.transport import Tls

        return ReidClient(
            self.url,
            connect_timeout_s=self.connect_timeout_s,
            request_timeout_s=request_timeout_s,
            retry_s=retry_s,
            tls=Tls(self.ca_certificate, self.private_key, self.certificate) if self.encrypted else None,
            headers=self.headers,
        )


def override(
    connection: Connection,
    *,
    url: Annotated[
        str | None, typer.Option(help=f"HOST:PORT of the server's gRPC endpoint. [default: {defaults.URL}]")
    ] = None,
    connect_timeout_s: Annotated[
        float | None,
        typer.Option(
            "--connect-timeout",
            min=0,
            help=f"Seconds to wait until the server is ready. [default: {defaults.CONNECT_TIMEOUT_S}]",
        ),
    ] = None,
    tls: Annotated[
        bool, typer.Option("--tls", help="Encrypt, and trust the certificate authorities that gRPC knows.")
    ] = False,
    ca_certificate: Annotated[
        Path | None, _PEM_FILE(help="Encrypt, and trust the certificate authorities in this PEM file.")
    ] = None,
    certificate: Annotated[Path | None, _PEM_FILE(help="This client's own certificate, a PEM file.")] = None,
    private_key: Annotated[Path | None, _PEM_FILE(help="The private key of that certificate, a PEM file.")] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(metavar="<NAME: VALUE>", help="Sent with every request. Can be given several times."),
    ] = None,
) -> Connection:
    """The connection, changed by the options that are given; headers add up.

    The keyword parameters are the options of the command line. Raises typer.BadParameter for a header that is not
    NAME: VALUE.
    """
    given = {
        "url": url,
        "connect_timeout_s": connect_timeout_s,
        "tls": tls or None,
        "ca_certificate": ca_certificate,
        "certificate": certificate,
        "private_key": private_key,
    }
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return replace(connection, **changes, headers={**connection.headers, **_headers(header or [])})


def connected(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `override` after its own, and the Connection they make as its first argument.

    The app's callback is decorated too: it keeps what stands before the name of a command, and the options after the
    name change that.
    """
    _, *own = inspect.signature(command).parameters.values()
    _, *options = inspect.signature(override).parameters.values()

    @wraps(command)
    def run(context: typer.Context, **arguments: Any) -> None:
        given = {option.name: arguments.pop(option.name) for option in options if option.name in arguments}
        context.obj = override(context.obj or Connection(), **given)
        command(context.obj, **arguments)

    before = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    run.__signature__ = inspect.Signature([before, *own, *options])  # type: ignore[attr-defined]
    return run


def _headers(entries: list[str]) -> dict[str, str]:
    headers = {}
    for entry in entries:
        name, colon, value = entry.partition(":")
        if not (name.strip() and colon):
            raise typer.BadParameter(f"expected NAME: VALUE, got {entry!r}", param_hint="--header")
        headers[name.strip().lower()] = value.strip()
    return headers
