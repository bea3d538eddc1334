"""Of the games with faults on purpose only those that changed are played again (`benchmarks/faults.py`)."""

from __future__ import annotations

import importlib
import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
faults = importlib.import_module("faults")


def test_only_games_that_changed_are_played_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    games: list[dict[str, Any]] = [
        {"name": "preset photos", "fault": "healthy", "preset": "photos"},
        {"name": "ring", "fault": "healthy", "steps": 3},
    ]
    played: list[tuple[str, int]] = []

    def play(scenario: dict[str, Any], seed: int) -> dict[str, Any]:
        played.append((scenario["name"], seed))
        of = {"scenario": scenario["name"], "fault": "healthy", "seed": seed}
        return {**of, "found": None, "first": None, "faults": [], "warnings": []}

    monkeypatch.setattr(faults, "RESULTS", tmp_path)
    monkeypatch.setattr(faults, "play", play)
    monkeypatch.setattr(faults, "scenarios", lambda: games)
    monkeypatch.setattr(faults, "TO_REPAIR", ())
    monkeypatch.setattr(faults, "result", lambda name: json.loads((tmp_path / f"{name}.json").read_text()))
    args = Namespace(first=7, seeds=2, purpose="reported", only="", played=False, repair=False)

    def measured(cache: str) -> None:
        faults.measure(Namespace(**vars(args), cache=tmp_path / cache))

    def rows() -> list[tuple[str, int]]:
        found = json.loads((tmp_path / "faults.json").read_text())["reported"]["rows"]
        return [(row["scenario"], row["seed"]) for row in found]

    measured("first")
    args.repair = True
    measured("first")
    args.repair = False
    assert sorted(played) == [("preset photos", 7), ("preset photos", 8), ("ring", 7), ("ring", 8)]
    assert faults.lacks() == []
    games[1]["steps"] = 4
    assert [line.split("'")[1] for line in faults.lacks()] == ["ring"]
    played.clear()
    measured("another machine's")
    assert played == [("ring", 7), ("ring", 8)] and faults.lacks() == []
    games.append({"name": "grid", "fault": "healthy"})
    assert [line.split("'")[1] for line in faults.lacks()] == ["grid"]
    args.played = True
    measured("another machine's")
    assert rows() == [("preset photos", 7), ("ring", 7), ("preset photos", 8), ("ring", 8)]
    args.played, args.only, args.first, args.seeds = False, "grid", 6, 1
    measured("another machine's")
    assert rows() == [("grid", 6), ("preset photos", 7), ("ring", 7), ("preset photos", 8), ("ring", 8)]
    assert played[2:] == [("grid", 6)] and faults.lacks() == []
