"""The benchmarks can be started; what they measure needs a quiet machine."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from bench.measure import interleave, ratio


@pytest.mark.parametrize("name", ["ranking", "serving", "training"])
def test_a_benchmark_says_how_it_is_used(name):
    """In this process: loading PyTorch once is enough. `bench.views` sets the environment, so it has its own."""
    app = typer.Typer()
    app.command()(importlib.import_module(f"bench.{name}").main)
    done = CliRunner().invoke(app, ["--help"])
    assert done.exit_code == 0 and "--rounds" in done.output


def test_a_whole_benchmark_writes_its_ratios(tmp_path):
    out = tmp_path / "views.json"
    arguments = ["--rounds", "1", "--crops", "1", "--out", out]
    done = subprocess.run([sys.executable, "-m", "bench.views", *arguments], capture_output=True, text=True)
    assert done.returncode == 0 and f"written: {out}" in done.stdout.replace("\n", ""), done.stderr
    content = json.loads(Path(out).read_text())
    assert content.keys() == {"machine", "rounds", "seconds", "ratios"} and len(content["ratios"]) == 2
    assert all(each["median"] > 0 for each in content["ratios"])


def test_ratios_by_hand():
    seconds = {"a": [2.0, 9.0, 4.0], "b": [1.0, 3.0, 1.0]}
    found = ratio(seconds, "a", "b", "above 1")
    assert (found.median, found.low, found.high) == (3, 2, 4)
    assert str(found) == "a / b: 3.000 (2.000 to 4.000), promised above 1"


def test_variants_take_turns_and_the_first_round_does_not_count():
    calls = []
    variants = {name: lambda name=name: calls.append(name) or float(len(calls)) for name in "ab"}
    seconds = interleave(variants, 2, console=Console(quiet=True))
    assert calls == ["a", "b"] * 3 and seconds == {"a": [3.0, 5.0], "b": [4.0, 6.0]}
