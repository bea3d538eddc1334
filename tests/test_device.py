"""What an accelerator must show (`benchmarks/device.py`), in a tiny form on whatever this machine has."""

from __future__ import annotations

import importlib
import sys
from argparse import Namespace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
device = importlib.import_module("device")


@pytest.mark.parametrize("broken", [False, True])
def test_the_laws_hold_and_a_broken_one_is_named(monkeypatch: pytest.MonkeyPatch, broken: bool) -> None:
    if broken:
        monkeypatch.setattr(device, "RATE", 0.98)
    held = device.laws("cpu")
    assert {"hinge", "r1", "adam"} < held.keys()
    named = [*device.missing({"laws": held, "games": {}})]
    assert len(named) == broken and all("Dirac" in line for line in named)


def test_a_game_is_compared_resumed_and_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(device, "TURNS", 4)
    monkeypatch.setattr(device.bench, "peak", lambda setting, device, seconds: 1e9)
    small = {"G": {"name": "mlp", "width": 4, "depth": 1}, "D": {"name": "mlp", "width": 4, "depth": 1}}
    whole = device.game
    monkeypatch.setattr(device, "game", lambda name, place, **o: whole(name, place, batch=8, **small, **o))
    device.measure(Namespace(seconds=0.1, minutes=1.0, compile=False, only="ring"))
    assert "'same': 0.0, 'resumed': 0.0" in capsys.readouterr().out
    broken = {"games": {"ring": {"same": 1.0, "resumed": 0.5}}}
    assert len([*device.missing(broken)]) == 2
