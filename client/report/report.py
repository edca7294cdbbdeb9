"""The result of an evaluation, and what report.json says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from client.description import Float32
from client.evaluation import baseline
from client.evaluation.ablation import Ablation
from client.evaluation.describing import FailedImage
from client.evaluation.earlier import Changes
from client.evaluation.folder import REPORT_FORMAT
from client.evaluation.identity import DatasetIdentity
from client.evaluation.measures import Measured
from client.images import picture
from client.report.examples import Examples
from qafm.attribute_metrics import HeadMetrics
from qafm.contract import HEATMAPS_FILE
from qafm.errors import InvalidSettings
from qafm.manifest import Manifest
from qafm.retrieval.metrics import PROTOCOL, Metrics
from qafm.retrieval.verification import OperatingPoint


@dataclass(frozen=True, eq=False)
class Report:
    """The result of an evaluation: what report.json and report.html say.

    created: local time, ISO 8601. data: the dataset's folder as it was given. dataset: what identifies the dataset.
    model: the name of what described the images; see `asked`. lacks: what the server did not have. timings: seconds,
    images/s. queries: a head and a row a query, as queries.csv has them. against: beside an earlier evaluation.
    alpha, identifiability: float32 [N], of all images, for the charts; no Q where α was given. heatmaps: pictures by
    the names of their images. unanswered: how many of the failed images may succeed when they are sent again.
    """

    created: str
    data: str
    dataset: DatasetIdentity
    url: str
    model: str
    measured: Measured
    baseline: Metrics
    attributes: dict[str, HeadMetrics]
    failed_images: tuple[FailedImage, ...]
    manifest: Manifest
    timings: dict[str, float]
    alpha: Float32 | None = None
    identifiability: Float32 | None = None
    examples: Examples | None = None
    heatmaps: Mapping[str, bytes] = field(default_factory=dict)
    unanswered: int = 0
    lacks: tuple[str, ...] = ()
    ablation: Ablation | None = None
    against: Changes | None = None
    queries: Sequence[Sequence[object]] = ()

    @property
    def metrics(self) -> Metrics:
        return self.measured.metrics

    @property
    def verification(self) -> list[OperatingPoint]:
        """One threshold for all pairs."""
        return self.measured.verification

    @property
    def asked(self) -> tuple[str | None, float | None]:
        """The ensemble that was asked, and α where it was given. None of both where the manifest has no such model."""
        return self.manifest.asked(self.model) or (None, None)

    def as_json(self) -> dict[str, Any]:
        ensemble, given_alpha = self.asked
        return {
            "format": REPORT_FORMAT,
            "model": self.model,
            "ensemble": ensemble,
            "alpha": given_alpha,
            **self.measured.summary(),
            "failed_images": [asdict(image) for image in self.failed_images],
            "baseline": {"name": baseline.NAME, **self.baseline.summary()},
            "attributes": {name: asdict(head) for name, head in self.attributes.items()},
            "distance": "euclidean",
            "vectors": "descriptors",
            "protocol": PROTOCOL,
            "data": self.data,
            "dataset": asdict(self.dataset),
            "url": self.url,
            "created": self.created,
            "timings": self.timings,
            "manifest": dict(self.manifest.content),
            "lacks": list(self.lacks),
            **({"ablation": self.ablation.summary()} if self.ablation else {}),
            **({"against": self.against.summary()} if self.against else {}),
        }


def read_heatmaps(folder: Path) -> dict[str, bytes]:
    """The pictures that `python -m export.heatmaps` wrote, by the names of their images. Raises InvalidSettings."""
    try:
        listed = json.loads((folder / HEATMAPS_FILE).read_text(encoding="utf-8"))["heatmaps"]
        files = {str(entry["image"]): str(entry["file"]) for entry in listed}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidSettings(
            f"{folder}: not a folder of heat maps ({error!r}); make one with `python -m export.heatmaps`"
        ) from error
    pictures = {image: picture(folder / file, folder) for image, file in files.items()}
    if missing := [files[image] for image, content in pictures.items() if not content]:
        raise InvalidSettings(
            f"{folder}: {missing[0]!r} is no picture in this folder; make the heat maps again with "
            "`python -m export.heatmaps`"
        )
    return pictures
