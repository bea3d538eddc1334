"""Dirac-GAN played by the engine ends where Mescheder et al. (2018) say."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit
from torch import Tensor, nn

from zerosum import Game, Objective, objectives, penalties
from zerosum.optimizers import (
    clipped,
    sgd,
)

# Dirac-GAN --------------------------------------------------------------------------------------------------
# Mescheder et al. (2018): p_g a point at theta, the data a point at 0, a(x) = psi x. Their notebook starts at
# distance sqrt 2, takes 500 steps of 0.2 and, when it alternates, lets G move first. Our engine lets D move
# first, so it starts from where G's first step leads, and theta is read before the last step of D.

H = 0.2


class Point(nn.Module):
    def __init__(self, theta: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta, dtype=torch.float64))

    def forward(self, z: Tensor) -> Tensor:
        return self.theta.expand(len(z), 1)


class Slope(nn.Module):
    def __init__(self, psi: float) -> None:
        super().__init__()
        self.psi = nn.Parameter(torch.tensor(psi, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.psi * x[:, 0]


class Origin:
    shape, classes = (1,), 0

    def batch(self, step: int, n: int) -> tuple[Tensor, None]:
        return torch.zeros(n, 1), None


# the objective, minus the slope of L_G in the fake logit, penalty, bound of the weights
DIRAC: dict[str, tuple[Objective, Callable[[float], float], list[Any], float]] = {
    "GAN": (objectives.minimax(), expit, [], math.inf),
    "NS-GAN": (objectives.nonsaturating(), lambda a: expit(-a), [], math.inf),
    "WGAN clip 1": (objectives.wasserstein(), lambda a: 1.0, [], 1.0),
    "WGAN-GP": (objectives.wasserstein(), lambda a: 1.0, [penalties.wgan_gp(0.7 / 2)], math.inf),
    "GAN + R1 .3": (objectives.minimax(), expit, [penalties.r1(0.3)], math.inf),
    "GAN + R1 1.0": (objectives.minimax(), expit, [penalties.r1(1.0)], math.inf),
    "NS-GAN + R1 .3": (objectives.nonsaturating(), lambda a: expit(-a), [penalties.r1(0.3)], math.inf),
}


def dirac(name: str, theta: float, psi: float, simultaneous: bool, k: int = 1) -> Game:
    objective, _, regularisers, bound = DIRAC[name]
    return Game(
        Point(theta),
        Slope(psi),
        objective,
        regularisers,
        latent=1,
        optimizers=(sgd(H), clipped(sgd(H), bound)),
        batch=1,
        k=k,
        simultaneous=simultaneous,
        ema=None,
    )


def orbit(game: Game, turns: int) -> list[tuple[float, float]]:
    def here() -> tuple[float, float]:
        return float(game.G.parameters[0].detach()), float(game.D.parameters[0].detach())

    return [here(), *(here() for _ in game.play(Origin(), turns))]


@cache
def distances(name: str, play: str) -> list[float]:
    """From the equilibrium, after each of 500 steps."""
    theta, psi = 1.0, -1.0
    if play == "SimGD":
        points = orbit(dirac(name, theta, psi, simultaneous=True), 500)[1:]
    else:
        theta += H * psi * DIRAC[name][1](psi * theta)  # G's first move
        passed = orbit(dirac(name, theta, psi, simultaneous=False, k=int(play[-1])), 500)
        points = [(before[0], after[1]) for before, after in pairwise(passed)]
    return [math.hypot(*point) for point in points]


TABLE = {
    ("GAN", "SimGD"): "3.10",
    ("GAN", "AltGD 1"): "1.42",
    ("GAN", "AltGD 5"): "1.85",
    ("NS-GAN", "SimGD"): "0.64",
    ("NS-GAN", "AltGD 1"): "0.28",
    ("NS-GAN", "AltGD 5"): "0.14",
    ("WGAN clip 1", "AltGD 1"): "1.02",
    ("WGAN clip 1", "AltGD 5"): "0.92",
    ("WGAN-GP", "SimGD"): "1.80",
    ("WGAN-GP", "AltGD 1"): "1.22",
    ("WGAN-GP", "AltGD 5"): "0.72",
    ("GAN + R1 .3", "SimGD"): "2.6e-06",
    ("GAN + R1 .3", "AltGD 1"): "2.3e-07",
    ("GAN + R1 1.0", "SimGD"): "9.5e-22",
    ("GAN + R1 1.0", "AltGD 1"): "7.5e-17",
    ("GAN + R1 1.0", "AltGD 5"): "5e-12",
    ("NS-GAN + R1 .3", "SimGD"): "2.2e-06",
    ("NS-GAN + R1 .3", "AltGD 1"): "1.5e-07",
    ("NS-GAN + R1 .3", "AltGD 5"): "4e-34",
}


def half_a_digit(printed: str) -> float:
    """Half a unit of the last digit that is printed."""
    mantissa, _, exponent = printed.partition("e")
    return 0.5 * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


@pytest.mark.parametrize(("row", "distance"), TABLE.items(), ids=["-".join(row) for row in TABLE])
def test_dirac_gan_ends_where_it_must(row: tuple[str, str], distance: str) -> None:
    assert distances(*row)[-1] == pytest.approx(float(distance), rel=0, abs=1.01 * half_a_digit(distance))


@pytest.mark.parametrize(
    ("name", "play", "nearest", "farthest"),
    [
        ("GAN", "AltGD 1", 1.3, 1.4),
        ("GAN", "AltGD 5", 1.0, 2.4),
        ("WGAN clip 1", "SimGD", 1.0, 1.3),
    ],
)
def test_dirac_gan_cycles(name: str, play: str, nearest: float, farthest: float) -> None:
    late = distances(name, play)[-100:]
    assert (min(late), max(late)) == pytest.approx((nearest, farthest), abs=0.051)


@pytest.mark.parametrize(
    ("name", "simultaneous", "rate"),
    [
        ("GAN", True, 1.00499),
        ("GAN", False, 1.0),
        ("NS-GAN", True, 1.00499),
        ("GAN + R1 .3", True, 0.97468),
        ("GAN + R1 .3", False, 0.96954),
        ("NS-GAN + R1 .3", True, 0.97468),
        ("GAN + R1 1.0", True, 0.90000),
        ("GAN + R1 1.0", False, 0.92702),
    ],
)
def test_dirac_gan_has_its_linear_rate(name: str, simultaneous: bool, rate: float) -> None:
    """The modulus of the largest eigenvalue of one turn, at the equilibrium."""
    tiny = 1e-7
    columns = [orbit(dirac(name, *start, simultaneous), 1)[1] for start in ((tiny, 0.0), (0.0, tiny))]
    matrix = np.array(columns).T / tiny
    # at gamma = 1 both eigenvalues meet, which halves the digits
    assert float(abs(np.linalg.eigvals(matrix)).max()) == pytest.approx(rate, abs=2e-5)
