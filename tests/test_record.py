"""The record's clock, and the table that is made of its logs (`benchmarks/record`)."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path[:0] = [str(ROOT / "record"), str(ROOT)]
mnist, play = (importlib.import_module(name) for name in ("mnist", "play"))
TINY = {"target": 0.5, "first": 1, "every": 1, "recipe": {"steps": 3, "batch": 4, "data": "digits"}}


def test_the_clock_runs_from_the_command_and_stands_still_while_samples_are_judged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now, shapes = 100.0, []

    def judged(samples: Any) -> float:
        nonlocal now
        now += 1_000
        shapes.append(samples.shape)
        return [3.0, 0.5, 0.1][len(shapes) - 1]

    def playing(name: str, seed: int) -> Any:
        def slowly() -> Any:
            nonlocal now
            for turn, sample in play.play(TINY, seed):
                now += 2
                yield turn, sample

        return 0.5, slowly()

    monkeypatch.setattr(play, "SAMPLES", 5)
    monkeypatch.setattr(play, "moments", playing)
    monkeypatch.setattr(mnist, "distance", judged)
    monkeypatch.setattr("time.monotonic", lambda: now)
    play.main("tiny", "0", "90.0", str(tmp_path / "log.json"))
    log = json.loads((tmp_path / "log.json").read_text())
    assert log["looks"] == [[1, 12.0, 3.0], [2, 14.0, 0.5]]  # 10 s before the first turn, and no third
    assert shapes == [(5, 8, 8)] * 2 and mnist.reached(log) == 14.0


def test_a_seed_that_does_not_arrive_is_later_than_all_that_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(mnist, "RUNS", tmp_path)
    monkeypatch.setattr(mnist, "RESULT", tmp_path / "record.json")
    for seed, looks in enumerate([[[1, 9.0, 1.0]], [[1, 9.0, 2.5]], [[1, 5.0, 3.0], [2, 7.0, 2.0]]]):
        mnist.write_log(tmp_path / f"mine-{seed}.json", "mine", seed, 2.0, looks)
    found = mnist.entered("mine", 3)
    assert found["median"] == 9.0 and [s["seconds"] for s in found["seeds"]] == [9.0, None, 7.0]
    assert mnist.entered("mine", 2)["median"] is None
    assert mnist.table() == "No entry yet." and mnist.holders({"entries": []}) == ["today-2.0", "today-0.5"]
    (tmp_path / "record.json").write_text(json.dumps({"entries": [found]}))
    assert mnist.holders({"entries": [found]}) == ["mine", "today-0.5"]
    assert "**mine** | 9.0 [7.0, 9.0] | 2 of 3" in mnist.table()


def test_every_entry_is_a_game_with_a_target() -> None:
    from zerosum import recipe as recipes

    for name, entry in play.entries().items():
        recipe = recipes.load("mnist-dcgan", entry["recipe"])
        assert entry["target"] in mnist.TARGETS and entry["first"] < recipe.turns, name
