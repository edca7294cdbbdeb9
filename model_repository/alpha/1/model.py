"""Triton model `alpha`: features of the 35 views to the identifiability Q, the scatter, the utility and α."""

from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

from qafm.contract import ALPHA, ALPHA_FILE, FEATURES, IDENTIFIABILITY, SCATTER, UTILITY
from qafm.quality import measure
from qafm.serving import respond
from qafm.weighting import load_utility, load_weighting


class TritonPythonModel:
    def initialize(self, args):
        path = Path(args["model_repository"]) / args["model_version"] / ALPHA_FILE
        self._weighting, self._utility = load_weighting(path), load_utility(path)

    def execute(self, requests):
        return respond(requests, self._outputs, model="alpha", pb_utils=pb_utils)

    def _outputs(self, request):
        features = pb_utils.get_input_tensor_by_name(request, FEATURES.name).as_numpy()  # [batch,35,2048]
        if not np.isfinite(features).all():
            raise pb_utils.TritonModelException(
                f"{FEATURES.name} has values that are not finite: the network `iqa` overflows on this picture; export "
                "it in a higher precision, as in --precision int8,iqa=fp32"
            )
        qualities = [measure(views) for views in features]
        values = {
            IDENTIFIABILITY.name: [[quality.identifiability] for quality in qualities],
            SCATTER.name: [quality.scatter for quality in qualities],
            ALPHA.name: [[self._weighting.alpha(quality)] for quality in qualities],
        }
        if self._utility:  # without one, the configuration has no such output
            values[UTILITY.name] = [[self._utility.of(quality)] for quality in qualities]
        return [pb_utils.Tensor(name, np.array(values[name], np.float32)) for name in request.requested_output_names()]
