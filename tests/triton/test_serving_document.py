"""The examples of docs/serving.md, each in a folder with a picture, against a real server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tritonclient.grpc import InferenceServerClient

from qafm.attributes import COLUMNS, SCHEMA
from qafm.perturbations import PERTURBATIONS
from tests.support.bad_images import GOOD

DOCUMENT = (Path(__file__).parents[2] / "docs/serving.md").read_text()
RUN = {"java": ("Describe.java", ["java"]), "go": ("describe.go", ["go", "run"])}
triton = pytest.mark.triton


def example(language: str, server) -> str:
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
    return text.replace("http://127.0.0.1:8000", f"http://{server.http_url}").replace("127.0.0.1:8001", server.grpc_url)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "crop.jpg").write_bytes(GOOD)
    return tmp_path


def run(command, folder) -> str:
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@triton
def test_the_picture_alone_is_a_request(triton_server, folder):
    shown = subprocess.run(
        ["bash", "-c", example("console", triton_server).strip()],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    head = int(re.search(r"Inference-Header-Content-Length: (\d+)", shown)[1])
    answer = (folder / "answer.bin").read_bytes()
    numbers, start = {}, head
    for output in json.loads(answer[:head])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        numbers[output["name"]] = np.frombuffer(answer[start : start + size], "<f4")
        start += size
    assert np.linalg.norm(numbers["DESCRIPTOR"]) == pytest.approx(1, abs=1e-5) and start == len(answer)
    assert len(numbers["ATTRIBUTES"]) == len(COLUMNS) and len(numbers["SCATTER"]) == len(PERTURBATIONS)


@triton
def test_a_shell_reads_json(triton_server, folder):
    answer = json.loads(run(["bash", "-c", example("bash", triton_server)], folder))
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert outputs.keys() == {"DESCRIPTOR", "UTILITY", "ATTRIBUTES"}
    assert np.linalg.norm(outputs["DESCRIPTOR"]["data"]) == pytest.approx(1, abs=1e-5)


@triton
@pytest.mark.parametrize("language", RUN)
def test_a_program_in_another_language(triton_server, folder, language):
    name, command = RUN[language]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    (folder / name).write_text(example(language, triton_server))
    assert re.fullmatch(r"1000 numbers,? distance 0(\.0)?\n", run([*command, name, "crop.jpg"], folder))
    (folder / "crop.jpg").write_bytes(b"no picture")
    ended = subprocess.run([*command, name, "crop.jpg"], cwd=folder, capture_output=True, text=True, timeout=300)
    assert ended.returncode != 0 and "not a JPEG, PNG, WebP or BMP image" in ended.stderr


@triton
def test_python_with_nothing_but_tritonclient(triton_server, folder):
    assert "(1, 1000)" in run([sys.executable, "-W", "ignore", "-c", example("python", triton_server)], folder)


@triton
def test_the_manifest_names_the_columns(triton_server):
    with InferenceServerClient(triton_server.grpc_url) as client:
        parameters = client.get_model_config("qafm").config.parameters
    columns = json.loads(parameters["manifest"].string_value)["columns"]
    assert columns["ATTRIBUTES"] == list(COLUMNS)
    assert columns["SCATTER"] == [perturbation.name for perturbation in PERTURBATIONS]


def test_the_document_has_every_column_in_its_place():
    for attribute in SCHEMA:
        if attribute.binary:
            said = f"| {attribute.start} | {attribute.name} | {attribute.values[1]} (else {attribute.values[0]}) |"
        else:
            last = attribute.columns.stop - 1
            said = f"| {attribute.start} to {last} | {attribute.name} | {', '.join(attribute.values)} |"
        assert said in DOCUMENT, said
