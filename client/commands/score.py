"""`client score`: the metrics of descriptors, without a server."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from client.commands import console
from client.commands.options import Json, Rerank


class DistanceChoice(str, Enum):
    euclidean = "euclidean"
    cosine = "cosine"


def score_descriptors(
    query: Annotated[Path, typer.Argument(help="Descriptors of the queries: an .npz, or an .npy beside a .csv.")],
    gallery: Annotated[Path, typer.Argument(help="Descriptors of the gallery, likewise.")],
    distance: Annotated[
        DistanceChoice, typer.Option(help="How two descriptors are compared.")
    ] = DistanceChoice.euclidean,
    rerank: Rerank = False,
    json_file: Json = None,
) -> None:
    """Rank descriptors and print the metrics; needs no server."""
    from client.commands import tables
    from qafm.files import write_json
    from qafm.retrieval.descriptors import RANKED_FIELDS, read_descriptors
    from qafm.retrieval.score import score

    queries, crops = (read_descriptors(path, RANKED_FIELDS) for path in (query, gallery))
    result = score(queries, crops, distance=distance.value, rerank=rerank)
    for warning in result.warnings:
        console.warn(warning)
    if json_file is not None:
        write_json(json_file, result.summary())
    output = console.output()
    output.print(tables.metrics({"%": result.metrics, "Re-ranked": result.reranked}))
    if result.verification:
        output.print(tables.verification(result.verification, result.distance))
    output.print(f"{tables.counts(result.metrics)}, {result.distance} distance")
