"""Triton model `alpha`: features of the 35 views to the identifiability score Q and the fusion weight α."""

from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

from qafm.contract import ALPHA, ALPHA_FILE, FEATURES, IDENTIFIABILITY
from qafm.quality import measure
from qafm.weighting import load_weighting


class TritonPythonModel:
    def initialize(self, args):
        self._weighting = load_weighting(Path(args["model_repository"]) / args["model_version"] / ALPHA_FILE)

    def execute(self, requests):
        return [pb_utils.InferenceResponse(self._outputs(request)) for request in requests]

    def _outputs(self, request):
        features = pb_utils.get_input_tensor_by_name(request, FEATURES.name).as_numpy()  # [batch,35,2048]
        qualities = [measure(of_one_picture) for of_one_picture in features]
        values = {
            IDENTIFIABILITY.name: [quality.identifiability for quality in qualities],
            ALPHA.name: [self._weighting.alpha(quality) for quality in qualities],
        }
        return [
            pb_utils.Tensor(name, np.array(values[name], np.float32)[:, np.newaxis])
            for name in request.requested_output_names()
        ]
