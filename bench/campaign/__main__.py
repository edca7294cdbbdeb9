"""`python -m bench.campaign REPOSITORY`: what may go wrong, for an hour and three quarters.

Broken pictures through the decoder and through a server, processes killed and stopped during an evaluation, a network
that breaks off, requests that are given up, and an hour's load with one request in ten hostile. `--share` scales all of
it. The seed is printed, and pictures that did harm are kept. Give it a repository with demo-size networks: with
full-size ones the machine is busy with those. docs/reliability.md has what it showed.

Exit status: 0 nothing was lost, 1 something was.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.campaign.parts import PARTS, Campaign, Outcome
from bench.measure import Out, conclude


def main(
    repository: Annotated[Path, typer.Argument(help="A model repository with small networks.", exists=True)],
    part: Annotated[
        list[str] | None, typer.Option(help=f"One of {', '.join(PARTS)}; can be given several times.")
    ] = None,
    share: Annotated[float, typer.Option(min=0.0001, max=1, help="Of the whole campaign.")] = 1.0,
    seed: Annotated[int | None, typer.Option(help="Of all that is drawn.")] = None,
    findings: Annotated[Path, typer.Option(help="Folder for pictures that did harm.")] = Path(
        "build/campaign/findings"
    ),
    out: Out = Path("build/campaign/campaign.json"),
) -> None:
    """Attack the decoder and a server, and say what was lost."""
    if unknown := set(part or ()) - PARTS.keys():
        raise typer.BadParameter(f"expected {', '.join(PARTS)}, got {unknown.pop()!r}", param_hint="--part")
    console = Console()
    seed = int.from_bytes(os.urandom(4), "little") if seed is None else seed
    console.print(f"seed {seed}", highlight=False)
    campaign = Campaign(repository, share, seed, findings, console)
    outcomes: dict[str, Outcome] = {}
    for name in part or PARTS:
        outcomes[name] = PARTS[name](campaign)
        console.print(f"{name}: {outcomes[name].summary}", highlight=False, soft_wrap=True)
    lost = [f"{name}: {words}" for name, outcome in outcomes.items() for words in outcome.lost]
    for words in lost[:20]:
        console.print(f"[red]lost[/] {words}", highlight=False, soft_wrap=True)
    found = {name: asdict(outcome) for name, outcome in outcomes.items()}
    conclude(console, out, [], ("tritonclient", "numpy", "pillow"), seed=seed, share=share, **found)
    if lost:
        raise typer.Exit(1)
    console.print("nothing was lost")


if __name__ == "__main__":
    typer.run(main)
