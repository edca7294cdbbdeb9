"""`client compare`: reports beside each other, query by query."""

from pathlib import Path
from typing import Annotated

import typer

from client.commands import console
from client.commands.options import Json

SHOWN = 5


def compare_reports(
    reports: Annotated[
        list[Path],
        typer.Argument(help="Folders of `client eval --report`, of the same queries; the first is the yardstick."),
    ],
    json_file: Json = None,
) -> None:
    """Compare reports with the first one, query by query; needs no server."""
    from client.commands import tables
    from client.evaluation.earlier import compare_evaluations, read_evaluated
    from qafm.errors import InvalidSettings
    from qafm.files import write_json

    if len(reports) < 2:
        raise InvalidSettings(f"{reports[0]} alone cannot be compared; expected two reports or more")
    first, *others = (read_evaluated(folder) for folder in reports)
    compared = [compare_evaluations(each, first) for each in others]
    if json_file is not None:
        write_json(json_file, {"first": str(reports[0]), "compared": [each.summary() for each in compared]})
    for each in compared:
        if each.warning:
            console.warn(f"{each.after.name}: {each.warning}")
    output = console.output()
    output.print(tables.evaluations(first, compared))
    for each in compared:
        if each.better or each.worse:
            output.print(tables.changes(each, SHOWN))
