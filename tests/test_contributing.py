"""The worked examples of CONTRIBUTING.md: a package outside of the source tree, and commands that use it."""

from __future__ import annotations

import json
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
PARTS = ("objective", "penalty", "network", "source", "metric", "instrument", "format of files", "verb")
PLAY = """
import contextlib, io, json, shlex, sys
from zerosum.cli import main
for command in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = main(shlex.split(command, comments=True)[1:])
    print(json.dumps([code, out.getvalue()]), flush=True)
"""


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
    (folder / "made.csv").write_text("x,y\n" + rows.replace("|", ",") + "\n")
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


def test_each_thing_that_people_add_has_a_worked_example() -> None:
    for part in PARTS:
        assert re.search(rf"\ban? {part}\b", EXAMPLES, re.IGNORECASE), part
    assert len(FILES) == len(PARTS)


@pytest.fixture(scope="module")
def played(folder: Path) -> dict[str, tuple[int, str]]:
    """The exit code and the output of each command, all given in one process where the package stands."""
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    run = subprocess.run(
        [sys.executable, "-c", PLAY],
        cwd=folder,
        capture_output=True,
        text=True,
        input=json.dumps(COMMANDS),
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
    )
    assert run.returncode == 0, run.stderr
    print(run.stderr)
    return dict(zip(COMMANDS, map(json.loads, run.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("number", range(len(COMMANDS)))
def test_a_worked_example_works(number: int, played: dict[str, tuple[int, str]]) -> None:
    command = COMMANDS[number]
    code, printed = played[command]
    assert command.startswith("zerosum ") and code == 0, command
    expected = re.search(r"# \.\.\. (.*) \.\.\.", command)  # what an example says that it prints
    assert expected is None or expected[1] in printed
