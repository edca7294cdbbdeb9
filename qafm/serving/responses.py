"""What the Python models of the repository share: each request of a batch has its own answer."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from qafm.errors import InvalidImage, InvalidSettings, NotAvailable


def respond(
    requests: Iterable[Any], compute: Callable[[Any], list[Any]], *, model: str, pb_utils: ModuleType
) -> list[Any]:
    """One response for each request of a batch, in order: an exception that left a model's `execute` would fail all.

    compute: the output tensors of one request. It raises InvalidImage or InvalidSettings for what the caller did wrong,
    NotAvailable for what may go right another time, and `pb_utils.TritonModelException` with a sentence for what else
    is known to go wrong. model: its name, for the messages. pb_utils: `triton_python_backend_utils`, which only the
    server can import.
    """
    return [_respond(request, compute, model, pb_utils) for request in requests]


def _respond(request: Any, compute: Callable[[Any], list[Any]], model: str, pb_utils: ModuleType) -> Any:
    error = pb_utils.TritonError
    try:
        return pb_utils.InferenceResponse(compute(request))
    except (InvalidImage, InvalidSettings) as invalid:
        failure = error(str(invalid), error.INVALID_ARG)
    except NotAvailable as away:
        failure = error(str(away), error.UNAVAILABLE)
    except pb_utils.TritonModelException as known:
        failure = error(str(known), error.INTERNAL)
    except Exception as unknown:
        pb_utils.Logger.log_error(f"{model}: {traceback.format_exc()}")
        failure = error(f"{model} failed: {type(unknown).__name__}: {unknown}", error.INTERNAL)
    return pb_utils.InferenceResponse(error=failure)
