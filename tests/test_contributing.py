"""The worked examples of CONTRIBUTING.md: a package outside of the source tree, and commands that use it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TEXT = (Path(__file__).resolve().parent.parent / "CONTRIBUTING.md").read_text()
EXAMPLES = TEXT.split("## Adding a thing", 1)[1]
FILES = dict(re.findall(r"```python\n# (mine/\S+)\n(.*?)```", EXAMPLES, re.DOTALL))
COMMANDS = [
    line for block in re.findall(r"```sh\n(.*?)```", EXAMPLES, re.DOTALL) for line in block.splitlines()
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contributor")
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_a_worked_example_works(command: str, folder: Path) -> None:
    program, rest = command.split(" ", 1)
    assert program == "zerosum"
    run = subprocess.run(
        f"{sys.executable} -m zerosum {rest}",
        shell=True,
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr
    expected = re.search(r"# \.\.\. (.*) \.\.\.", rest)  # what an example says that it prints
    assert expected is None or expected[1] in run.stdout
