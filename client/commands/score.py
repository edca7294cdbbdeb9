"""`client score`: the metrics of descriptors, without a server."""

from pathlib import Path
from typing import Annotated

import typer

from client.commands import console
from client.commands.options import Json, Rerank


def score_descriptors(
    query: Annotated[Path, typer.Argument(help="Descriptors of the queries (.npz).")],
    gallery: Annotated[Path, typer.Argument(help="Descriptors of the gallery (.npz).")],
    rerank: Rerank = False,
    json_file: Json = None,
) -> None:
    """Rank descriptors and print the metrics; needs no server."""
    from dataclasses import asdict

    from client.commands import tables
    from client.report.report import reranked_summary
    from qafm.files import write_json
    from qafm.retrieval.descriptors import RANKED_FIELDS, read_descriptors
    from qafm.retrieval.metrics import PROTOCOL, evaluate
    from qafm.retrieval.reranking import Reranking
    from qafm.retrieval.verification import operating_points

    queries, crops = (read_descriptors(path, RANKED_FIELDS) for path in (query, gallery))
    metrics, verification = evaluate(queries, crops), operating_points(queries, crops)
    reranked = evaluate(queries, crops, Reranking()) if rerank else None
    if json_file is not None:
        summary = {
            **metrics.summary(),
            **reranked_summary(reranked),
            "verification": [asdict(point) for point in verification],
            "protocol": PROTOCOL,
        }
        write_json(json_file, summary)
    output = console.output()
    output.print(tables.metrics({"%": metrics, "Re-ranked": reranked}))
    if verification:
        output.print(tables.verification(verification))
    output.print(tables.counts(metrics))
