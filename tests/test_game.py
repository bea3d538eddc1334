"""The engine plays Algorithm 1: judged by hand-computed iterations, by what it touches, and by Dirac-GAN."""

from __future__ import annotations

import contextlib
import io
import math
import re
import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, log_expit
from torch import Tensor, nn

from zerosum import Game, Objective, Turn, data, networks, objectives, penalties
from zerosum.game import normal, uniform
from zerosum.optimizers import (
    adam,
    clipped,
    extragradient,
    lookahead_minmax,
    optimistic,
    scheduled,
    sgd,
)
from zerosum.randomness import stream
from zerosum.schedules import ramp


class Recording:
    """A source of Gaussian points that remembers what it was asked for."""

    shape, classes = (3,), 0

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def batch(self, step: int, n: int) -> tuple[Tensor, None]:
        self.asked.append((step, n))
        return torch.randn(n, 3, generator=stream(5, step, "data")) + 1, None


def double_game(objective: Objective, *args: Any, **settings: Any) -> Game:
    """Two small networks in float64, the same ones each time."""
    torch.manual_seed(0)
    G = networks.mlp((2,), (3,), width=8, depth=2, activation=nn.Tanh).double()
    D = networks.mlp((3,), (), width=8, depth=2, activation=nn.SiLU).double()
    return Game(G, D, objective, *args, **{"latent": 2, "batch": 12, **settings})


def weights(network: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in network.parameters()]


def unchanged(network: nn.Module, before: list[Tensor]) -> bool:
    return all(p.detach().equal(b) for p, b in zip(network.parameters(), before, strict=True))


# one iteration by hand --------------------------------------------------------------------------------------
# G(z) = A z + c and D(x) = sigmoid(w x + b): every gradient below is written out, none is asked of autograd.

Array = np.ndarray


class ByHand:
    """The players' parameters as arrays, and Algorithm 1 as the paper prints it, plus R1 of weight gamma."""

    def __init__(self, G: nn.Linear, D: nn.Linear, eta_d: float, eta_g: float, gamma: float) -> None:
        self.A, self.c, self.w, self.b = (
            p.detach().numpy().copy() for p in (*G.parameters(), *D.parameters())
        )
        self.eta_d, self.eta_g, self.gamma = eta_d, eta_g, gamma

    def ascend(self, slope_real: Array, slope_fake: Array, x: Array, y: Array) -> tuple[Array, Array]:
        """theta_d + eta_d grad V, with the slopes of V in the logits of x and of y = G(z)."""
        grad_w = (slope_real[:, None] * x + slope_fake[:, None] * y).mean(0) - self.gamma * self.w[0]
        grad_b = (slope_real + slope_fake).mean()
        return self.w + self.eta_d * grad_w, self.b + self.eta_d * grad_b

    def descend(self, slope: Array, z: Array) -> tuple[Array, Array]:
        """theta_g - eta_g grad L_G, with the slope of L_G in the fake logits: d a(G(z))/dA = w z^T."""
        grad_c = slope.mean() * self.w[0]
        grad_A = np.outer(self.w[0], (slope[:, None] * z).mean(0))
        return self.A - self.eta_g * grad_A, self.c - self.eta_g * grad_c

    def generate(self, z: Array) -> Array:
        return z @ self.A.T + self.c

    def logit(self, x: Array) -> Array:
        return x @ self.w[0] + self.b


# (slope of V in the real and fake logits), slope of L_G in the fake logits, mean L_D, mean L_G
HAND: dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any], Callable[..., Any]]] = {
    "minimax": (
        lambda r, f: (1 - expit(r), -expit(f)),  # of log D(x) + log(1 - D(G(z)))
        lambda r, f: -expit(f),
        lambda r, f: -(log_expit(r) + log_expit(-f)).mean(),
        lambda r, f: log_expit(-f).mean(),
    ),
    "nonsaturating": (
        lambda r, f: (1 - expit(r), -expit(f)),
        lambda r, f: -(1 - expit(f)),
        lambda r, f: -(log_expit(r) + log_expit(-f)).mean(),
        lambda r, f: -log_expit(f).mean(),
    ),
    "relativistic_pairing": (
        lambda r, f: (expit(f - r), -expit(f - r)),  # of log sigmoid(a(x) - a(G(z)))
        lambda r, f: -expit(r - f),
        lambda r, f: -log_expit(r - f).mean(),
        lambda r, f: -log_expit(f - r).mean(),
    ),
}


@pytest.mark.parametrize("name", HAND)
@pytest.mark.parametrize("simultaneous", [False, True])
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("gamma", [0.0, 0.7])
def test_turns_are_algorithm_1_by_hand(name: str, simultaneous: bool, k: int, gamma: float) -> None:
    d_slopes, g_slope, d_loss, g_loss = HAND[name]
    seed, n, eta_g, eta_d = 3, 10, 0.2, 0.3
    torch.manual_seed(0)
    G, D = nn.Linear(2, 3).double(), nn.Linear(3, 1).double()
    hand = ByHand(G, D, eta_d, eta_g, gamma)
    source = Recording()
    game = Game(
        G,
        nn.Sequential(D, nn.Flatten(0)),
        getattr(objectives, name)(),
        [penalties.r1(weight=gamma)],
        latent=2,
        optimizers=(sgd(eta_g), sgd(eta_d)),
        batch=n,
        k=k,
        simultaneous=simultaneous,
        ema=None,
        seed=seed,
    )
    paired = name.startswith("relativistic")

    def real(t: int, i: int) -> Array:
        return source.batch(t * (k + paired) + i, n)[0].double().numpy()

    def noise(t: int, purpose: str, i: int) -> Array:
        return torch.randn(n, 2, generator=stream(seed, 0, t, purpose, i), dtype=torch.float64).numpy()

    for t, turn in enumerate(game.play(source, 3)):
        for i in range(k):  # for k steps do
            x, y = real(t, i), hand.generate(noise(t, "d_noise", i))
            r, f = hand.logit(x), hand.logit(y)
            moved_d = hand.ascend(*d_slopes(r, f), x, y)
            last = i + 1 == k
            if not (simultaneous and last):
                hand.w, hand.b = moved_d
        z = noise(t, "g_noise", 0)
        a, seen = hand.logit(hand.generate(z)), hand.logit(real(t, k))
        moved_g = hand.descend(g_slope(seen, a), z)
        assert float(turn.d_loss) == pytest.approx(d_loss(r, f), abs=1e-12)
        assert float(turn.g_loss) == pytest.approx(g_loss(seen, a), abs=1e-12)
        np.testing.assert_allclose(turn.real_logits, r, atol=1e-12)
        np.testing.assert_allclose(turn.fake_logits, f, atol=1e-12)
        if simultaneous:
            penalised = hand.w
            hand.w, hand.b = moved_d
            assert float(turn.penalties["r1"]) == pytest.approx(gamma * (penalised**2).sum() / 2, abs=1e-12)
        hand.A, hand.c = moved_g
        for p, wanted in zip(
            (*G.parameters(), *D.parameters()), (hand.A, hand.c, hand.w, hand.b), strict=True
        ):
            np.testing.assert_allclose(p.detach(), wanted, rtol=0, atol=1e-12)


def test_a_user_s_objective_and_modules_play() -> None:
    squares = Objective(lambda r, f: (r - 1) ** 2 + f**2, lambda r, f: (f - 1) ** 2, equilibrium=0.5)
    game = Game(nn.Linear(4, 2), nn.Sequential(nn.Linear(2, 1), nn.Flatten(0)), squares, latent=4, batch=8)
    turns = list(game.play(data.ring(), 2))
    assert [turn.step for turn in turns] == [0, 1]
    turn = turns[-1]
    wanted = ((turn.real_logits - 1) ** 2 + turn.fake_logits**2).mean()
    torch.testing.assert_close(turn.d_loss, wanted)


# what a turn touches ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("simultaneous", [False, True])
@pytest.mark.parametrize("name", ["nonsaturating", "relativistic_pairing"])
def test_no_work_is_wasted_and_no_gradient_goes_astray(name: str, simultaneous: bool) -> None:
    events: list[Any] = []

    class Spy(torch.optim.SGD):
        def step(self) -> None:  # type: ignore[override]
            mine = {id(p) for group in self.param_groups for p in group["params"]}
            for player in (game.G, game.D):
                has = [p.grad is not None for p in player.parameters]
                events.append(("grad", "mine" if id(player.parameters[0]) in mine else "theirs", *set(has)))
            super().step()

    game = double_game(
        getattr(objectives, name)(),
        [penalties.r1(), penalties.r2(), penalties.wgan_gp()],
        optimizers=(lambda p: Spy(p, lr=0.1), lambda p: Spy(p, lr=0.1)),
        k=2,
        simultaneous=simultaneous,
    )
    game.G.network.register_forward_hook(lambda m, x, y: events.append(("G builds a graph", y.requires_grad)))
    game.D.network.register_forward_hook(
        lambda m, x, y: events.append(
            (
                "D",
                "with graph" if y.requires_grad else "without",
                "own weights" if weights_on(m) else "frozen",
            )
        )
    )

    def weights_on(m: nn.Module) -> bool:
        return any(p.requires_grad for p in m.parameters())

    list(game.play(Recording(), 1))
    passes = [e for e in events if e[0] != "grad"]
    # D judges real and fake, which R1 and R2 take up, and then the points between
    d_step = [("G builds a graph", False), *[("D", "with graph", "own weights")] * 3]
    seen = [("D", "without", "frozen")] if game.objective.needs_real_logits else []
    g_step = [*seen, ("G builds a graph", True), ("D", "with graph", "frozen")]
    assert passes == d_step * 2 + g_step
    moves = [e[1:] for e in events if e[0] == "grad"]
    alone = [("theirs", False), ("mine", True)]  # G without, D with
    if simultaneous:
        assert moves == [*alone, ("theirs", True), ("mine", True), ("mine", True), ("theirs", False)]
    else:
        assert moves == [*alone, *alone, ("mine", True), ("theirs", False)]
    assert all(p.grad is None and p.requires_grad for player in (game.G, game.D) for p in player.parameters)


def test_a_step_of_d_leaves_g_untouched_and_the_reverse() -> None:
    for still, moving in (("G", "D"), ("D", "G")):
        rates = {"G": sgd(0.1), "D": sgd(0.1), still: sgd(0.0)}
        game = double_game(objectives.nonsaturating(), [penalties.r1()], optimizers=(rates["G"], rates["D"]))
        before = {name: weights(getattr(game, name).network) for name in "GD"}
        list(game.play(Recording(), 2))
        assert unchanged(getattr(game, still).network, before[still])
        assert not unchanged(getattr(game, moving).network, before[moving])


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("name", ["nonsaturating", "relativistic_average"])
def test_no_batch_and_no_noise_serves_twice(name: str, k: int, accumulate: int) -> None:
    source, drawn = Recording(), []

    def recording(shape: Any, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        drawn.append(normal(shape, generator, dtype))
        return drawn[-1]

    game = double_game(getattr(objectives, name)(), prior=recording, k=k, accumulate=accumulate)
    list(game.play(source, 4))
    per_turn = k + game.objective.needs_real_logits
    assert source.asked == [(step, 12) for step in range(4 * per_turn)]
    assert len(drawn) == 4 * (k + 1)
    assert all(z.shape == (12, 2) for z in drawn)
    rows = torch.cat(drawn)
    assert len(rows.unique(dim=0)) == len(rows)
    assert not any(a.equal(b) for a, b in combinations(drawn, 2))


def test_seeds_draw_apart() -> None:
    first, second = (
        next(double_game(objectives.minimax(), seed=seed).play(Recording(), 1)).fake_logits for seed in (0, 1)
    )
    assert not first.equal(second)


class Parts(Recording):
    """A source that makes a part without the whole."""

    def part(self, step: int, n: int, rank: int, world: int) -> tuple[Tensor, None]:
        return self.batch(step, n)[0].chunk(world)[rank], None


@pytest.mark.parametrize("source", [Recording, Parts])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_out_one_batch_of_examples_and_of_noise(source: Any, accumulate: int, world: int) -> None:
    def first_turn(**settings: Any) -> Turn:
        return next(double_game(objectives.nonsaturating(), **settings).play(source(), 1))

    whole = first_turn()
    parts = [first_turn(rank=r, world=world, accumulate=accumulate) for r in range(world)]
    for name in ("real_logits", "fake_logits"):
        logits = [getattr(part, name) for part in parts]
        assert not any(a.equal(b) for a, b in combinations(logits, 2))
        torch.testing.assert_close(torch.cat(logits), getattr(whole, name), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["nonsaturating", "minimax", "hinge", "relativistic_pairing"])
@pytest.mark.parametrize("simultaneous", [False, True])
@pytest.mark.parametrize("parts", [2, 4, 12])
def test_accumulation_changes_nothing(name: str, simultaneous: bool, parts: int) -> None:
    def play(accumulate: int) -> tuple[Game, list[Turn]]:
        game = double_game(
            getattr(objectives, name)(),
            [penalties.r1(0.5), penalties.r2(0.5, every=2)],
            optimizers=(sgd(0.1), sgd(0.1)),  # Adam would enlarge the last bits of gradients that are zero
            accumulate=accumulate,
            simultaneous=simultaneous,
        )
        return game, list(game.play(Recording(), 3))

    (whole, turns), (split, same) = play(1), play(parts)

    def equal(a: Tensor, b: Tensor) -> None:
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)

    for network, other in ((whole.G.network, split.G.network), (whole.D.network, split.D.network)):
        for p, q in zip(network.parameters(), other.parameters(), strict=True):
            equal(p, q)
    for a, b in zip(turns, same, strict=True):
        equal(a.d_loss, b.d_loss)
        equal(a.g_loss, b.g_loss)
        equal(a.real_logits, b.real_logits)
        equal(a.fake_logits, b.fake_logits)
        assert a.penalties.keys() == b.penalties.keys()
        for name in a.penalties:
            equal(a.penalties[name], b.penalties[name])


def test_lazy_penalties_are_told_when_due_and_weighted_up() -> None:
    game = double_game(objectives.nonsaturating(), [penalties.r1(0.25, every=3), penalties.r2(1.0)], k=2)
    source = Recording()
    turns = list(game.play(source, 6))
    # steps of D: 0, 1 | 2, 3 | 4, 5 | 6, 7 | ...: r1 is due at 0, 3, 6, 9, and a turn tells of its last step
    assert [sorted(turn.penalties) for turn in turns] == [["r2"], ["r1", "r2"], ["r2"]] * 2
    alone = double_game(
        objectives.nonsaturating(), [penalties.r1(0.25, every=3)], optimizers=(sgd(0), sgd(0))
    )
    (turn,) = alone.play(source, 1)
    x = source.batch(0, 12)[0].double()
    mean = penalties.r1()(alone.D.network, x, x).mean()
    torch.testing.assert_close(turn.penalties["r1"], (0.75 * mean).detach())


def test_turns_are_detached() -> None:
    (turn,) = double_game(objectives.relativistic_average(), [penalties.lecam()]).play(Recording(), 1)
    tensors = [turn.d_loss, turn.g_loss, turn.real_logits, turn.fake_logits, *turn.penalties.values()]
    assert not any(t.requires_grad for t in tensors)
    assert turn.real_logits.shape == turn.fake_logits.shape == (12,)
    assert turn.d_loss.shape == turn.g_loss.shape == turn.penalties["lecam"].shape == ()


def test_modules_frozen_in_part_stay_frozen() -> None:
    torch.manual_seed(0)
    G, D = networks.mlp((2,), (3,), width=8), networks.mlp((3,), (), width=8)
    for network in (G, D):
        network.layers[0].requires_grad_(False)
    game = Game(G, D, objectives.nonsaturating(), latent=2, batch=8)
    before = [weights(G), weights(D)]
    list(game.play(Recording(), 2))
    for network, old in zip((G, D), before, strict=True):
        for i, (p, b) in enumerate(zip(network.parameters(), old, strict=True)):
            assert p.requires_grad == (i > 1)
            assert p.detach().equal(b) == (i <= 1)


def test_d_is_released_when_a_loss_fails() -> None:
    def broken(real: Tensor | None, fake: Tensor) -> Tensor:
        raise RuntimeError("no loss today")

    game = double_game(Objective(objectives.hinge().d, broken, 2.0))
    state = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="no loss today"):
        list(game.play(Recording(), 1))
    assert all(p.requires_grad for p in game.D.parameters)
    assert torch.get_rng_state().equal(state)


@pytest.mark.parametrize("norm", [None, nn.BatchNorm1d, nn.LayerNorm])
def test_d_judges_both_in_one_pass_unless_it_mixes_examples(norm: Any) -> None:
    torch.manual_seed(0)
    D = networks.mlp((3,), (), width=8, norm=norm).double()
    game = Game(nn.Linear(2, 3).double(), D, objectives.nonsaturating(), latent=2, batch=8, ema=None)
    sizes: list[int] = []
    G_before, D_before = deepcopy(game.G.network), deepcopy(D)
    D.register_forward_pre_hook(lambda m, x: sizes.append(len(x[0])))
    (turn,) = game.play(Recording(), 1)
    assert sizes == ([8, 8, 8] if norm is nn.BatchNorm1d else [16, 8])
    z = torch.randn(8, 2, generator=stream(0, 0, 0, "d_noise", 0), dtype=torch.float64)
    real = D_before(Recording().batch(0, 8)[0].double())
    fake = D_before(G_before(z))
    torch.testing.assert_close(turn.real_logits, real.detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(turn.fake_logits, fake.detach(), rtol=0, atol=1e-12)


def test_a_module_may_say_that_it_mixes_examples() -> None:
    class Spread(nn.Module):
        mixes_examples = True

        def forward(self, x: Tensor) -> Tensor:
            return x - x.mean(0)

    D = nn.Sequential(nn.Linear(3, 4), Spread(), nn.Linear(4, 1), nn.Flatten(0))
    assert Game(nn.Linear(2, 3), D, objectives.hinge(), latent=2).mixes
    assert not Game(nn.Linear(2, 3), D[:1], objectives.hinge(), latent=2).mixes


# randomness -------------------------------------------------------------------------------------------------


def noisy_game(**settings: Any) -> Game:
    """Everything that draws: dropout in both, batch norm in G, points between real and fake."""
    torch.manual_seed(0)
    G = networks.mlp((2,), (3,), width=8, norm=nn.BatchNorm1d, dropout=0.2)
    D = networks.mlp((3,), (), width=8, dropout=0.3)
    made = {"objective": objectives.nonsaturating(), "penalties": [penalties.wgan_gp(), penalties.lecam()]}
    return Game(G, D, **{**made, "latent": 2, "batch": 8, "lr": (1e-3, 1e-3), **settings})


def test_play_depends_on_no_global_randomness_and_leaves_it_alone() -> None:
    ends = []
    for seed in (1, 2):
        game = noisy_game()
        torch.manual_seed(seed)
        undisturbed = [torch.rand(3) for _ in range(5)]
        torch.manual_seed(seed)
        for numbers, _ in zip(undisturbed, game.play(Recording(), 5), strict=True):
            game.sample(10)
            assert torch.rand(3).equal(numbers)  # the caller draws between turns as if nobody else did
        ends.append(weights(game.G.network) + weights(game.D.network))
    assert all(a.equal(b) for a, b in zip(*ends, strict=True))


def tree(state: Any) -> Any:
    """A state with its tensors as bytes, to compare all of it at once."""
    if isinstance(state, Tensor):
        return str(state.dtype), tuple(state.shape), state.detach().contiguous().numpy().tobytes()
    if isinstance(state, dict):
        return {k: tree(v) for k, v in state.items()}
    if isinstance(state, (list, tuple)):
        return [tree(v) for v in state]
    return state


OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adam": {},
    "momentum": {"optimizers": (sgd(1e-3, momentum=0.9), sgd(1e-2, momentum=0.5))},
    "extra-adam": {"optimizers": (extragradient(adam(1e-3)),) * 2, "simultaneous": True},
    "optimistic": {"optimizers": (optimistic(adam(1e-3)),) * 2},
    "lookahead": {"optimizers": (lookahead_minmax(adam(1e-3), every=3),) * 2, "k": 2},
    "clipped, scheduled": {
        "optimizers": (scheduled(adam(), lr=ramp(1e-2, 1e-4, 10)), clipped(sgd(0.1), 0.1)),
    },
}
REST: dict[str, dict[str, Any]] = {
    "plain": {"ema": None, "penalties": []},
    "all": {"ema": 0.9},
    "accumulated": {"ema": 0.9, "accumulate": 4, "penalties": [penalties.dragan(every=2), penalties.r2()]},
    "pairing, scheduled": {
        "objective": objectives.relativistic_pairing(),
        "penalties": [penalties.r1(ramp(1.0, 0.1, 8)), penalties.zero_centred_gp(every=3)],
        "prior": uniform,
    },
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("rest", REST)
def test_a_state_resumes_to_the_same_bytes_at_any_turn(optimizer: str, rest: str) -> None:
    def fresh() -> Game:
        settings = {**REST[rest], **OPTIMIZERS[optimizer]}
        if "penalties" in settings:  # lecam and others keep state: each game needs its own
            settings["penalties"] = deepcopy(settings["penalties"])
        return noisy_game(**settings)

    game, source, files = fresh(), Recording(), []
    for _ in range(5):
        file = io.BytesIO()
        torch.save(game.state_dict(), file)
        files.append(file.getvalue())
        list(game.play(source, 1))
    wanted = tree(game.state_dict())
    for turns, content in enumerate(files):
        resumed = fresh()
        resumed.load_state_dict(torch.load(io.BytesIO(content), weights_only=True))
        assert resumed.step == turns
        torch.manual_seed(turns)  # whatever the new process has drawn
        list(resumed.play(source, 5 - turns))
        assert tree(resumed.state_dict()) == wanted


def test_a_state_is_not_shared_between_games() -> None:
    """A game loaded from another's live state goes its own way."""
    settings = OPTIMIZERS["lookahead"]
    first, second = noisy_game(**settings), noisy_game(**settings)
    list(first.play(Recording(), 4))
    second.load_state_dict(first.state_dict())
    before = tree(first.state_dict())
    list(second.play(Recording(), 3))
    assert tree(first.state_dict()) == before
    list(first.play(Recording(), 3))
    assert tree(first.state_dict()) == tree(second.state_dict())


# the average ------------------------------------------------------------------------------------------------


def test_the_average_follows_its_formula_with_buffers() -> None:
    game = noisy_game(ema=0.3)
    assert game.G.average is not None
    wanted = {name: t.clone() for name, t in game.G.network.state_dict().items()}
    assert tree(dict(game.G.average.state_dict())) == tree(wanted)
    for t, _ in enumerate(game.play(Recording(), 8)):
        decay = min(0.3, (1 + t) / (10 + t))
        for name, now in game.G.network.state_dict().items():
            if now.is_floating_point():
                wanted[name] = decay * wanted[name] + (1 - decay) * now
            else:
                wanted[name] = now.clone()
        for name, mean in game.G.average.state_dict().items():
            torch.testing.assert_close(mean, wanted[name], rtol=1e-5, atol=1e-7)
    assert any(name.endswith("running_var") for name in wanted)
    assert not any(p.requires_grad for p in game.G.average.parameters())


def test_the_average_takes_no_part_in_the_game() -> None:
    alone, averaged = noisy_game(ema=None), noisy_game(ema=0.9)
    for game in (alone, averaged):
        list(game.play(Recording(), 4))
    for mine, theirs in ((alone.G, averaged.G), (alone.D, averaged.D)):
        assert tree(dict(mine.network.state_dict())) == tree(dict(theirs.network.state_dict()))
        assert tree(mine.optimizer.state_dict()) == tree(theirs.optimizer.state_dict())


def test_lookahead_looks_back_before_the_average_follows() -> None:
    """After a look back the average has seen the slow weights, not the fast."""
    game = double_game(
        objectives.nonsaturating(), optimizers=(lookahead_minmax(sgd(0.5), every=1),) * 2, ema=0.0
    )
    list(game.play(Recording(), 1))
    assert game.G.average is not None
    assert unchanged(game.G.average, weights(game.G.network))


# priors and samples -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("prior", "kurtosis"), [(normal, 3.0), (uniform, 1.8)])
def test_priors_have_their_moments(prior: Any, kurtosis: float) -> None:
    z = prior((200_000,), stream(0, "test"), torch.float64)
    assert z.dtype == torch.float64
    assert float(z.mean()) == pytest.approx(0, abs=0.01)
    assert float(z.var()) == pytest.approx(1, abs=0.02)
    assert float((z**4).mean()) == pytest.approx(kurtosis, abs=0.1)
    if prior is uniform:
        assert 1.73 < float(z.abs().max()) <= math.sqrt(3)


def test_latents_have_any_shape() -> None:
    G = nn.Sequential(nn.Flatten(), nn.Linear(6, 3))
    game = Game(G, networks.mlp((3,), ()), objectives.hinge(), latent=(2, 3), batch=4)
    list(game.play(Recording(), 1))
    assert game.noise(5).shape == (5, 2, 3)
    assert game.sample(5).shape == (5, 3)


@pytest.mark.parametrize("prior", [normal, uniform])
def test_a_sample_depends_on_its_seed_and_number_only(prior: Any) -> None:
    game = noisy_game(prior=prior)
    list(game.play(Recording(), 2))
    whole = game.noise(700, seed=4)
    assert whole.shape == (700, 2)
    assert len(whole.unique(dim=0)) == 700
    assert game.noise(3, seed=4).equal(whole[:3])
    assert torch.cat([game.noise(300, 4), game.noise(212, 4, 300), game.noise(188, 4, 512)]).equal(whole)
    assert not game.noise(700, seed=5).equal(whole)
    once = game.sample(700, seed=4)
    assert once.equal(game.sample(700, seed=4))
    for chunk in (1, 13, 256, 10_000):
        torch.testing.assert_close(game.sample(700, seed=4, chunk=chunk), once, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(game.generate(whole), once, rtol=1e-5, atol=1e-6)


def test_samples_are_of_the_average_unless_live() -> None:
    game = noisy_game(ema=0.999)
    list(game.play(Recording(), 3))
    assert game.G.average is not None
    z = game.noise(20)
    torch.testing.assert_close(game.sample(20), deepcopy(game.G.average).eval()(z))
    torch.testing.assert_close(game.sample(20, live=True), deepcopy(game.G.network).eval()(z).detach())
    assert not game.sample(20).equal(game.sample(20, live=True))
    assert noisy_game(ema=None).sample(5).requires_grad is False


def test_looking_changes_nothing() -> None:
    quiet, watched = noisy_game(), noisy_game()
    list(quiet.play(Recording(), 4))
    for _ in watched.play(Recording(), 4):
        watched.sample(30)
        watched.sample(30, live=True)
        watched.generate(watched.noise(4, seed=9))
        watched.state_dict()
    assert tree(quiet.state_dict()) == tree(watched.state_dict())


def test_looking_does_not_turn_the_power_iteration() -> None:
    game = Game(networks.mlp((2,), (3,), spectral=True), networks.mlp((3,), ()), objectives.hinge(), latent=2)
    list(game.play(Recording(), 1))
    before = tree(game.state_dict())
    game.sample(10)
    game.sample(10, live=True)
    assert tree(game.state_dict()) == before


# settings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch": 10, "accumulate": 4}, "accumulate divide batch"),
        ({"k": 0}, "k=0"),
        ({"batch": 0}, "batch=0"),
        ({"penalties": [penalties.r1(), penalties.r1(0.5)]}, r"share a name in \['r1', 'r1'\]"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        noisy_game(**settings)
    assert "\n" not in str(error.value)


def test_a_player_needs_something_to_move() -> None:
    with pytest.raises(ValueError, match="Identity cannot play"):
        Game(nn.Identity(), networks.mlp((3,), ()), objectives.hinge(), latent=3)


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


def rounded(value: float, like: str) -> str:
    """`value` with as many digits as `like` has."""
    mantissa, *exponent = like.split("e")
    decimals = len(mantissa.partition(".")[2])
    return f"{value:.{decimals}e}" if exponent else f"{value:.{decimals}f}"


@pytest.mark.parametrize(("row", "distance"), TABLE.items(), ids=["-".join(row) for row in TABLE])
def test_dirac_gan_ends_where_it_must(row: tuple[str, str], distance: str) -> None:
    assert rounded(distances(*row)[-1], distance) == distance


@pytest.mark.parametrize(
    ("name", "play", "nearest", "farthest"),
    [
        ("GAN", "AltGD 1", "1.3", "1.4"),
        ("GAN", "AltGD 5", "1.0", "2.4"),
        ("WGAN clip 1", "SimGD", "1.0", "1.3"),
    ],
)
def test_dirac_gan_cycles(name: str, play: str, nearest: str, farthest: str) -> None:
    late = distances(name, play)[-100:]
    assert (f"{min(late):.1f}", f"{max(late):.1f}") == (nearest, farthest)


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


# the program of the README ----------------------------------------------------------------------------------


def test_the_program_of_the_readme_runs_as_printed_and_covers_the_ring() -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    program = re.search(r"```python\n(.*?)```", readme, re.DOTALL)
    assert program is not None
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(program.group(1), "README.md", "exec"), names)
    lines = printed.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["0", "500", "1000", "1500", "2000", "2500"]
    game, ring, metrics = (names[name] for name in ("game", "ring", "metrics"))
    x = game.sample(2048)
    assert float(metrics.mode_coverage(x, ring.modes, ring.std)) >= 7
    assert float(metrics.high_quality_share(x, ring.modes, ring.std)) > 0.4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"latent": 0}, "latent=0"),
        ({"latent": (3, -1)}, "latent"),
        ({"ema": 1.5}, "ema=1.5"),
        ({"objective": "hinge"}, "objectives.nonsaturating"),
        ({"D": "G"}, "two players"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_line(changes: dict[str, Any], words: str) -> None:
    G = nn.Linear(4, 2)
    settings = {"G": G, "D": nn.Linear(2, 1), "objective": objectives.minimax(), "latent": 4, **changes}
    settings["D"] = G if settings["D"] == "G" else settings["D"]
    with pytest.raises(ValueError, match=words) as error:
        Game(**settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("ends_in_sigmoid", [False, True])
def test_a_d_whose_logits_are_probabilities_is_warned_of_once(ends_in_sigmoid: bool) -> None:
    torch.manual_seed(0)
    ends = [nn.Linear(8, 1), *[nn.Sigmoid()] * ends_in_sigmoid, nn.Flatten(0)]
    D = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), *ends)
    game = Game(nn.Linear(4, 2), D, objectives.nonsaturating(), latent=4, batch=8, lr=(1e-3, 1e-3))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        list(game.play(data.ring(), 102))
    assert ["sigmoid" in str(warning.message) for warning in heard] == [True] * ends_in_sigmoid


def test_a_game_says_what_it_is() -> None:
    game = double_game(objectives.hinge(), [penalties.r1(0.1)], lr=(3e-4, 1e-4), k=2)
    said = repr(game)
    for words in ("hinge", "r1", "batch 12", "k 2", "lr=0.0003", "lr=0.0001", "step 0", "parameters"):
        assert words in said


def test_a_turn_is_a_function_of_the_players_and_its_inputs() -> None:
    """Inputs drawn by one game move another of the same state to the same bytes, whatever its seed."""
    ramped = scheduled(sgd(), lr=ramp(0.1, 0.01, steps=5))
    make = lambda seed: noisy_game(seed=seed, optimizers=(ramped, ramped))  # noqa: E731
    first, second = make(0), make(7)
    for _ in range(3):
        inputs = first.inputs(Recording())
        turns = [game.advance(inputs) for game in (first, second)]
        assert turns[0].d_loss.equal(turns[1].d_loss) and first.step == second.step
    for a, b in zip(
        (*first.G.parameters, *first.D.parameters), (*second.G.parameters, *second.D.parameters), strict=True
    ):
        assert a.equal(b)
    faster = replace(inputs.g, rates={"lr": 0.5})
    for game, given in ((first, inputs), (second, replace(inputs, g=faster))):
        game.advance(given)
    assert [game.G.optimizer.param_groups[0]["lr"] for game in (first, second)] == [pytest.approx(0.064), 0.5]


def test_a_d_that_gives_no_single_logit_is_refused() -> None:
    game = Game(nn.Linear(4, 2), nn.Linear(2, 1), objectives.minimax(), latent=4, batch=8)
    with pytest.raises(ValueError, match="one logit each"):
        next(game.play(data.ring(), 1))
