"""`make gpu-check` without a GPU: that it says so, and all of it but what TensorRT runs, which is ONNX Runtime here."""

from __future__ import annotations

import io
import subprocess
import sys

import onnx
import pytest
import torch
from onnx import TensorProto
from rich.console import Console

from bench.fresh import draw_people
from bench.gpu_check import (
    add_one_look,
    beyond,
    compared,
    graphs_table,
    served_forms,
    serving_table,
    short,
    speeds,
    trained,
    training_table,
    ways,
)
from bench.training_cost import Cost, probe, step_cost
from export.parity import sample_crops
from export.pipelines import OnnxPipeline
from qafm.contract import QUALITY, graph_path
from train.presets import load_preset

SETTINGS = load_preset("demo", identities_per_batch=4, images_per_identity=2, workers=0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_what_it_would_do(tmp_path):
    command = [sys.executable, "-m", "bench.gpu_check", "--out", tmp_path / "out.json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "No GPU here: nothing was measured" in done.stdout
    assert "TensorRT" in done.stdout and not (tmp_path / "out.json").exists()


def test_short_trainings_keep_the_networks_and_see_whole_pictures():
    settings = short(load_preset("synthetic"), 4)
    assert settings.network == load_preset("synthetic").network
    for stage in (settings.iqa, settings.apan, settings.joint):
        assert (stage.epochs, stage.small_epochs) == (4, 0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_what_the_machine_lacks_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    console = Console(width=200, record=True, file=io.StringIO())
    forms, missing = served_forms(tmp_path, console)
    assert not forms and [each.split(":")[0] for each in missing] == ["ONNX Runtime", "TensorRT"]
    assert "SM90" in missing[1] and console.export_text().count("left out:") == 2


@pytest.mark.training
def test_a_run_on_the_cpu_its_export_and_the_tables(tmp_path):
    data = draw_people(tmp_path / "data", SETTINGS, 3)
    run = trained(short(SETTINGS, 1), data, tmp_path / "GPU", cpu=True)
    measured = speeds(run)
    assert all(stage["images_per_s"] > 0 and stage["losses"] for stage in measured.values())
    subprocess.run([sys.executable, "-m", "export", run, "--repository", tmp_path / "fp32"], check=True)
    add_one_look(tmp_path)
    exact, again = OnnxPipeline(tmp_path / "fp32"), OnnxPipeline(tmp_path / "fp32")
    described = {name: describe() for name, describe in ways({"CPU": exact}, sample_crops(1)).items()}
    assert described == {"CPU": None, "CPU, one look": None}
    halves = onnx.load(graph_path(tmp_path / "fp16", QUALITY)).graph.initializer
    assert TensorProto.FLOAT16 in {weights.data_type for weights in halves}
    same = compared(exact, {"again": again}, run, data)["again"]
    assert same["DESCRIPTOR"] == 0 and same["descriptor_cosine"] == pytest.approx(1)
    off = same | {"DESCRIPTOR": 0.5, "alpha_difference": 0.2}
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(training_table({"GPU": measured, "CPU": measured}), graphs_table({"a fp32": same, "a fp16": off}))
    console.print(serving_table({"1": {"CPU": [0.002, 0.004, 0.003]}, "8": {"CPU": [0.5]}}))
    text = console.export_text()
    assert "3.0" in text and "500.0" in text
    assert "0.2 !" in text and text.count("!") == 1  # of float16 the results alone
    assert beyond("fp32", off) == ["alpha_difference", "DESCRIPTOR"] and beyond("fp16", same) == []


def test_what_a_step_costs_by_hand():
    """Bound by the GPU's memory: 32 operations a byte, and Adam's seven numbers for each of four; or by launching."""
    cost = Cost(operations=32e12, operators=100, kept=0, states=4e12)
    assert cost.seconds(1e12) == pytest.approx(1 + 7)
    assert Cost(operations=1, operators=100, kept=0, states=1).seconds(1e12) == pytest.approx(4e-3)


def test_a_step_is_foretold_from_two_smaller_ones():
    settings = load_preset("demo", identities_per_batch=4)
    foretold, taken = step_cost(settings, "iqa", 5), probe(settings, "iqa", 5, 16)
    assert foretold.operations == pytest.approx(taken.operations, rel=1e-3) and foretold.states == taken.states
    assert foretold.kept == pytest.approx(taken.kept, rel=0.02) and foretold.operators == taken.operators
    # Forward and backward over 384x128 pixels: at least the stem's product, and that of its weights' gradient.
    assert foretold.operations > 16 * 2 * 2 * 192 * 64 * 64 * 3 * 49
