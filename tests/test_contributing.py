"""The worked examples of CONTRIBUTING.md: a package outside of the source tree, and commands that use it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
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
    _install(folder)
    rows = "\n".join(f"{i}.5|{(i * 7) % 11}.25" for i in range(200))
    (folder / "rows.pipes").write_text(rows + "\n")
    return folder


def _install(folder: Path) -> None:
    """What pip makes of the entry points of a package."""
    toml = re.findall(r"```toml\n(.*?)```", EXAMPLES, re.DOTALL)[0]
    project = tomllib.loads(toml)["project"]
    information = folder / "mine-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    lines = [
        line
        for group, points in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in points.items()))
    ]
    (information / "entry_points.txt").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_worked_example_works(command: str, folder: Path) -> None:
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    program, rest = command.split(" ", 1)
    assert program == "zerosum"
    run = subprocess.run(
        f"{sys.executable} -m zerosum {rest}",
        shell=True,
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
    )
    assert run.returncode == 0, run.stderr
    expected = re.search(r"# \.\.\. (.*) \.\.\.", rest)  # what an example says that it prints
    assert expected is None or expected[1] in run.stdout
