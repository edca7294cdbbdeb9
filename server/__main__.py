"""`python -m server`: a Triton server in the foreground, until Ctrl-C or SIGTERM, or while a command runs.

    python -m server --grpc-port 0 -- client eval --split query --data DIR --url {grpc_url}

A server that dies, that loses the process of a model or that answers nothing is started again, on the same ports.
Exit status: 0 stopped on request, 2 wrong usage, 3 no server came up; or the command's.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path

from qafm.errors import ServerFailed
from server.triton_server import READY_TIMEOUT_S, TritonServer
from server.watch import POLL_S, Watch


class _Stopped(Exception):
    """A signal asked this program to end."""


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if not options.repository.is_dir():
        _parser().error(f"there is no model repository at {options.repository}; make one with `python -m export RUN`")
    server = TritonServer(
        options.repository,
        host=options.host,
        http_host=options.http_host,
        http_port=options.http_port,
        grpc_port=options.grpc_port,
        metrics_port=options.metrics_port,
        config_name=options.config_name,
        log="inherit" if options.log == "-" else options.log,
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        server.start()
        server.wait_until_ready(options.ready_timeout_s)
        print(
            f"ready: gRPC {server.grpc_url}, HTTP {server.http_url}, metrics {server.metrics_url}/metrics, "
            f"models from {options.repository}",
            flush=True,
        )
        watch = Watch(server, options.ready_timeout_s)
        if options.command:
            return _run(options.command, server, watch)
        while True:
            watch.look()
            time.sleep(POLL_S)
    except _Stopped:
        return 0
    except (ServerFailed, OSError) as error:
        print(f"server: {error}", file=sys.stderr)
        return 3
    finally:
        # The server stops in good order, however often someone presses Ctrl-C meanwhile.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        server.stop()


def _run(command: list[str], server: TritonServer, watch: Watch) -> int:
    """Run a command beside the server, its placeholders filled in, and return its exit status."""
    for name, url in {"{grpc_url}": server.grpc_url, "{http_url}": server.http_url}.items():
        command = [argument.replace(name, url) for argument in command]
    try:
        process = subprocess.Popen(command)
    except OSError as error:
        print(f"server: cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return 2
    try:
        while (status := process.poll()) is None:
            watch.look(lambda: process.poll() is None)
            time.sleep(POLL_S)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    return status if status >= 0 else 128 - status


def _stop(*_: object) -> None:
    raise _Stopped


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m server", description="Serve a model repository with Triton until Ctrl-C."
    )
    parser.add_argument("--repository", type=Path, default=Path("build/model_repository"), metavar="DIR")
    parser.add_argument("--config-name", metavar="NAME", help="serve configs/NAME.pbtxt where a model has one")
    parser.add_argument("--host", default="127.0.0.1", help="address for gRPC and metrics (default: %(default)s)")
    parser.add_argument(
        "--http-host",
        default="127.0.0.1",
        metavar="HOST",
        help="address for HTTP, which does not stand strangers: one request can end the server (default: %(default)s)",
    )
    for endpoint, port in (("http", 8000), ("grpc", 8001), ("metrics", 8002)):
        parser.add_argument(
            f"--{endpoint}-port",
            type=_port,
            default=port,
            metavar="PORT",
            help="0 takes a free one (default: %(default)s)",
        )
    parser.add_argument("--log", metavar="FILE", help="keep the server's own log; - is standard error")
    parser.add_argument("--ready-timeout-s", type=float, default=READY_TIMEOUT_S, metavar="SECONDS")
    parser.add_argument(
        "command",
        nargs="*",
        metavar="-- COMMAND",
        help="run this beside the server, then stop; {grpc_url} and {http_url} in it become HOST:PORT",
    )
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, got {port}")
    return port


if __name__ == "__main__":
    sys.exit(main())
