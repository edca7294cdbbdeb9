"""The house rules, as tests: imports point only upward, and the core and the client need no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("qafm", "synthetic", "train", "export", "server", "client", "bench")
MAY_IMPORT = {
    "qafm": set(),
    "synthetic": {"qafm"},
    "train": {"qafm", "synthetic"},
    "export": {"qafm", "synthetic", "train"},
    "model_repository": {"qafm"},
    "server": {"qafm"},
    "client": {"qafm"},
    "bench": {"qafm", "synthetic", "train", "export", "server", "client"},
}
QAFM_MAY_INSTALL = {"numpy", "PIL"}
SCIPY_BELONGS_IN = Path("qafm/datasets/attribute_file.py")


SOURCES = (*PACKAGES, "model_repository")
LONGEST_MODULE, LONGEST_FUNCTION, FULLEST_FOLDER = 300, 60, 20


def imports(path: Path) -> Iterator[str]:
    """The dotted names a file imports, anywhere in it but under `if TYPE_CHECKING`."""
    yield from _imports(ast.parse(path.read_text()), path)


def _imports(node: ast.AST, path: Path) -> Iterator[str]:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        for branch in node.orelse:
            yield from _imports(branch, path)
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert not node.level, f"{path}: relative import; the project writes imports in full"
        # What is imported from a package may be a module of it.
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, path)


def imported(path: Path) -> set[str]:
    """The top-level names a file imports."""
    return {name.split(".")[0] for name in imports(path)}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def module_graph(root: Path, paths: Iterable[Path]) -> dict[str, set[str]]:
    """For each module, which of the others it imports."""
    names = {path: ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__") for path in paths}
    modules = set(names.values())
    graph = {}
    for path, name in names.items():
        wanted = {dotted if dotted in modules else dotted.rpartition(".")[0] for dotted in imports(path)}
        graph[name] = (wanted & modules) - {name}
    return graph


def folders_of(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The same graph with each folder inside a package as one."""

    def place(module: str) -> str:
        return ".".join(module.split(".")[:2])

    folded: dict[str, set[str]] = {}
    for module, wanted in graph.items():
        folded.setdefault(place(module), set()).update(place(other) for other in wanted)
    return {name: wanted - {name} for name, wanted in folded.items()}


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Names that import each other in a circle; none if there is no circle."""
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        return list(error.args[1])
    return []


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


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_has_a_circle(package):
    graph = module_graph(ROOT, sources(package))
    assert circle(graph) == []
    assert circle(folders_of(graph)) == []


@pytest.mark.parametrize("package", SOURCES)
def test_modules_functions_and_folders_are_of_a_size_to_read(package):
    too_long = []
    for path in sources(package):
        text = path.read_text()
        if (lines := len(text.splitlines())) > LONGEST_MODULE:
            too_long.append(f"{path.relative_to(ROOT)}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                if (lines := node.end_lineno - first + 1) > LONGEST_FUNCTION:
                    too_long.append(f"{path.relative_to(ROOT)}: {node.name} has {lines} lines")
    for folder in {path.parent for path in sources(package)}:
        if (modules := len(list(folder.glob("*.py")))) > FULLEST_FOLDER:
            too_long.append(f"{folder.relative_to(ROOT)}: {modules} modules")
    assert not too_long


def write(folder: Path, files: dict[str, str]) -> list[Path]:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return [folder / name for name in files]


def test_the_walk_sees_a_wrong_arrow(tmp_path):
    (wrong,) = write(tmp_path, {"wrong.py": "def f():\n    from train.networks import APN\n"})
    assert imported(wrong) == {"train"}


def test_the_walk_sees_a_circle_inside_functions_but_not_under_type_checking(tmp_path):
    house = {"a/__init__.py": "", "a/b.py": "from a.c import C\n", "a/d/__init__.py": "", "a/d/e.py": "import a.b\n"}
    inside = write(tmp_path, {**house, "a/c.py": "def f():\n    from a import b\n"})
    assert set(circle(module_graph(tmp_path, inside))) == {"a.b", "a.c"}
    typing = write(tmp_path, {**house, "a/c.py": "if TYPE_CHECKING:\n    from a import b\n"})
    assert circle(module_graph(tmp_path, typing)) == []
    folders = write(tmp_path, {**house, "a/c.py": "", "a/d/f.py": "", "a/b.py": "import a.d.f\n"})
    graph = module_graph(tmp_path, folders)
    assert circle(graph) == [] and set(circle(folders_of(graph))) == {"a.b", "a.d"}
