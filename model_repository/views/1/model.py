"""Triton model `views`: encoded images to crops and, where they are asked for, their 35 views."""

import traceback

import numpy as np
import triton_python_backend_utils as pb_utils

from qafm.contract import CROP, IMAGE, VIEWS
from qafm.errors import InvalidImage
from qafm.images import decode, resize
from qafm.perturbations import views


class TritonPythonModel:
    def execute(self, requests):
        return [_respond(request) for request in requests]


def _respond(request):
    # An exception that left execute() would fail every request of the batch, so each one keeps its own.
    try:
        return pb_utils.InferenceResponse(_outputs(request))
    except InvalidImage as error:
        return _failed(str(error), pb_utils.TritonError.INVALID_ARG)
    except Exception as error:
        pb_utils.Logger.log_error(f"views: {traceback.format_exc()}")
        return _failed(f"views failed: {type(error).__name__}: {error}", pb_utils.TritonError.INTERNAL)


def _outputs(request):
    images = pb_utils.get_input_tensor_by_name(request, IMAGE.name).as_numpy()[:, 0]  # [batch] of bytes
    crops = [_decode(data, position, len(images)) for position, data in enumerate(images, start=1)]
    wanted = request.requested_output_names()
    if VIEWS.name not in wanted:
        return [pb_utils.Tensor(CROP.name, np.stack([resize(crop) for crop in crops]))]
    seen = np.stack([views(crop) for crop in crops])  # [batch,35,384,128,3]
    tensors = [pb_utils.Tensor(VIEWS.name, seen)]
    if CROP.name in wanted:
        # View 0 is the crop itself.
        tensors.append(pb_utils.Tensor(CROP.name, np.ascontiguousarray(seen[:, 0])))
    return tensors


def _decode(data, position, count):
    try:
        return decode(data)
    except InvalidImage as error:
        if count == 1:
            raise
        raise InvalidImage(f"image {position} of {count} in the request: {error}") from error


def _failed(message, code):
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
