"""What the exit code of the `client` command says.

0: done. 1: a result with failures in it, or the first failure under --on-error fail. 2: wrong usage, bad input, or a
server with other models. 3: no server reachable.
"""

from __future__ import annotations

from qafm.errors import EvaluationFailed, InvalidImage, QafmError, RequestFailed, ServerUnreachable

FAILURES, BAD_INPUT, UNREACHABLE = 1, 2, 3

_CODES: dict[type[QafmError], int] = {
    InvalidImage: FAILURES,
    RequestFailed: FAILURES,
    EvaluationFailed: FAILURES,
    ServerUnreachable: UNREACHABLE,
}


def exit_code(error: QafmError) -> int:
    """The code for an error that ends the command."""
    return _CODES.get(type(error), BAD_INPUT)
