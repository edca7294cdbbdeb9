"""The study: its plan, what it keeps of a run, and a whole one on a handful of people."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from bench.study.__main__ import app
from bench.study.recipes import PLAN, load_plan, merge
from bench.study.results import (
    Origin,
    digest_of,
    gain,
    mean,
    read_results,
    require_origin,
    result_path,
    write_identities,
)
from bench.study.scoring import constant_alpha
from qafm.errors import InvalidDescriptors, InvalidSettings
from qafm.retrieval.descriptors import Descriptors
from qafm.weighting.constant import Constant
from synthetic import Recipe, make_dataset
from tests.support.short_run import SETTINGS
from train.checkpoint import load_networks
from train.presets import load_preset, save_settings
from train.quality.teaching import load_fitted_weighting

ROOT = Path(__file__).resolve().parents[2]
ORIGIN = "# settings abc people def"


@pytest.mark.parametrize("path", sorted(PLAN.parent.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_of_a_plan_has_settings_of_its_own(path):
    plan = load_plan(path)
    first, *_ = plan.recipes
    whole = plan.settings(first, 3)
    for name, recipe in plan.recipes.items():
        assert (plan.settings(name, 3) == whole) == (name == first or not recipe.change), name
        assert recipe.like is None or plan.recipe(recipe.like).like is None
    assert load_plan().settings("sum", 3) == load_preset("study", seed=3)


def test_the_stages_of_a_recipe():
    plan = load_plan(PLAN.with_name("groups.yaml"))
    assert plan.recipe("no-neck").stages("joint") == (("iqa", "apan"), ("joint",))
    assert plan.recipe("no-ibn").stages("joint") == ((), ("iqa", "apan", "joint"))
    # Asked for less than it trains.
    assert plan.recipe("sum").stages("apan") == ((), ("iqa", "apan"))
    assert plan.recipe("apan-priors").stages("iqa") == (("iqa",), ())
    assert load_plan().recipe("apan-alone").stages("apan") == (("iqa", "apan"), ())


@pytest.mark.parametrize(
    ("folder", "plan"),
    [
        ("study", "plan.yaml"),
        ("study/sum", "groups.yaml"),
        ("study/groups", "groups.yaml"),
        ("study/premise", "premise.yaml"),
        ("study/pretrained", "pretrained.yaml"),
        ("study/resnet50", "resnet50.yaml"),
    ],
)
def test_what_is_kept_is_of_the_recipes_that_it_is_named_after(folder, plan):
    """The published results, by the digest of their settings; those of baselines say what made them."""
    plan, checked = load_plan(PLAN.with_name(plan)), 0
    for path in (ROOT / "docs" / folder).glob("*-[0-9].csv"):
        name, seed = path.stem.rsplit("-", 1)
        if not name.startswith("torchreid"):
            settings = plan.settings(name, int(seed))
            assert path.read_text().split()[2] == digest_of(plan.recipe(name).described(settings)), path.name
            checked += 1
    assert checked


def test_settings_are_merged_group_by_group():
    assert merge({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 5}}) == {"a": {"b": 1, "c": 5}, "d": 3}
    assert merge({"a": {"b": 1}}, {"a": 2}) == {"a": 2}


def test_a_recipe_that_is_none_is_refused(tmp_path):
    with pytest.raises(InvalidSettings, match="no recipe 'magic'; the plan has sum, flip"):
        load_plan().recipe("magic")
    path = tmp_path / "plan.yaml"
    path.write_text("preset: study\nrecipes: {odd: {why: nothing, change: {network: {neck: long}}}}\n")
    with pytest.raises(InvalidSettings, match="recipe odd: .*neck"):
        load_plan(path).settings("odd", 0)
    path.write_text("preset: study\nrecipes: {odd: {first: third}}\n")
    with pytest.raises(InvalidSettings, match="cannot be read as a plan"):
        load_plan(path)


def of_people(vectors, pids, camids) -> Descriptors:
    return Descriptors(np.array(vectors, np.float32), np.array(pids, dtype=np.int64), np.array(camids, dtype=np.int64))


def test_what_is_kept_of_a_run_by_hand(tmp_path):
    """Person 5 is found at once by one query and second by the other, person 7 at once; a third has no match."""
    gallery = of_people([[1, 0], [0, 1], [-1, 0]], [5, 7, 0], [2, 2, 2])
    query = of_people([[1, 0.1], [0.4, 1], [0, 1], [1, 1]], [5, 5, 7, 9], [1, 1, 1, 1])
    path = result_path(tmp_path, "one", 0)
    write_identities(path, {"visual": query}, {"visual": gallery}, Origin("abc", "def"))
    with path.open(newline="") as file:
        assert file.readline() == "# settings abc people def\n"
        assert list(csv.DictReader(file)) == [
            {"pid": "5", "queries": "2", "visual_mAP": "0.75", "visual_rank1": "0.5"},
            {"pid": "7", "queries": "1", "visual_mAP": "1.0", "visual_rank1": "1.0"},
        ]
    require_origin(path, Origin("abc", "def"))
    with pytest.raises(InvalidSettings, match=r"one-0\.csv: it is of other people \(def, now other\)"):
        require_origin(path, Origin("abc", "other"))
    runs = read_results(tmp_path)["one"]
    value, ends = mean(runs, "visual")
    assert value == pytest.approx((1 + 0.5 + 1) / 3) and ends.low < value < ends.high
    assert mean(runs, "visual", "rank1")[0] == pytest.approx(2 / 3)


def test_a_gain_is_over_the_same_people_and_seeds(tmp_path):
    lines = {"better": ("5,2,0.75", "7,1,1.0"), "worse": ("5,2,0.5", "7,1,0.25"), "others": ("5,2,0.5", "8,1,0.5")}
    for name, rows in lines.items():
        for seed in (10, 0, 1):
            result_path(tmp_path, name, seed).write_text("\n".join([ORIGIN, "pid,queries,visual_mAP", *rows]) + "\n")
    result_path(tmp_path, "better", 0).with_suffix(".heads.csv").write_text("head\n")
    found = read_results(tmp_path)
    assert [run.seed for run in found["better"]] == [0, 1, 10]
    assert gain(found["better"], found["worse"], "visual").value == pytest.approx((2 * 0.25 + 0.75) / 3)
    with pytest.raises(InvalidDescriptors, match="better and others are not of the same test people"):
        gain(found["better"], found["others"], "visual")
    moved = dataclasses.replace(found["better"][1], pids=np.array([5, 9]))
    with pytest.raises(InvalidDescriptors, match="seeds 0 and 1 of better are of different test people"):
        mean([found["better"][0], moved], "visual")
    result_path(tmp_path, "elsewhere", 0).write_text("# settings abc people other\npid,queries,visual_mAP\n5,2,0.5\n")
    with pytest.raises(InvalidDescriptors, match="are of different test people"):
        read_results(tmp_path)
    result_path(tmp_path, "elsewhere", 0).write_text("pid,queries,visual_mAP\n5,2,0.5\n")
    with pytest.raises(InvalidDescriptors, match="does not say what it is of"):
        read_results(tmp_path)


@pytest.mark.training
def test_a_whole_study_of_a_handful_of_people(tmp_path):
    """What a recipe does not touch is the very same network, and what is done is not done again."""
    data, runs, results = tmp_path / "data", tmp_path / "runs", tmp_path / "results"
    make_dataset(Recipe(train_identities=6, test_identities=6, images_per_identity=3, distractors=0, junk=0), data)
    preset, plan = tmp_path / "short.yaml", tmp_path / "plan.yaml"
    save_settings(SETTINGS, preset)
    recipes = {
        "sum": {"why": "all"},
        "flip": {"why": "mirror images", "like": "sum", "first": None, "flip": True},
        "apan-alone": {"why": "before", "like": "sum", "first": None, "last": "apan"},
        "visual-fc": {
            "why": "control", "like": "sum", "first": "joint", "change": {"joint": {"weighting": "visual"}}
        },
        "fitted": {
            "why": "α", "like": "sum", "first": "joint", "change": {"joint": {"weighting": "retrieval"}}
        },
    }  # fmt: skip
    plan.write_text(yaml.safe_dump({"preset": str(preset), "recipes": recipes}))
    command = ["run", "--data", data, "--out", runs, "--plan", plan, "--results", results]
    done = CliRunner().invoke(app, [str(part) for part in command])
    assert done.exit_code == 0, done.output
    assert {path.name for path in results.glob("*-0.csv")} == {f"{name}-0.csv" for name in recipes}

    whole, control = load_networks(runs / "sum-0"), load_networks(runs / "visual-fc-0")
    # The FC teaches the branches nothing: they are the same with either.
    for branch in ("iqa", "apn", "apan"):
        ours, theirs = getattr(whole, branch).state_dict(), getattr(control, branch).state_dict()
        assert all((ours[name] == theirs[name]).all() for name in ours), branch
    assert control.weighting.served().value == 1
    assert constant_alpha(runs / "visual-fc-0", control) == 1
    fitted = load_fitted_weighting(runs / "fitted-0")
    networks = load_networks(runs / "fitted-0")
    assert isinstance(fitted, Constant) and constant_alpha(runs / "fitted-0", networks) == fitted.value
    columns = {name: runs[0].means.keys() for name, runs in read_results(results).items()}
    assert columns["apan-alone"] == {("semantic", "mAP"), ("semantic", "rank1")}
    assert len(columns["sum"]) == len(columns["flip"]) == 6

    before = result_path(results, "sum", 0).stat().st_mtime_ns
    again = CliRunner().invoke(app, [str(part) for part in command])
    assert again.exit_code == 0 and again.output.count("done already") == len(recipes)
    assert result_path(results, "sum", 0).stat().st_mtime_ns == before
    changed = yaml.safe_dump({"preset": str(preset), "recipes": recipes | {"flip": recipes["flip"] | {"flip": False}}})
    plan.write_text(changed)
    refused = CliRunner().invoke(app, [str(part) for part in command])
    assert refused.exit_code == 2 and "it is of other settings" in refused.output.replace("\n", " ")
    table = CliRunner().invoke(app, ["table", "--results", str(results)])
    assert table.exit_code == 0 and "| visual | seeds |" in table.output and "| visual-fc | 0 |" in table.output
