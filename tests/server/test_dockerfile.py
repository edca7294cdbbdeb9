"""What can be said of the server image without building it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def instructions():
    """(instruction, argument) of each, continued lines joined, comments left out."""
    text = "\n".join(
        line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")
    ).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def last(instructions, name):
    return [argument for instruction, argument in instructions if instruction == name][-1]


def test_the_base_is_a_pinned_triton_that_reports_dead_stubs(instructions):
    year, month = re.fullmatch(r"nvcr\.io/nvidia/tritonserver:(\d\d)\.(\d\d)-py3", last(instructions, "FROM")).groups()
    assert (int(year), int(month)) >= (26, 4)


def test_it_runs_as_an_unprivileged_account(instructions):
    user = last(instructions, "USER").split(":")[0]
    assert user.isdigit()
    assert int(user) > 0
    names = [instruction for instruction, _ in instructions]
    assert "RUN" not in names[names.index("USER") :], "what is installed belongs to root"


def test_it_installs_the_base_dependencies_alone(instructions):
    installs = [argument for name, argument in instructions if name == "RUN" and "pip install" in argument]
    project, tensorrt = installs
    assert project == "python3 -m pip install ."
    assert "--no-deps" in tensorrt and "libnvinfer" in tensorrt, "of the version that the image has, and nothing else"


def test_health_is_the_known_answer(instructions):
    assert last(instructions, "HEALTHCHECK").endswith('CMD ["python3", "-m", "server.probe"]')


def test_it_serves_the_mounted_models_through_the_projects_own_command(instructions):
    entrypoint = last(instructions, "ENTRYPOINT")
    assert '"-m", "server", "--repository", "/models", "--host", "0.0.0.0"' in entrypoint
    assert last(instructions, "VOLUME") == "/models"


def test_everything_it_copies_is_sent_and_exists(instructions):
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source for name, argument in instructions if name == "COPY" for source in argument.split()[:-1]}
    assert copied == sent
    assert all((ROOT / source).exists() for source in copied)
