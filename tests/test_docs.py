"""What the docs say is true: their numbers come from committed results, and their commands exist."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import pydoc
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import zerosum
from zerosum import recipe as recipes
from zerosum.cli import VERBS, main

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
sys.path.insert(0, str(ROOT / "benchmarks"))
import ledger  # noqa: E402

BENCHMARKS = ledger.benchmarks()


@pytest.mark.parametrize("path", BENCHMARKS)
def test_committed_results_meet_what_is_asked_and_the_docs_show_them(path: str) -> None:
    if path == "classifier.py" and "ZEROSUM_DATA" not in os.environ:
        pytest.skip("the classifier is judged on MNIST: set ZEROSUM_DATA to a folder with mnist/")
    assert BENCHMARKS[path].check() == 0


def test_no_result_names_a_place_on_the_machine_that_it_is_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "argv", [str(ROOT / "benchmarks/a.py"), "--runs", "/home/me/runs", "--seeds", "1"]
    )
    assert ledger.origin()["command"] == "python benchmarks/a.py --runs runs --seeds 1"
    for path in (ROOT / "benchmarks/results").glob("*.json"):
        assert not re.search(r'"command": "[^"]* /', path.read_text()), path.name


def test_a_result_names_the_commit_of_its_code_and_whether_the_code_differs(tmp_path: Path) -> None:
    assert ledger.commit(tmp_path) is None
    script, result = tmp_path / "benchmarks/some/script.py", tmp_path / "benchmarks/results/a.json"
    for file in (script, result):
        file.parent.mkdir(parents=True)
        file.write_text("1")
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "all"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    head = ledger.commit(tmp_path)
    assert head is not None and re.fullmatch(r"[0-9a-f]{12}", head)
    result.write_text("2")
    assert ledger.commit(tmp_path) == head
    script.write_text("2")
    assert ledger.commit(tmp_path) == f"{head}+"


def test_a_page_that_does_not_show_a_result_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- figure -->\nold | text\n<!-- /figure -->\nafter\n")
    monkeypatch.setattr(ledger, "ROOT", tmp_path)
    benchmark = ledger.Benchmark("", parts={"figure": lambda: ledger.table("ab", [[1, "x|y"]])})
    assert benchmark.check() == 1
    ledger.update(benchmark.parts)
    assert benchmark.check() == 0
    assert page.read_text().splitlines()[2:5] == ["| a | b |", "| --- | --- |", "| 1 | x\\|y |"]


def test_the_demo_draws_digits_that_a_classifier_reads() -> None:
    result = json.loads((ROOT / "benchmarks" / "results" / "digits.json").read_text())
    assert result["classes"] == 10 and result["class_kl"] < 0.15 and result["confidence"] > 0.8


def commands() -> list[str]:
    text = "".join(page.read_text() for page in PAGES)
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line.removeprefix(".venv/bin/") for line in lines if "zerosum " in line]


@pytest.mark.parametrize("command", commands())
def test_commands_of_the_docs_exist(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(command)
    verb, *rest = words[words.index("zerosum") + 1 :]  # behind `torchrun ... -m` too
    assert verb in VERBS and main([verb, "--help"]) == 0
    options = capsys.readouterr().out
    fields = {}
    for i, token in enumerate(rest):
        if token.startswith("--") and token not in options:
            fields[token.removeprefix("--")] = recipes.value(rest[i + 1])
    if verb == "train":
        recipes.load(rest[0], fields)
    else:
        assert not fields, f"{command}: unknown options {fields}"


def test_every_page_of_the_docs_is_reached_from_the_readme() -> None:
    readme = PAGES[0].read_text()
    for page in PAGES[1:]:
        assert f"docs/{page.name}" in readme, page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_and_pictures_are_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


# the reference ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def documented() -> dict[str, list[str]]:
    """The names on the page of each module, as the site's own code has them."""
    conf = runpy.run_path(str(ROOT / "docs" / "conf.py"))
    return {name: conf["defined_in"](name) for name in ("zerosum", *conf["public_modules"]())}


def test_every_public_name_is_in_the_reference_with_words(documented: dict[str, list[str]]) -> None:
    there = {name for names in documented.values() for name in names}
    for module in documented:
        for name in importlib.import_module(module).__all__:
            thing = getattr(importlib.import_module(module), name)
            if inspect.ismodule(thing):
                continue
            if inspect.isclass(thing) or inspect.isfunction(thing):
                assert name in documented[thing.__module__], f"{module}.{name}"
                inner = module.count(".") > 1 or ".cli" in module
                assert inspect.getdoc(thing) or inner, f"{module}.{name} has no docstring"
            assert name in there, f"{module}.{name}"


def test_the_package_shows_its_nouns_and_nothing_else() -> None:
    assert dir(zerosum) == sorted([*zerosum.__all__, "__version__"])
    shown = pydoc.render_doc(zerosum, renderer=pydoc.plaintext)
    assert all(name in shown for name in zerosum.__all__) and "import_module" not in shown


@pytest.mark.parametrize("verb", VERBS)
def test_help_is_a_screen_or_comes_in_pages(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    paged: list[str] = []
    monkeypatch.setattr(pydoc, "pager", paged.append)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for rows, count in ((1000, 0), (5, 1)):
        monkeypatch.setenv("LINES", str(rows))
        assert main([verb, "--help"]) == 0
        assert len(paged) == count
    assert f"zerosum {verb}" in paged[0]


@pytest.mark.parametrize("page", ["data", "tables", "own", "scale", "diagnosis"])
def test_the_front_page_leads_to_what_people_look_for_in_a_click(page: str) -> None:
    front = (ROOT / "docs" / "index.md").read_text().split("```{toctree}")[0]
    assert f"({page}.md" in front
