"""`client score`: the metrics of descriptors, and two results compared, without a server."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from client.commands import console
from client.commands.options import Abstain, Json, Rerank

if TYPE_CHECKING:
    from qafm.retrieval.descriptors import Descriptors
    from qafm.retrieval.score import Comparison, Score


class DistanceChoice(str, Enum):
    euclidean = "euclidean"
    cosine = "cosine"


class VectorsChoice(str, Enum):
    descriptors = "descriptors"
    visual = "visual"
    semantic = "semantic"


def score_descriptors(
    query: Annotated[Path, typer.Argument(help="Descriptors of the queries: an .npz, or an .npy beside a .csv.")],
    gallery: Annotated[Path, typer.Argument(help="Descriptors of the gallery, likewise.")],
    distance: Annotated[
        DistanceChoice, typer.Option(help="How two descriptors are compared.")
    ] = DistanceChoice.euclidean,
    vectors: Annotated[
        VectorsChoice, typer.Option(help="What to rank by: the fused descriptors, or what one branch says.")
    ] = VectorsChoice.descriptors,
    against: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="<QUERY GALLERY>",
            help="Compare with the result of these two, of the same queries: the difference, with its 95 % interval.",
        ),
    ] = None,
    against_vectors: Annotated[
        VectorsChoice | None, typer.Option(help="What to rank those by, where it is not what --vectors says.")
    ] = None,
    rerank: Rerank = False,
    abstain: Abstain = None,
    json_file: Json = None,
) -> None:
    """Rank descriptors and print the metrics; needs no server."""
    from qafm.errors import InvalidSettings
    from qafm.files import write_json
    from qafm.retrieval.score import compare

    if against_vectors is not None and against is None:
        raise InvalidSettings("--against-vectors says what to rank the files of --against by; name these as well")
    result, queries = _scored(query, gallery, distance, vectors, rerank, abstain)
    comparison = None
    if against is not None:
        other, its_queries = _scored(*against, distance, against_vectors or vectors, rerank)
        comparison = compare(result, queries, other, its_queries)
        for warning in comparison.warnings:
            console.warn(warning)
    if json_file is not None:
        write_json(json_file, {**result.summary(), **(comparison.summary() if comparison else {})})
    _print(result, comparison)


def _scored(
    query: Path,
    gallery: Path,
    distance: DistanceChoice,
    vectors: VectorsChoice,
    rerank: bool,
    abstain: float | None = None,
) -> "tuple[Score, Descriptors]":
    """The result of two files, and the queries it is of."""
    from qafm.retrieval.descriptors import RANKED_FIELDS, read_descriptors
    from qafm.retrieval.discard import QUALITY_FIELDS
    from qafm.retrieval.score import score

    names = (*RANKED_FIELDS, "paths", *QUALITY_FIELDS, vectors.value)
    queries, crops = (read_descriptors(path, names) for path in (query, gallery))
    result = score(queries, crops, distance=distance.value, vectors=vectors.value, rerank=rerank, abstaining=abstain)
    for warning in result.warnings:
        console.warn(warning)
    return result, queries


def _print(result: "Score", comparison: "Comparison | None") -> None:
    from client.commands import tables

    output = console.output()
    columns = {"%": result.metrics, "Re-ranked": result.reranked, **tables.abstained(result.abstained)}
    output.print(tables.metrics(columns, result.intervals))
    if comparison:
        output.print(tables.comparison(result, comparison))
    if result.verification:
        output.print(tables.verification(result.verification, result.distance))
    if result.discard:
        output.print(tables.discard(result.discard))
    named = "" if result.vectors == "descriptors" else f" of the {result.vectors} vectors"
    output.print(f"{tables.counts(result.metrics)}, {result.distance} distance{named}")
