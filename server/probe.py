"""`python -m server.probe`: whether a server gives the known answers of its manifest. For a container's health check.

Exit status: 0 it does, or it is busy answering others; 1 its answers are wrong, or it answers nothing; 2 wrong usage; 3
there is no server.
"""

from __future__ import annotations

import argparse
import sys

from qafm.errors import ContractMismatch
from server.endpoint import Endpoint, NoAnswer
from server.known_answers import Busy, ask

TIMEOUT_S = 10.0


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    status, words = probe(Endpoint(options.url), options.timeout_s)
    print(words, file=sys.stderr if status else sys.stdout)
    return status


def probe(endpoint: Endpoint, timeout_s: float) -> tuple[int, str]:
    """The exit status of the command, and what it says."""
    try:
        endpoint.get("/v2/health/live", timeout_s)
    except NoAnswer as error:
        return 3, str(error)
    try:
        asked = dict(ask(endpoint, timeout_s))
    except Busy as error:
        return 0, f"busy: {endpoint.address}: {error}"
    except (NoAnswer, ContractMismatch) as error:
        return 1, f"{endpoint.address}: {error}"
    if wrong := [words for said in asked.values() for words in said]:
        return 1, f"wrong: {endpoint.address} serves what it was not made for: {'; '.join(wrong)}"
    if not asked:
        return 0, f"ready: {endpoint.address}, whose manifest knows no answers; export the run again to have them asked"
    return 0, f"ready: {endpoint.address} gives the known answers of {', '.join(asked)}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m server.probe", description="Ask a server for what its manifest says of one drawn picture."
    )
    parser.add_argument("--url", default="127.0.0.1:8000", metavar="HOST:PORT", help="its HTTP endpoint")
    parser.add_argument(
        "--timeout-s",
        type=float,
        default=TIMEOUT_S,
        metavar="SECONDS",
        help="how long to wait for the answers (default: %(default)g)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
