"""Files against the manifest that stands in a repository's configurations."""

import hashlib

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from qafm.errors import ContractMismatch, ServerFailed
from qafm.manifest import Manifest, digest_of_arrays
from server.integrity import check_files
from server.repository import Repository

ARRAYS = {"kind": np.array("constant"), "alpha": np.array(0.75, np.float32)}


@pytest.fixture
def repository(tmp_path):
    """What `python -m export` would write of two networks, one of them in two dialects."""
    files = {"apn/1/model.onnx": b"a graph", "iqa/1/model.onnx": b"another", "iqa/1/tensorrt.onnx": b"its twin"}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "alpha" / "1").mkdir(parents=True)
    np.savez(tmp_path / "alpha" / "1" / "alpha.npz", format=np.array(2), **ARRAYS)
    digest = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    about = {
        "words": 'quotes ", a \\ and α',
        "graphs": {
            "apn": {"sha256": digest["apn/1/model.onnx"]},
            "iqa": {"sha256": digest["iqa/1/model.onnx"], "tensorrt_sha256": digest["iqa/1/tensorrt.onnx"]},
        },
    }
    write(tmp_path, Manifest.of({"alpha": digest_of_arrays(ARRAYS)}, {}, about).json())
    return tmp_path


def write(repository, manifest):
    config = ModelConfig(name="qafm")
    config.parameters["manifest"].string_value = manifest
    (repository / "qafm").mkdir(exist_ok=True)
    (repository / "qafm" / "config.pbtxt").write_text("# a comment\n" + text_format.MessageToString(config))


def test_what_was_exported_passes(repository):
    check_files(repository)


@pytest.mark.parametrize("name", ["apn/1/model.onnx", "iqa/1/model.onnx", "iqa/1/tensorrt.onnx"])
def test_a_graph_with_one_flipped_bit_is_named(repository, name):
    content = bytearray((repository / name).read_bytes())
    content[2] ^= 1
    (repository / name).write_bytes(content)
    with pytest.raises(ServerFailed, match=rf"{name} has SHA-256 .*export the run again"):
        check_files(repository)


def test_every_file_that_is_wrong_is_named(repository):
    (repository / "apn/1/model.onnx").unlink()
    (repository / "iqa/1/tensorrt.onnx").write_bytes(b"")
    with pytest.raises(ServerFailed, match=r"model 'apn': no graph at .*apn/1/model\.onnx; .*iqa/1/tensorrt\.onnx has"):
        check_files(repository)


@pytest.mark.parametrize("change", ["value", "bytes", "gone"])
def test_another_weighting_is_named(repository, change):
    path = repository / "alpha" / "1" / "alpha.npz"
    if change == "value":
        np.savez(path, format=np.array(2), **ARRAYS | {"alpha": np.array(0.5, np.float32)})
    elif change == "bytes":
        path.write_bytes(path.read_bytes()[:40])
    else:
        path.unlink()
    with pytest.raises(ServerFailed, match=r"model 'alpha': .*alpha\.npz is not the weighting of its manifest"):
        check_files(repository)


def test_a_weighting_of_the_same_arrays_in_another_file_is_the_same(repository):
    np.savez_compressed(repository / "alpha" / "1" / "alpha.npz", **ARRAYS)
    check_files(repository)


def test_a_repository_without_a_manifest_or_of_an_older_format_passes(repository):
    write(repository, '{"alpha": 1}')
    check_files(repository)
    (repository / "qafm" / "config.pbtxt").unlink()
    check_files(repository)


def test_a_manifest_that_cannot_be_read_is_an_error(repository):
    write(repository, "no JSON")
    with pytest.raises(ContractMismatch):
        check_files(repository)
    with pytest.raises(ServerFailed, match="the manifest in .* cannot be read"):
        Repository(repository).check()


@pytest.mark.parametrize(
    "written",
    [
        'parameters { key: "manifest", value: { string_value: "{}" } }',
        'parameters < key: "manifest" value < string_value: "{}" > >',
        'parameters { key: "manifest" value { string_value: "{\\xzz}" } }',
    ],
)
def test_a_manifest_that_is_there_is_read_or_refused_and_never_passed_over(repository, written):
    (repository / "qafm" / "config.pbtxt").write_text(written)
    if "," in written:
        check_files(repository)  # of format 1, without hashes
    else:
        with pytest.raises(ServerFailed, match="the manifest in .* cannot be read"):
            Repository(repository).check()
