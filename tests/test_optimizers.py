"""Optimizers for games, judged on the bilinear game x y, whose every rate is known in closed form."""

from __future__ import annotations

import io
from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from refusals import refused
from zerosum import Game, objectives
from zerosum.optimizers import adam, clipped, extragradient, lookahead_minmax, optimistic, scheduled, sgd
from zerosum.schedules import ramp

STEPS = (0.05, 0.1, 0.3)
each_h = pytest.mark.parametrize("h", STEPS)


class Point(nn.Module):
    """A generator of one parameter: G(z) = theta."""

    def __init__(self, theta: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(theta).double())

    def forward(self, z: Tensor) -> Tensor:
        return self.theta.expand(len(z), 1)


class Slope(nn.Module):
    """A discriminator of one parameter: a(x) = psi x."""

    def __init__(self, psi: float) -> None:
        super().__init__()
        self.psi = nn.Parameter(torch.tensor(psi).double())

    def forward(self, x: Tensor) -> Tensor:
        return self.psi * x[:, 0]


class Origin:
    """Data that are a point at 0."""

    shape, classes = (1,), 0

    def batch(self, step: int, n: int) -> tuple[Tensor, None]:
        return torch.zeros(n, 1), None


def bilinear(optimizer: Any, start: complex = 1.0, simultaneous: bool = True) -> Game:
    """The real engine on L_D = psi theta = -L_G: psi <- psi - h theta, theta <- theta + h psi."""
    return Game(
        Point(complex(start).real),
        Slope(complex(start).imag),
        objectives.wasserstein(),
        optimizers=(optimizer, optimizer),
        latent=1,
        batch=2,
        simultaneous=simultaneous,
        ema=None,
    )


def orbit(game: Game, turns: int) -> list[complex]:
    """theta + i psi at the start and after each turn."""

    def here() -> complex:
        (theta,), (psi,) = game.G.parameters, game.D.parameters
        return complex(float(theta.detach()), float(psi.detach()))

    return [here(), *(here() for _ in game.play(Origin(), turns))]


def measured(optimizer: Any, turns: int, simultaneous: bool = True) -> np.ndarray:
    """The matrix by which `turns` turns act on (theta, psi)."""
    ends = [orbit(bilinear(optimizer, start, simultaneous), turns)[-1] for start in (1, 1j)]
    return np.array([[z.real for z in ends], [z.imag for z in ends]])


def radius(matrix: np.ndarray) -> float:
    return float(abs(np.linalg.eigvals(matrix)).max())


def one_turn(h: float, simultaneous: bool) -> np.ndarray:
    """M, by hand: D moves by -h theta; G by h psi, of the old psi or of the new."""
    return np.array([[1.0, h], [-h, 1.0]]) if simultaneous else np.array([[1 - h**2, h], [-h, 1.0]])


@each_h
def test_simultaneous_gradient_play_grows_by_its_rate(h: float) -> None:
    z = orbit(bilinear(sgd(lr=h), 0.3 + 0.7j), 20)
    ratios = [abs(after) / abs(before) for before, after in pairwise(z)]
    assert ratios == pytest.approx([(1 + h**2) ** 0.5] * 20, abs=1e-12)


@pytest.mark.parametrize("h", [*STEPS, 1.0, 1.9])
def test_alternating_gradient_play_cycles(h: float) -> None:
    matrix = measured(sgd(lr=h), 1, simultaneous=False)
    np.testing.assert_allclose(matrix, one_turn(h, simultaneous=False), atol=1e-15)
    assert abs(np.linalg.eigvals(matrix)) == pytest.approx([1, 1], abs=1e-9)
    assert max(abs(z) for z in orbit(bilinear(sgd(lr=h), 1, simultaneous=False), 300)) < 5


def test_alternating_gradient_play_diverges_beyond_two() -> None:
    assert radius(measured(sgd(lr=2.1), 1, simultaneous=False)) > 1.5


@each_h
def test_extragradient_contracts_by_its_rate(h: float) -> None:
    z = orbit(bilinear(extragradient(sgd(lr=h)), 0.3 + 0.7j), 40)
    half = [abs(b) / abs(a) for a, b in zip(z[::2], z[1::2], strict=False)]
    whole = [abs(b) / abs(a) for a, b in zip(z[::2], z[2::2], strict=False)]
    assert half == pytest.approx([(1 + h**2) ** 0.5] * 20, abs=1e-12)
    assert whole == pytest.approx([((1 - h**2) ** 2 + h**2) ** 0.5] * 20, abs=1e-9)


@each_h
def test_optimistic_play_contracts_by_its_largest_root(h: float) -> None:
    z = orbit(bilinear(optimistic(sgd(lr=h)), 0.3 + 0.7j), 80)
    roots = np.roots([1, -(1 - 2j * h), -1j * h])
    rate = max(roots, key=abs)
    assert z[-1] / z[-2] == pytest.approx(rate, abs=1e-9)
    assert abs(rate) < 1


@each_h
@pytest.mark.parametrize(("every", "alpha"), [(1, 0.5), (5, 0.5), (6, 0.3), (4, 1.0)])
@pytest.mark.parametrize("simultaneous", [True, False])
def test_lookahead_minmax_acts_as_its_matrix(h: float, every: int, alpha: float, simultaneous: bool) -> None:
    M = one_turn(h, simultaneous)
    once = (1 - alpha) * np.eye(2) + alpha * np.linalg.matrix_power(M, every)
    player = lookahead_minmax(sgd(lr=h), every, alpha)
    rate = radius(measured(player, every, simultaneous))
    assert rate == pytest.approx(radius(once), abs=1e-9)
    # and between the looks back, and from look to look, it is the base that moves
    later = np.linalg.matrix_power(M, every - 1) @ once @ once
    np.testing.assert_allclose(measured(player, 3 * every - 1, simultaneous), later, atol=1e-12)


@each_h
def test_lookahead_over_extragradient_counts_updates_not_half_updates(h: float) -> None:
    """In complex numbers extragradient multiplies by 1 - h^2 - i h."""
    once = 0.5 + 0.5 * (1 - h**2 - 1j * h) ** 3
    z = orbit(bilinear(lookahead_minmax(extragradient(sgd(lr=h)), every=3), 0.3 + 0.7j), 12)
    assert z[6] / z[0] == pytest.approx(once, abs=1e-12)
    assert z[12] / z[6] == pytest.approx(once, abs=1e-12)


WITH_EXTRAGRADIENT: dict[str, Any] = {
    "plain": extragradient(sgd()),
    "looking back": lookahead_minmax(extragradient(sgd())),
    "clipped and scheduled": scheduled(clipped(extragradient(adam())), lr=ramp(0.1, 0.0, steps=5)),
}


@pytest.mark.parametrize("player", WITH_EXTRAGRADIENT.values(), ids=WITH_EXTRAGRADIENT.keys())
@pytest.mark.parametrize("how", [{"simultaneous": False}, {"simultaneous": True, "k": 2}])
def test_extragradient_refuses_players_that_do_not_move_together(player: Any, how: dict[str, Any]) -> None:
    with refused("simultaneous"):
        Game(Point(1.0), Slope(1.0), objectives.wasserstein(), latent=1, optimizers=(player, player), **how)


# formulas, step by step -------------------------------------------------------------------------------------


def parameters(seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((3, 2), (3,), ())
    return [torch.randn(s, generator=generator, dtype=torch.float64).requires_grad_() for s in shapes]


def feed(optimizer: Any, theta: list[Tensor], step: int) -> None:
    """A pseudo-random gradient that follows from the step, then a step, then the end of the turn."""
    generator = torch.Generator().manual_seed(100 + step)
    for p in theta:
        p.grad = torch.randn(p.shape, generator=generator, dtype=p.dtype) + 0.1 * p.detach()
    optimizer.step()
    optimizer.zero_grad()
    if hasattr(optimizer, "end_turn"):
        optimizer.end_turn()


def gradient(step: int, theta: list[np.ndarray]) -> list[np.ndarray]:
    generator = torch.Generator().manual_seed(100 + step)
    return [torch.randn(p.shape, generator=generator, dtype=torch.float64).numpy() + 0.1 * p for p in theta]


def numpy(theta: list[Tensor]) -> list[np.ndarray]:
    return [p.detach().numpy().copy() for p in theta]


def same(theta: list[Tensor], wanted: list[np.ndarray], tolerance: float = 1e-12) -> None:
    for p, w in zip(theta, wanted, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), w, rtol=tolerance, atol=tolerance)


class Adam:
    """Kingma and Ba (2015), algorithm 1: the move -lr m/(sqrt(v) + eps), with the bias corrected."""

    def __init__(self, n: int, lr: float, betas: tuple[float, float], eps: float) -> None:
        self.m: list[Any] = [0.0] * n
        self.v: list[Any] = [0.0] * n
        self.t, self.lr, self.betas, self.eps = 0, lr, betas, eps

    def move(self, gradients: list[np.ndarray]) -> list[np.ndarray]:
        a, b = self.betas
        self.t += 1
        self.m = [a * m + (1 - a) * g for m, g in zip(self.m, gradients, strict=True)]
        self.v = [b * v + (1 - b) * g**2 for v, g in zip(self.v, gradients, strict=True)]
        return [
            -self.lr * (m / (1 - a**self.t)) / (np.sqrt(v / (1 - b**self.t)) + self.eps)
            for m, v in zip(self.m, self.v, strict=True)
        ]


SETTINGS: dict[str, Any] = {"lr": 0.02, "betas": (0.5, 0.9), "eps": 1e-8}


def test_adam_is_adam() -> None:
    theta = parameters()
    optimizer, by_hand, wanted = adam(**SETTINGS)(theta), Adam(3, **SETTINGS), numpy(theta)
    for step in range(12):
        moves = by_hand.move(gradient(step, wanted))
        wanted = [w + u for w, u in zip(wanted, moves, strict=True)]
        feed(optimizer, theta, step)
        same(theta, wanted)


def test_optimistic_adam_is_that_of_daskalakis() -> None:
    """theta_t = theta_{t-1} - 2 lr m_t/sqrt(v_t) + lr m_{t-1}/sqrt(v_{t-1})."""
    theta = parameters()
    optimizer, by_hand, wanted = optimistic(adam(**SETTINGS))(theta), Adam(3, **SETTINGS), numpy(theta)
    last: list[Any] = [0.0] * 3
    for step in range(12):
        moves = by_hand.move(gradient(step, wanted))
        wanted = [w + 2 * u - before for w, u, before in zip(wanted, moves, last, strict=True)]
        last = moves
        feed(optimizer, theta, step)
        same(theta, wanted)


def test_extra_adam_updates_its_moments_in_both_halves() -> None:
    """Gidel et al. (2019), algorithm 4."""
    theta = parameters()
    optimizer, by_hand, wanted = extragradient(adam(**SETTINGS))(theta), Adam(3, **SETTINGS), numpy(theta)
    for step in range(0, 12, 2):
        ahead = [w + u for w, u in zip(wanted, by_hand.move(gradient(step, wanted)), strict=True)]
        feed(optimizer, theta, step)
        same(theta, ahead)
        moves = by_hand.move(gradient(step + 1, ahead))
        wanted = [w + u for w, u in zip(wanted, moves, strict=True)]
        feed(optimizer, theta, step + 1)
        same(theta, wanted)


def test_sgd_has_momentum_and_decay() -> None:
    theta = parameters()
    optimizer, wanted, v = sgd(lr=0.1, momentum=0.9, weight_decay=0.01)(theta), numpy(theta), [0.0] * 3
    for step in range(8):
        gradients = [g + 0.01 * w for g, w in zip(gradient(step, wanted), wanted, strict=True)]
        v = [0.9 * a + g for a, g in zip(v, gradients, strict=True)]
        wanted = [w - 0.1 * a for w, a in zip(wanted, v, strict=True)]
        feed(optimizer, theta, step)
        same(theta, wanted)


def test_clipped_projects_after_each_step() -> None:
    theta = parameters()
    wanted = numpy(theta)
    optimizer = clipped(sgd(lr=0.3), bound=0.25)(theta)
    for step in range(6):
        moved = [w - 0.3 * g for w, g in zip(wanted, gradient(step, wanted), strict=True)]
        wanted = [np.clip(w, -0.25, 0.25) for w in moved]
        feed(optimizer, theta, step)
        same(theta, wanted)
    assert max(float(p.detach().abs().max()) for p in theta) == 0.25


def test_scheduled_follows_the_steps_of_this_player() -> None:
    theta = parameters()
    wanted, v = numpy(theta), [0.0] * 3
    lr, momentum = ramp(0.2, 0.05, steps=4, begin=1), ramp(0.5, 0.7, steps=5, every=2)
    optimizer = scheduled(sgd(), lr=lr, momentum=momentum)(theta)
    for step in range(9):
        if step == 3:
            feed_other = scheduled(sgd(), lr=lr)(parameters(1))
            feed(feed_other, parameters(1), 0)  # another player's steps do not count
        v = [momentum(step) * a + g for a, g in zip(v, gradient(step, wanted), strict=True)]
        wanted = [w - lr(step) * a for w, a in zip(wanted, v, strict=True)]
        feed(optimizer, theta, step)
        assert optimizer.param_groups[0]["lr"] == lr(step)
        same(theta, wanted)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: scheduled(sgd(), lrr=ramp(1, 0, 2))(parameters()), "lrr"),
        (lambda: scheduled(adam(), lr=-1.0)(parameters()), "lr"),
        (lambda: scheduled(adam(), lr=ramp(float("nan"), 0, 2))(parameters()), "lr"),
        (lambda: scheduled(adam(), beta1=1.5)(parameters()), "beta1"),
        (lambda: clipped(sgd(), bound=0.0), "bound"),
        (lambda: lookahead_minmax(sgd(), every=0), "every"),
        (lambda: lookahead_minmax(sgd(), alpha=1.5), "alpha"),
        (lambda: ramp(0.0, 1.0, steps=3, shape="geometric"), "geometric"),
        (lambda: ramp(0.0, 1.0, steps=3, shape="steep"), "cosine"),
        (lambda: ramp(0.0, 1.0, steps=0), "steps"),
    ],
)
def test_impossible_settings_are_refused(make: Callable[[], Any], name: str) -> None:
    with refused(name):
        make()


# schedules --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["linear", "cosine", "geometric"])
@pytest.mark.parametrize(("begin", "every"), [(0, 1), (3, 1), (0, 4), (2, 3)])
def test_ramps_start_hold_and_end(shape: str, begin: int, every: int) -> None:
    at = ramp(0.1, 0.4, steps=12, begin=begin, every=every, shape=shape)
    values = [at(step) for step in range(40)]
    assert values[: begin + 1] == [0.1] * (begin + 1)
    assert values[begin + 12 + every :] == pytest.approx([0.4] * len(values[begin + 12 + every :]), rel=1e-15)
    assert values == sorted(values)
    for step, value in enumerate(values):
        assert value == values[step // every * every]


def test_a_geometric_ramp_is_the_learning_rate_of_2014() -> None:
    """lr <- lr / 1.000004 at each update, to 0.0819 after 50,000."""
    steps = round(np.log(0.1 / 1e-6) / np.log(1.000004))
    at = ramp(0.1, 1e-6, steps, shape="geometric")
    assert at(50_000) == pytest.approx(0.1 / 1.000004**50_000, rel=1e-6)
    assert at(10**8) == pytest.approx(1e-6)


def test_a_cosine_is_half_way_at_half_time() -> None:
    at = ramp(2.0, 1.0, steps=10, shape="cosine")
    assert [at(0), at(5), at(10)] == pytest.approx([2, 1.5, 1])


# resuming ---------------------------------------------------------------------------------------------------

MAKERS: dict[str, Any] = {
    "sgd": sgd(0.1),
    "momentum": sgd(0.1, momentum=0.9),
    "adam": adam(0.01),
    "extragradient": extragradient(sgd(0.1)),
    "extra-adam": extragradient(adam(0.01)),
    "optimistic": optimistic(sgd(0.1)),
    "optimistic adam": optimistic(adam(0.01)),
    "lookahead": lookahead_minmax(sgd(0.1, momentum=0.5), every=5),
    "clipped": clipped(adam(0.1), bound=0.5),
    "scheduled": scheduled(adam(), lr=ramp(0.1, 0.01, steps=20)),
    "nest of three": lookahead_minmax(extragradient(optimistic(adam(0.01))), every=3),
    "nest of four": scheduled(
        clipped(lookahead_minmax(optimistic(sgd(momentum=0.3)), every=4)), lr=ramp(0.2, 0, 30)
    ),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
@pytest.mark.parametrize("stop", [1, 6, 7])
def test_a_state_resumes_to_the_same_bits(make: Any, stop: int) -> None:
    theta = parameters()
    optimizer = make(theta)
    for step in range(stop):
        feed(optimizer, theta, step)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    twin = deepcopy(theta)
    restored = make(twin)
    restored.load_state_dict(saved)
    for step in range(stop, 16):
        feed(optimizer, theta, step)
        feed(restored, twin, step)
    for p, q in zip(theta, twin, strict=True):
        assert p.detach().equal(q.detach())
    assert repr(optimizer) == repr(restored)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_gradients_are_forgotten(make: Any) -> None:
    theta = parameters()
    feed(make(theta), theta, 0)
    assert all(p.grad is None for p in theta)


def test_a_number_is_a_schedule_that_stays() -> None:
    x = torch.ones(1, requires_grad=True)
    optimizer = scheduled(sgd(lr=9.0), lr=0.5)([x])
    x.grad = torch.ones(1)
    optimizer.step()
    assert x.item() == 0.5


@pytest.mark.parametrize("of_all", [False, True])
@pytest.mark.parametrize("make", [sgd, adam])
def test_torch_s_hooks_are_called_round_each_step(make: Any, of_all: bool) -> None:
    parameter = torch.ones(1, requires_grad=True)
    optimizer, heard = make()([parameter]), []
    before, after = (lambda *args: heard.append("before")), (lambda *args: heard.append("after"))
    handles = (
        [register_optimizer_step_pre_hook(before), register_optimizer_step_post_hook(after)]
        if of_all
        else [optimizer.register_step_pre_hook(before), optimizer.register_step_post_hook(after)]
    )
    for hooked in (True, False):
        parameter.grad, start = torch.ones(1), float(parameter.detach())
        optimizer.step()
        assert float(parameter.detach()) < start
        assert heard == ["before", "after"]
        for handle in handles if hooked else ():
            handle.remove()
