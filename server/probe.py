"""`python -m server.probe`: whether a server gives the known answers of its manifest. For a container's health check.

Exit status: 0 it does, or it is busy answering others; 1 its answers are wrong, or it answers nothing; 2 wrong usage; 3
there is no server.
"""

from __future__ import annotations

import argparse
import sys
import time

from qafm.contract import QAFM
from qafm.errors import ContractMismatch
from qafm.known_answer import KEPT, differences, encoded_picture, ensembles_known
from server.endpoint import Endpoint, NoAnswer

ANSWER_TIMEOUT_S = 5.0


def wrong_answers(endpoint: Endpoint, timeout_s: float) -> list[str]:
    """What a server says wrongly of the drawn picture, in words; nothing where it gives the known answers.

    timeout_s: of each of them. Raises NoAnswer, and ContractMismatch where the manifest cannot be read.
    """
    manifest, image = endpoint.manifest(QAFM), encoded_picture()
    return [
        f"{ensemble}: {words}"
        for ensemble in ensembles_known(manifest)
        for words in differences(manifest, ensemble, endpoint.describe(ensemble, image, KEPT, timeout_s))
    ]


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    status, words = probe(Endpoint(options.url), options.timeout_s)
    print(words, file=sys.stderr if status else sys.stdout)
    return status


def probe(endpoint: Endpoint, timeout_s: float) -> tuple[int, str]:
    """The exit status of the command, and what it says."""
    begun = time.monotonic()
    try:
        answered = endpoint.inferences()
    except NoAnswer as error:
        return 3, str(error)
    try:
        wrong = wrong_answers(endpoint, timeout_s)
    except (NoAnswer, ContractMismatch) as error:
        # Behind a long queue nothing is wrong.
        if time.monotonic() - begun >= timeout_s and _moves_on(endpoint, answered):
            return 0, f"busy: {endpoint.address} answers others"
        return 1, str(error)
    if wrong:
        return 1, f"wrong: {endpoint.address} serves what it was not made for: {'; '.join(wrong)}"
    return 0, f"ready: {endpoint.address} gives the known answers"


def _moves_on(endpoint: Endpoint, answered: int) -> bool:
    try:
        return endpoint.inferences() > answered
    except NoAnswer:
        return False


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m server.probe", description="Ask a server for what its manifest says of one drawn picture."
    )
    parser.add_argument("--url", default="127.0.0.1:8000", metavar="HOST:PORT", help="its HTTP endpoint")
    parser.add_argument(
        "--timeout-s",
        type=float,
        default=ANSWER_TIMEOUT_S,
        metavar="SECONDS",
        help="how long to wait for each answer (default: %(default)g)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
