"""What the docs say is true: their numbers come from committed results, and their commands exist."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from pathlib import Path

import pytest

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
