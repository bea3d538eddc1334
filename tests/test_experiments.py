"""The experiments on pictures (`benchmarks/pictures.py`), and the parts that they try before the library has
them, held to its laws."""

from __future__ import annotations

import importlib
import math
import sys
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import test_game_dirac as dirac
from zerosum import metrics, objectives
from zerosum import recipe as recipes
from zerosum.networks import compact, r3
from zerosum.randomness import stream

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
parts, pictures = (importlib.import_module(name) for name in ("pictures_parts", "pictures"))


# penalties by finite differences --------------------------------------------------------------------------


@pytest.mark.parametrize(("simultaneous", "rate"), [(True, 0.97468), (False, 0.96954)])
def test_differences_have_the_linear_rate_of_r1(
    monkeypatch: pytest.MonkeyPatch, simultaneous: bool, rate: float
) -> None:
    game = (objectives.nonsaturating(), lambda a: 0.0, [parts.r1_differences(0.3)], math.inf)
    monkeypatch.setitem(dirac.DIRAC, "differences", game)
    starts = ((1e-7, 0.0), (0.0, 1e-7))
    columns = [dirac.orbit(dirac.dirac("differences", *start, simultaneous), 1)[1] for start in starts]
    found = abs(np.linalg.eigvals(np.array(columns).T / 1e-7)).max()
    assert float(found) == pytest.approx(rate, abs=2e-5)


@pytest.mark.parametrize(("make", "at"), [(parts.r1_differences, 0.0), (parts.r2_differences, 1.0)])
def test_the_mean_of_differences_is_half_the_squared_slope(make: Any, at: float) -> None:
    """Of a cubic critic, whose slope is 3 (x - at)^2 + w: no other penalty of the two looks at its zero."""
    w, n = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64), 20_000
    real, fake = torch.zeros(n, 3, dtype=torch.float64), torch.ones(n, 3, dtype=torch.float64)
    torch.manual_seed(0)
    values = make(step=1e-3, part=2)(lambda x: ((x - at) ** 3 + w * x).sum(1), real, fake)
    assert values.shape == (n // 2,)
    error = float(values.std()) / (n // 2) ** 0.5
    assert float(values.mean()) == pytest.approx(float(w.square().sum()) / 2, abs=4 * error)


def test_an_augmentation_changes_both_points_alike() -> None:
    def critic(x: torch.Tensor) -> torch.Tensor:
        return x.sum(1) + 100 * torch.rand(len(x), dtype=x.dtype)

    torch.manual_seed(0)
    x = torch.zeros(8, 1, dtype=torch.float64)
    assert parts.r1_differences(step=0.1, part=1)(critic, x, x).tolist() == pytest.approx([0.5] * 8)


# averages and networks ------------------------------------------------------------------------------------


def test_a_power_average_weighs_the_turns_by_a_power() -> None:
    decay, weights = parts.power(2.0), []
    for t in range(200):
        weights = [w * decay(t) for w in weights] + [1 - decay(t)]
    steps = np.arange(1, 201) ** 3 - np.arange(200) ** 3  # of t^3, whose slope is t^2
    assert np.allclose(weights, steps / steps.sum())


@pytest.mark.parametrize("network", [r3, compact])
def test_magnitude_preserving_weights_have_one_length_a_layer_whatever_their_directions(
    network: object,
) -> None:
    torch.manual_seed(0)
    D = parts.magnitude_preserving((3, 16, 16), (), network=partial(network, width=8))
    layers = [m for m in D.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    x = torch.randn(4, 3, 16, 16)
    before = D(x)
    for layer in layers:
        lengths = layer.weight.flatten(1).norm(dim=1)
        assert torch.allclose(lengths, lengths[:1].expand_as(lengths), rtol=1e-4)
        layer.parametrizations.weight.original.data *= 3
    assert torch.allclose(D(x), before, atol=1e-5)
    D(x).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in D.parameters())


# the experiments ------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of forty pictures, judged by filters drawn at random; runs beside it."""
    from PIL import Image

    (tmp_path / "pictures").mkdir()
    draw = stream("experiments")
    for i in range(40):
        levels = torch.randint(0, 256, (8, 8, 4), generator=draw, dtype=torch.uint8)
        Image.fromarray(levels.numpy(), "RGBA").save(tmp_path / f"pictures/{i}.png")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(pictures, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(pictures, "RESULT", tmp_path / "pictures.json")
    monkeypatch.setattr(pictures, "folder", lambda name: tmp_path / name)
    filters = metrics.random_filters(3, 8)
    both = {"kernel_distance": filters, "encoder_distance": filters}
    monkeypatch.setattr(pictures, "spaces", lambda place, size: both)
    for cached in (pictures.pictures_of, pictures.real_features):
        cached.cache_clear()
    return tmp_path


def test_every_experiment_is_a_game(place: Path) -> None:
    for name in pictures.experiments():
        size = 64 if name.startswith("projected") else 8  # its frozen network is made for no less
        recipes.build(pictures.recipe_of(name, "pictures", 0, size, batch=2))


def test_an_experiment_is_played_once_and_stands_in_the_table(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "turns_of", lambda recipe, seconds: 2)
    weights = {"penalties.0.weight": 1.0, "penalties.1.weight": 1.0}
    small = {"recipe": "photos", "batch": 2, "latent": 4, **weights}
    monkeypatch.setattr(pictures, "experiments", lambda: {"baseline": small, "two": {"ema": 0.5}})
    args = Namespace(
        minutes=0.5, folders=["pictures"], seeds=[0], only=["*"], size=8, machine="A", draft=False
    )
    pictures.measure(args)
    monkeypatch.setattr(pictures, "played", lambda *args: pytest.fail("played again"))
    pictures.measure(args)
    rows = pictures.table().splitlines()[2:]
    first, *others = (row.split(" | ")[2] for row in rows)
    assert first == "*real pictures*" and {*others} == {"`baseline`", "`two`"} and " | 2 | " in rows[1]
