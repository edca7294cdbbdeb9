"""Triton model `alpha`: features of the 35 views to the identifiability score Q and the fusion weight α."""

from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

from qafm.contract import ALPHA, ALPHA_FILE, FEATURES, IDENTIFIABILITY
from qafm.identifiability import identifiability
from qafm.weighting.perceptron import AlphaNetwork


class TritonPythonModel:
    def initialize(self, args):
        self._network = AlphaNetwork.load(Path(args["model_repository"]) / args["model_version"] / ALPHA_FILE)

    def execute(self, requests):
        return [pb_utils.InferenceResponse(self._outputs(request)) for request in requests]

    def _outputs(self, request):
        features = pb_utils.get_input_tensor_by_name(request, FEATURES.name).as_numpy()  # [batch,35,2048]
        scores = [identifiability(one) for one in features]
        weights = [self._network.alpha(score) for score in scores]
        values = {IDENTIFIABILITY.name: scores, ALPHA.name: weights}
        return [
            pb_utils.Tensor(name, np.array(values[name], np.float32)[:, np.newaxis])
            for name in request.requested_output_names()
        ]
