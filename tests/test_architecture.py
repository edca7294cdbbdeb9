"""The house rules, as tests: imports point only upward, and the core and the client need no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("qafm", "synthetic", "train", "export", "server", "client", "bench")
MAY_IMPORT = {
    "qafm": set(),
    "synthetic": {"qafm"},
    "train": {"qafm", "synthetic"},
    "export": {"qafm", "train"},
    "model_repository": {"qafm"},
    "server": {"qafm"},
    "client": {"qafm"},
    "bench": {"qafm", "synthetic", "train", "export", "server", "client"},
}
QAFM_MAY_INSTALL = {"numpy", "PIL"}
SCIPY_BELONGS_IN = Path("qafm/datasets/attribute_file.py")


def imported(path: Path) -> set[str]:
    """The top-level names a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
        elif isinstance(node, ast.ImportFrom) and node.level:
            raise AssertionError(f"{path}: relative import; the project writes imports in full")
    return names


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_only_upward(package):
    for path in sources(package):
        wrong = imported(path) & set(PACKAGES) - {package} - MAY_IMPORT[package]
        assert not wrong, f"{path.relative_to(ROOT)} imports {', '.join(sorted(wrong))}"


def test_the_core_needs_numpy_and_pillow_alone():
    for path in sources("qafm"):
        allowed = QAFM_MAY_INSTALL | set(sys.stdlib_module_names) | {"qafm"}
        if path.relative_to(ROOT) == SCIPY_BELONGS_IN:
            allowed |= {"scipy"}
        wrong = imported(path) - allowed
        assert not wrong, f"{path.relative_to(ROOT)} imports {', '.join(sorted(wrong))}"


def modules(package: str) -> list[str]:
    paths = [path.relative_to(ROOT).with_suffix("") for path in sources(package)]
    return [".".join(path.parts).removesuffix(".__init__") for path in paths if path.name != "__main__"]


@pytest.mark.parametrize("packages", [("qafm", "client"), ("synthetic",)], ids="+".join)
def test_imports_without_torch(packages):
    names = [name for package in packages for name in modules(package.replace(".", "/"))]
    blocked = "import sys; sys.modules['torch'] = sys.modules['torchvision'] = None"
    statements = "; ".join(f"import {name}" for name in names)
    subprocess.run([sys.executable, "-c", f"{blocked}; {statements}"], check=True, cwd=ROOT)


def test_the_walk_sees_a_wrong_arrow(tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text("def f():\n    from train.networks import APN\n")
    assert imported(wrong) == {"train"}
