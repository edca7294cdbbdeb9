"""Asking a server for what its manifest says of one drawn picture."""

from __future__ import annotations

import time
from collections.abc import Iterator

from qafm.contract import QAFM
from qafm.known_answer import KEPT, differences, encoded_picture, ensembles_known
from server.endpoint import Endpoint, Late


class Busy(Late):
    """It did not answer in time, and answers others meanwhile."""


def ask(endpoint: Endpoint, timeout_s: float) -> Iterator[tuple[str, list[str]]]:
    """Each ensemble whose answer the manifest knows, and what is wrong with what it says, in words; nothing where it is
    right.

    timeout_s: for all of them. Raises NoAnswer; Late where an ensemble answers nothing in time, and Busy where it
    answered others; ContractMismatch where the manifest cannot be read.
    """
    deadline = time.monotonic() + timeout_s
    manifest, image = endpoint.manifest(QAFM), encoded_picture()
    for ensemble in ensembles_known(manifest):
        before = endpoint.answered(ensemble)
        try:
            answer = endpoint.describe(ensemble, image, KEPT, max(deadline - time.monotonic(), 0.1))
        except Late as error:
            if endpoint.answered(ensemble) > before:
                raise Busy(f"{ensemble} answers others") from error
            raise Late(f"{ensemble} answers nothing: {error}") from error
        yield ensemble, [f"{ensemble}: {words}" for words in differences(manifest, ensemble, answer)]
