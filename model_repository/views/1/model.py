"""Triton model `views`: encoded images to crops and, where they are asked for, their 35 views."""

import numpy as np
import triton_python_backend_utils as pb_utils

from qafm.contract import ALPHA, CROP, IMAGE, VIEWS
from qafm.errors import InvalidImage
from qafm.images import resize
from qafm.perturbations import views
from qafm.serving import respond
from qafm.serving.alpha import check_alpha
from qafm.serving.decoder import Decoder


class TritonPythonModel:
    def initialize(self, args):
        self._decoder = Decoder()

    def finalize(self):
        self._decoder.close()

    def execute(self, requests):
        return respond(requests, self._outputs, model="views", pb_utils=pb_utils)

    def _outputs(self, request):
        if alpha := pb_utils.get_input_tensor_by_name(request, ALPHA.name):
            check_alpha(alpha.as_numpy())
        images = pb_utils.get_input_tensor_by_name(request, IMAGE.name).as_numpy()  # [batch,1] of bytes
        if images.ndim != 2:
            # A batch of 2**32 passes the server's own check as one of none.
            raise InvalidImage(f"{IMAGE.name} has shape {list(images.shape)}; expected [batch,1]")
        crops = [self._decode(data, position, len(images)) for position, (data,) in enumerate(images, start=1)]
        wanted = request.requested_output_names()
        if VIEWS.name not in wanted:
            return [pb_utils.Tensor(CROP.name, np.stack([resize(crop) for crop in crops]))]
        seen = np.stack([views(crop) for crop in crops])  # [batch,35,384,128,3]
        tensors = [pb_utils.Tensor(VIEWS.name, seen)]
        if CROP.name in wanted:
            # View 0 is the crop itself.
            tensors.append(pb_utils.Tensor(CROP.name, np.ascontiguousarray(seen[:, 0])))
        return tensors

    def _decode(self, data, position, count):
        try:
            return self._decoder.decode(data)
        except InvalidImage as error:
            if count == 1:
                raise
            raise InvalidImage(f"image {position} of {count} in the request: {error}") from error
