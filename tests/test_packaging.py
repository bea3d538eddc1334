"""What is built is whole: it installs, trains, samples and shows where the source tree is not."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import zerosum

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOURCE = ROOT / "src" / "zerosum"
PROGRAM = """
import importlib.metadata, pathlib, sys
import zerosum
from zerosum.cli import main

home = pathlib.Path(zerosum.__file__).parent
assert str(home).startswith(sys.argv[1]), home
assert importlib.metadata.version("zerosum") == zerosum.__version__
small = "--steps 2 --batch 8 --G.width 8 --D.width 8 --threads 1 --watch none --quiet --out run"
assert main(["train", "digits", *small.split()]) == 0
assert main("sample run --n 4 --out x.png --quiet".split()) == 0
assert main("sample run --n 4 --out x.npy --quiet".split()) == 0
assert main("report run --quiet".split()) == 0
assert main("export run --to out --quiet".split()) == 0
assert main(["recipes"]) == 0 and main(["completion", "zsh"]) == 0
assert zerosum.load("out").sample(3).shape == (3, 8, 8)
from zerosum.page.live import STATIC
from zerosum.page.document import static
assert all(static(name) for name in STATIC)
"""


def built(where: Path, source: Path, kind: str) -> Path:
    """What hatchling makes of a source tree: the sdist or the wheel."""
    where.mkdir()
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(where)]
    run = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    (made,) = where.iterdir()
    return made


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the wheel is installed that is built of the sdist."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("packaging")
    with tarfile.open(built(folder / "sdist", ROOT, "sdist")) as sdist:
        sdist.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    wheel = built(folder / "wheel", unpacked, "wheel")
    with zipfile.ZipFile(wheel) as content:
        packed = {name.removeprefix("zerosum/") for name in content.namelist() if name.startswith("zerosum/")}
    files = {str(p.relative_to(SOURCE)) for p in SOURCE.rglob("*") if p.is_file() and p.suffix != ".pyc"}
    assert packed == files and "py.typed" in packed
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    run = subprocess.run([*pip, "--target", str(folder / "site"), str(wheel)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return folder / "site"


def played(site: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """A command where only the installed package is found, in an empty folder."""
    folder = site.parent / "elsewhere"
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)


def test_what_is_installed_trains_samples_reports_and_exports(site: Path) -> None:
    run = played(site, sys.executable, "-c", PROGRAM, str(site))
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("how", ["script", "module"])
def test_the_command_line_is_a_script_and_a_module(how: str, site: Path) -> None:
    command = [str(site / "bin" / "zerosum")] if how == "script" else [sys.executable, "-m", "zerosum"]
    run = played(site, *command, "--version")
    assert run.returncode == 0 and run.stdout == f"zerosum {zerosum.__version__}\n"


def test_the_version_stands_in_one_place() -> None:
    assert "version" not in PROJECT and PROJECT["dynamic"] == ["version"]
    cited = re.findall(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited == [zerosum.__version__]


MODULES = {"pillow": "PIL", "pyyaml": "yaml", "scikit-learn": "sklearn", "annotated-types": "annotated_types"}
THERE_OR_NOT_NEEDED = {"pandas", "polars", "IPython"}  # frames of a user's own; the notebook that it runs in


def name_of(requirement: str) -> str:
    distribution = re.split(r"[>=<\[ ]", requirement)[0]
    return MODULES.get(distribution, distribution.replace("-", "_"))


def imported() -> set[str]:
    """The packages that any module of ours imports, at whatever time."""
    found: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return found - sys.stdlib_module_names - {"zerosum"}


def test_what_nobody_imports_is_not_required_and_what_is_imported_is_declared() -> None:
    required = {name_of(text) for text in PROJECT["dependencies"]}
    optional = PROJECT["optional-dependencies"]
    extras = {name_of(text) for name, some in optional.items() if name != "dev" for text in some}
    found = imported()
    assert required <= found
    assert found <= required | extras | THERE_OR_NOT_NEEDED
