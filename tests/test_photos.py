"""`photos` as a user gives it, on folders, timed and judged (`benchmarks/photos.py`)."""

from __future__ import annotations

import importlib
import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
photos = importlib.import_module("photos")


def test_a_folder_is_played_once_its_sessions_are_added_up_and_it_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[list[str]] = []

    def command(words: list[str], source: Any, out: Path, seconds: float | None) -> dict[str, float]:
        given.append(words)
        if words[0] == "sample":
            np.save(words[words.index("--out") + 1], np.full((40, 8, 8, 4), 9, np.uint8))
        else:
            out.mkdir(exist_ok=True)
            (out / "metrics.jsonl").write_text('{"step": 7}\n')
        return {"ended": float(len(given) != 1), "seconds": 1500.0, "first": 9.0, "memory": float(len(given))}

    for name, value in (("RUNS", tmp_path), ("GRIDS", tmp_path), ("RESULT", tmp_path / "photos.json")):
        monkeypatch.setattr(photos, name, value)
    monkeypatch.setattr(photos, "folder", lambda name: tmp_path)
    monkeypatch.setattr(photos, "command", command)
    measures = {name: [0.5, 0.4, 0.6] for name in photos.pictures.MEASURES}
    floor = {name: [0.1, 0.0, 0.2] for name in photos.pictures.MEASURES}
    monkeypatch.setattr(photos, "judged", lambda place, made: {**measures, "floor": floor})
    args = Namespace(folders=["emoji"], before=None, options=[])
    with pytest.raises(SystemExit):  # the first session was stopped
        photos.measure(args)
    photos.measure(args)
    photos.measure(args)
    assert [words[0] for words in given] == ["train", "train", "sample"]
    (row,) = json.loads((tmp_path / "photos.json").read_text())["rows"]
    assert (row["seconds"], row["first"], row["memory"], row["size"], row["turns"]) == (
        3000.0,
        9.0,
        2.0,
        8,
        7,
    )
    assert photos.lacks() == []
    assert "| 8² | 7 | 50 | 9 | 2.0 | 0.500 [0.400, 0.600]" in photos.table()
    before = {**row, "package": "old", "kernel_distance": [0.9, 0.8, 1.0], "seconds": 9_000}
    late = {**row, "seconds": 9_000}
    (tmp_path / "photos.json").write_text(json.dumps({"rows": [late, before]}))
    assert len(photos.lacks()) == 1  # of the other package nothing is asked
    times = "emoji, times nearer than `old`: kernel distance 2.0 [1.4, 3.0], encoder distance 1.0"
    assert photos.table().splitlines()[-1].startswith(times)


def test_a_command_that_takes_too_long_is_interrupted_and_one_that_fails_ends_it(tmp_path: Path) -> None:
    assert photos.command(["--help"], None, tmp_path, None)["ended"] == 1.0
    with pytest.raises(SystemExit):
        photos.command(["no-such-verb"], None, tmp_path, None)
