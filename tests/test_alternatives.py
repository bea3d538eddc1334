"""Flow matching and diffusion beside a GAN (`benchmarks/alternatives.py`), in a tiny form."""

from __future__ import annotations

import importlib
import json
import sys
from argparse import Namespace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
alternatives = importlib.import_module("alternatives")

MEAN, STD = 0.7, 0.4


def best(way: str) -> Any:
    """What a network would say at best where the data are normal: E[target | x(t)]."""

    def said(x: Tensor, t: Tensor) -> Tensor:
        signal, noise = (t, 1 - t) if way == "flow matching" else alternatives.scales(t)
        signal, noise = signal[:, None], noise[:, None]
        off = (x - signal * MEAN) / (signal**2 * STD**2 + noise**2)
        e = noise * off
        return MEAN + signal * STD**2 * off - e if way == "flow matching" else e

    return said


def rows() -> nn.Module:
    """A network of two numbers, smaller than the benchmark's."""
    torch.manual_seed(0)
    network = alternatives.Rows(2)
    network.body = alternatives.residual_mlp((66,), (2,), width=128, blocks=1)
    return network


@pytest.mark.parametrize("way", alternatives.WAYS)
def test_a_perfect_network_s_samples_are_the_data(way: str) -> None:
    e = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    off = []
    for evaluations in (10, 200):
        x = alternatives.WAYS[way].sample(best(way), e, evaluations, 9.0)
        off.append(float((x - (MEAN + STD * e)).abs().max()))  # both ways keep the order of points on a line
    assert off[1] < 0.02 and off[1] < off[0] / 4
    assert alternatives.WAYS[way].sample(best(way), e, 10, 1.0).abs().max() <= 1.0


@pytest.mark.parametrize("way", alternatives.WAYS)
def test_a_way_leads_from_noise_to_data(way: str) -> None:
    x, e = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1))
    at = alternatives.WAYS[way].at
    assert torch.allclose(at(x, e, torch.zeros(5, 1)), e, atol=0.1)
    assert torch.allclose(at(x, e, torch.ones(5, 1)), x, atol=0.1)


@pytest.mark.parametrize("way", alternatives.WAYS)
def test_a_small_network_learns_a_normal_density(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alternatives, "DECAY", 0.95)
    x = MEAN + STD * torch.randn(512, 2, generator=torch.Generator().manual_seed(2))
    trained = alternatives.Trained(rows(), alternatives.WAYS[way], x, 3)
    before = trained.sample(500, 10)
    for turn in range(200):
        trained.turn(turn / 200)
    made = trained.sample(500, 10)
    assert (made.mean(0) - MEAN).abs().max() < 0.15 and (made.std(0) - STD).abs().max() < 0.15
    assert (before.std(0) - STD).abs().max() > 0.15
    assert torch.equal(made, trained.sample(500, 10))


def test_of_images_the_network_gives_images() -> None:
    x = torch.randn(2, 1, 28, 28)
    net = alternatives.UNet(8)
    assert net(x, torch.tensor([0.0, 1.0])).shape == x.shape
    assert not torch.equal(net(x, torch.zeros(2)), net(x, torch.ones(2)))


def test_runs_are_kept_and_played_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[int] = []

    def gan(budget: float, seed: int) -> Any:
        played.append(seed)
        return alternatives.facts_of(7, budget, nn.Linear(2, 2)), lambda n: torch.zeros(n, 2)

    subject = alternatives.Subject(
        x=torch.zeros(64, 2),
        network=rows,
        gan=gan,
        decode=lambda x: x,
        judge=lambda made: {"quality": float(made.abs().mean()), "n": len(made)},
        n=20,
        real=torch.zeros(5, 2),
    )
    for name, value in (
        ("RESULT", tmp_path / "result.json"),
        ("SUBJECTS", {"adult": lambda args: subject}),
        ("BUDGETS", {"adult": (60,)}),
        ("time", SimpleNamespace(process_time=count(0, 15).__next__)),  # a look at the clock takes 15 s
        ("STEPS", (2, 4)),
        ("SHOWN", None),
    ):
        monkeypatch.setattr(alternatives, name, value)
    args = Namespace(only="adult", seeds=[0], budgets=None)
    alternatives.measure(args)
    args.seeds = [0, 1]
    alternatives.measure(args)
    result = json.loads((tmp_path / "result.json").read_text())
    assert played == [0, 1] and len(result["runs"]) == 6 and result["real"]["adult"]["n"] == 5
    for row in result["runs"].values():
        assert row["turns"] in (3, 7) and row["cpu_seconds"] == 60
        assert all(found["n"] == 20 for found in row["samples"].values())
    assert alternatives.lacks() == []
    figures = {"quality": ("quality", 2, None)}
    shown = alternatives.table("adult", figures, {"quality": None}).splitlines()
    assert [line.split(" | ")[1:3] for line in shown[2:]] == [
        ["real data", ""],
        ["GAN", "2"],
        *[[way, "2"] for way in alternatives.WAYS for _ in (2, 4)],
    ]
    monkeypatch.setattr(alternatives, "RATE", 1.0)
    assert [lack.split(" | ")[1] for lack in alternatives.lacks()] == [*alternatives.WAYS] * 2
    alternatives.measure(args)
    assert played == [0, 1] and alternatives.lacks() == []
