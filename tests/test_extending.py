"""The examples of docs/extending.md hold, each in a process and a folder of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = {
    part.splitlines()[0]: "".join(re.findall(r"^```python\n(.*?)^```$", part, re.DOTALL | re.MULTILINE))
    for part in re.split(r"^## ", (ROOT / "docs/extending.md").read_text(), flags=re.MULTILINE)[1:]
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_holds(name, tmp_path):
    assert "assert " in EXAMPLES[name]
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{EXAMPLES[name]}"
    ended = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
