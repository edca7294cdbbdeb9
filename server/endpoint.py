"""What is asked of a Triton server over HTTP, with Python's own library: a server's environment has no other client."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qafm.contract import FIRST, IMAGE, MANIFEST_PARAMETER
from qafm.manifest import Manifest


class NoAnswer(Exception):  # noqa: N818  (it says what happened)
    """The server is not there, says no, or says what cannot be read: in words."""


class Late(NoAnswer):
    """It did not answer in time."""


class Endpoint:
    """The HTTP endpoint at an address, HOST:PORT. Every method raises NoAnswer."""

    def __init__(self, address: str) -> None:
        self.address = address

    def get(self, path: str, timeout_s: float = 5.0) -> bytes:
        """The body of an answer with status 200."""
        return self._ask("GET", path, timeout_s=timeout_s)[0]

    def manifest(self, ensemble: str) -> Manifest:
        """The manifest that an ensemble carries. Raises ContractMismatch where it cannot be read."""
        parameters = self._json(f"/v2/models/{ensemble}/config").get("parameters", {})
        return Manifest.parse(parameters.get(MANIFEST_PARAMETER, {}).get("string_value", ""))

    def answered(self, model: str) -> int:
        """How many requests a model has answered so far, well or with an error."""
        (stats,) = self._json(f"/v2/models/{model}/stats")["model_stats"]
        return sum(int(stats["inference_stats"][kind].get("count", 0)) for kind in ("success", "fail"))

    def describe(self, ensemble: str, image: bytes, outputs: Sequence[str], timeout_s: float) -> dict[str, np.ndarray]:
        """What an ensemble says of an encoded image: float32 arrays by output. It goes before other requests."""
        tensor = len(image).to_bytes(4, "little") + image
        question = {
            "inputs": [
                {
                    "name": IMAGE.name,
                    "shape": [1, 1],
                    "datatype": IMAGE.wire_dtype,
                    "parameters": {"binary_data_size": len(tensor)},
                }
            ],
            "outputs": [{"name": name, "parameters": {"binary_data": True}} for name in outputs],
            "parameters": {"priority": FIRST},
        }
        head = json.dumps(question).encode()
        body, headers = self._ask(
            "POST",
            f"/v2/models/{ensemble}/infer",
            head + tensor,
            {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"},
            timeout_s,
        )
        length = int(headers.get("Inference-Header-Content-Length", len(body)))
        answered, start = {}, length
        for output in json.loads(body[:length])["outputs"]:
            size = output["parameters"]["binary_data_size"]
            answered[output["name"]] = np.frombuffer(body[start : start + size], "<f4").reshape(output["shape"])
            start += size
        return answered

    def _json(self, path: str) -> Any:
        try:
            return json.loads(self.get(path))
        except ValueError as error:
            raise NoAnswer(f"{path} at {self.address}: expected JSON, as Triton's HTTP endpoint gives it") from error

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 5.0,
    ) -> tuple[bytes, Mapping[str, Any]]:
        try:
            connection = http.client.HTTPConnection(self.address, timeout=timeout_s)
        except http.client.InvalidURL as error:
            raise NoAnswer(f"{self.address!r} is no address, expected HOST:PORT") from error
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            content = answer.read()
        except TimeoutError as error:
            raise Late(f"no answer from {self.address} within {timeout_s:.3g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswer(f"no answer from {self.address}: {error or type(error).__name__}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise NoAnswer(f"{path} at {self.address}: {answer.status} {content[:300].decode(errors='replace')}")
        return content, dict(answer.headers)
