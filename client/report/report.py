"""The result of an evaluation, and what report.json says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from client.description import Float32
from client.evaluation import baseline
from client.evaluation.ablation import Ablation
from client.evaluation.describing import FailedImage
from client.evaluation.folder import REPORT_FORMAT
from client.evaluation.identity import DatasetIdentity
from client.images import picture
from client.report.examples import Examples
from qafm.attribute_metrics import HeadMetrics
from qafm.contract import HEATMAPS_FILE
from qafm.errors import InvalidSettings
from qafm.manifest import Manifest
from qafm.retrieval.abstention import Abstention, abstention_summary
from qafm.retrieval.bootstrap import Interval
from qafm.retrieval.discard import DiscardCurve
from qafm.retrieval.metrics import PROTOCOL, Metrics
from qafm.retrieval.score import discard_summary, reranked_summary
from qafm.retrieval.verification import OperatingPoint


@dataclass(frozen=True, eq=False)
class Report:
    """The result of an evaluation: what report.json and report.html say.

    created: local time, ISO 8601. data: the dataset's folder as it was given. dataset: what identifies the dataset.
    model: the name of what described the images; see `asked`. intervals: 95 %, of rank1 and mAP. lacks: what the server
    did not have. timings: seconds, images/s.
    alpha, identifiability: float32 [N], of all images, for the charts; no Q where α was given. heatmaps: pictures by
    the names of their images.
    discard: by signal of quality. unanswered: how many of the failed images may succeed when they are sent again.
    """

    created: str
    data: str
    dataset: DatasetIdentity
    url: str
    model: str
    metrics: Metrics
    intervals: dict[str, Interval]
    baseline: Metrics
    verification: list[OperatingPoint]
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
    reranked: Metrics | None = None
    abstained: Abstention | None = None
    discard: dict[str, DiscardCurve] = field(default_factory=dict)
    ablation: Ablation | None = None

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
            **self.metrics.summary(),
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            **reranked_summary(self.reranked),
            **abstention_summary(self.abstained),
            "failed_images": [asdict(image) for image in self.failed_images],
            "baseline": {"name": baseline.NAME, **self.baseline.summary()},
            "verification": [asdict(point) for point in self.verification],
            **discard_summary(self.discard),
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


def now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
