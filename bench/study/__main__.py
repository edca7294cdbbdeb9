"""`python -m bench.study`: train the recipes of a plan on the dataset `study`, and compare them on its test people.

    run      train recipes, score them, and keep a small CSV file of each; what is there already is passed over
    record   keep the same of any two descriptor files, such as a baseline's
    table    the means of all that is kept, and the gains over one recipe, with 95 % intervals over people and seeds

Two runs side by side want one thread each (OMP_NUM_THREADS=1): then each is hardly slower than alone on two.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from bench.study.recipes import PLAN, Plan, load_plan
from bench.study.results import (
    HEADS,
    METRICS,
    Origin,
    Result,
    digest_of,
    digest_of_people,
    gain,
    mean,
    read_results,
    require_origin,
    result_path,
    write_heads,
    write_identities,
)
from bench.study.scoring import describe_test
from qafm.errors import InvalidSettings, QafmError
from qafm.files import alone_in
from qafm.retrieval.descriptors import read_descriptors
from qafm.weighting.retrieval import Retrieval
from train.checkpoint import checkpoint_path
from train.files import adopt
from train.pipeline import train
from train.quality.scores import SCORES_FILE
from train.settings import WEIGHTING, StageName

app = typer.Typer(help=__doc__, rich_markup_mode=None, add_completion=False)

Results = Annotated[Path, typer.Option(help="Folder of the CSV files.")]
RESULTS = Path("docs/study")


@app.command()
def run(
    data: Annotated[Path, typer.Option(help="What `python -m synthetic --size study` drew.", exists=True)],
    out: Annotated[Path, typer.Option(help="Folder for the runs; interrupted ones go on.")],
    recipes: Annotated[list[str] | None, typer.Argument(help="Of the plan, in this order; all by default.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything random, and of who is held out.", min=0)] = 0,
    plan: Annotated[Path, typer.Option(help="The recipes.")] = PLAN,
    test: Annotated[Path | None, typer.Option(help="Whose test people, if not those of --data.", exists=True)] = None,
    results: Results = RESULTS,
) -> None:
    """Train recipes and score them."""
    console = Console()
    people = (test or data).resolve()
    with _refusals():
        every = load_plan(plan)
        for name in recipes or every.recipes:
            recipe, path = every.recipe(name), result_path(results, name, seed)
            origin = Origin(digest_of(recipe.described(every.settings(name, seed))), digest_of_people(people))
            if path.is_file():
                require_origin(path, origin)
                console.print(f"{name}, seed {seed}: done already")
                continue
            console.rule(f"{name}, seed {seed}")
            trained = _train(every, name, seed, data, out, console, recipe.last)
            sides = describe_test(trained, people, last=recipe.last, flip=recipe.flip, console=console)
            # Any vector has the attributes. The identities last: what has them is done.
            vector = next(iter(sides["query"]))
            write_heads(path.with_suffix(HEADS), [side[vector] for side in sides.values()], people)
            write_identities(path, sides["query"], sides["gallery"], origin)


def _train(plan: Plan, name: str, seed: int, data: Path, out: Path, console: Console, last: StageName) -> Path:
    """The folder of a run of a recipe, trained up to the stage `last`; what it takes from another one is trained first,
    and no more of that."""
    recipe, folder = plan.recipe(name), out / f"{name}-{seed}"
    taken, trained = recipe.stages(last)
    base = _train(plan, recipe.like, seed, data, out, console, taken[-1]) if recipe.like and taken else None
    if base and not trained:
        return base
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder) as alone:
        if not alone:
            raise InvalidSettings(f"{folder}: another process trains it; wait for that one, or choose another --out")
        if base:
            # Q is the IQA network's.
            for source in [*(checkpoint_path(base, stage) for stage in taken), base / SCORES_FILE]:
                if source.is_file():
                    adopt(source, folder)
        settings = plan.settings(name, seed)
        for stage in trained:
            train(settings, data, folder, stage=stage, resume=True, console=console)
        if trained[-1] == "joint" and settings.joint.weighting == Retrieval.kind:
            train(settings, data, folder, stage=WEIGHTING, resume=True, console=console)
    return folder


@app.command()
def record(
    name: Annotated[str, typer.Argument(help="What it is called in the table.")],
    data: Annotated[Path, typer.Option(help="The dataset that was described.", exists=True)],
    query: Annotated[Path, typer.Option(help="Descriptors of the queries, .npz.", exists=True)],
    gallery: Annotated[Path, typer.Option(help="Descriptors of the gallery, .npz.", exists=True)],
    seed: Annotated[int, typer.Option(min=0)] = 0,
    vector: Annotated[str, typer.Option(help="Which of our vectors it is compared with.")] = "visual",
    results: Results = RESULTS,
) -> None:
    """Keep the result of a baseline."""
    with _refusals():
        sides = [read_descriptors(path) for path in (query, gallery)]
        origin = Origin(sides[0].model or name, digest_of_people(data))
        write_identities(result_path(results, name, seed), *({vector: side} for side in sides), origin)


@app.command()
def table(
    against: Annotated[str, typer.Option(help="The recipe that gains are over.")] = "sum",
    results: Results = RESULTS,
) -> None:
    """Means and gains in per cent, as Markdown."""
    with _refusals():
        found = read_results(results)
        for vector in dict.fromkeys(vector for runs in found.values() for vector, _ in runs[0].means):
            print(f"\n| {vector} | seeds | mAP | Rank-1 | mAP over {against} |\n|---|--:|--:|--:|--:|")
            for name, runs in found.items():
                if (vector, METRICS[0]) in runs[0].means:
                    print(_row(name, runs, found.get(against, []), vector))


def _row(name: str, runs: list[Result], against: list[Result], vector: str) -> str:
    shown = [f"{100 * value:.1f} ({ends.in_per_cent(1)})" for value, ends in (mean(runs, vector, m) for m in METRICS)]
    common = {run.seed for run in runs} & {run.seed for run in against if (vector, METRICS[0]) in run.means}
    own, other = ([run for run in side if run.seed in common] for side in (runs, against))
    over = gain(own, other, vector).in_per_cent() if common and own[0].recipe != other[0].recipe else ""
    return f"| {name} | {', '.join(str(run.seed) for run in runs)} | {' | '.join(shown)} | {over} |"


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except (QafmError, OSError) as error:
        Console(stderr=True).print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    app()
