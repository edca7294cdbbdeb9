"""Whether the files of a model repository are those that its manifest names."""

from __future__ import annotations

import ast
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from qafm.contract import ALPHA_FILE, MANIFEST_PARAMETER, QAFM, graph_path
from qafm.errors import ContractMismatch, ServerFailed
from qafm.files import sha256_of
from qafm.manifest import Manifest, digest_of_arrays

# As protobuf's text format writes an entry of `parameters`. Its escapes are those of a bytes literal in Python.
_KEY = rf'key\s*:\s*"{MANIFEST_PARAMETER}"'
_PARAMETER = _KEY + r'\s*,?\s*value\s*:?\s*\{\s*string_value\s*:\s*("(?:[^"\\]|\\.)*")'


def check_files(repository: Path) -> None:
    """Read every file that the manifest has a hash of; a repository without a manifest is left alone.

    Raises ServerFailed where one is missing or another, ContractMismatch where the manifest cannot be read.
    """
    manifest = _manifest(repository)
    if manifest and (wrong := list(_wrong(repository, manifest))):
        raise ServerFailed(
            f"{'; '.join(wrong)}. What is served must be what was exported: export the run again, or copy the "
            "repository anew"
        )


def _wrong(repository: Path, manifest: Manifest) -> Iterator[str]:
    for model, graph in manifest.content.get("graphs", {}).items():
        for key, tensorrt in (("sha256", False), ("tensorrt_sha256", True)):
            if key not in graph:
                continue
            path = graph_path(repository, model, tensorrt=tensorrt)
            if not path.is_file():
                yield f"model '{model}': no graph at {path}"
            elif (found := sha256_of(path)) != graph[key]:
                yield f"model '{model}': {path} has SHA-256 {found[:12]}…, expected {graph[key][:12]}… of its manifest"
    weights = repository / "alpha" / "1" / ALPHA_FILE
    expected = manifest.content.get("digests", {}).get("alpha")
    if expected and _digest(weights) != expected:
        yield f"model 'alpha': {weights} is not the weighting of its manifest"


def _digest(weights: Path) -> str | None:
    """Of the arrays of a weighting, as the manifest has it; None where there are none to read."""
    try:
        with np.load(weights, allow_pickle=False) as stored:
            return digest_of_arrays({name: stored[name] for name in stored.files if name != "format"})
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None


def _manifest(repository: Path) -> Manifest | None:
    config = repository / QAFM / "config.pbtxt"
    text = config.read_text() if config.is_file() else ""
    if not re.search(_KEY, text):
        return None
    found = re.search(_PARAMETER, text, re.DOTALL)
    try:
        return Manifest.parse(ast.literal_eval(f"b{found[1]}").decode() if found else "")
    except (SyntaxError, ValueError) as error:
        raise ContractMismatch(f"it is not written as protobuf's text format writes it: {error}") from error
