"""The engine plays Algorithm 1: judged by hand-computed iterations and by what it touches."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Callable
from copy import deepcopy
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, log_expit
from torch import Tensor, nn

from refusals import refused
from zerosum import Game, Objective, Turn, data, networks, objectives, penalties
from zerosum.data.codec import Pixels
from zerosum.game import normal
from zerosum.game.inputs import _examples
from zerosum.optimizers import (
    sgd,
)
from zerosum.randomness import stream


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


def test_images_go_to_the_game_s_device_as_bytes_and_become_floats_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    digits, encode, seen = data.digits(), Pixels.encode, list[Tensor]()

    def encoded(codec: Pixels, values: Tensor) -> Tensor:
        seen.append(values)
        return encode(codec, values)

    monkeypatch.setattr(Pixels, "encode", encoded)
    game = double_game(objectives.minimax(), conditional=False)
    game.device = torch.device("meta")
    parts = _examples(game, digits, 0)
    assert [(x.dtype, x.device.type) for x in seen] == [(torch.uint8, "meta")]
    assert all((x.dtype, x.device.type) == (torch.float64, "meta") for x, _ in parts)


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
    # steps of D: 0, 1 | 2, 3 | 4, 5 | 6, 7 | ...: r1 is due at 0, 3, 6, 9, and a turn tells of each
    assert [sorted(turn.penalties) for turn in turns] == [["r1", "r2"], ["r1", "r2"], ["r2"]] * 2
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
    with refused(by=RuntimeError):
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
@pytest.mark.parametrize("objective", [objectives.nonsaturating(), objectives.relativistic_pairing()])
def test_a_d_whose_logits_are_probabilities_is_warned_of_once(
    ends_in_sigmoid: bool, objective: Objective
) -> None:
    torch.manual_seed(0)
    ends = [nn.Linear(8, 1), nn.Flatten(0), *[nn.Sigmoid()] * ends_in_sigmoid]
    D = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), *ends)
    game = Game(nn.Linear(4, 2), D, objective, latent=4, batch=8, lr=(1e-3, 1e-3))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        list(game.play(data.ring(), 102))
    assert ["sigmoid" in str(warning.message) for warning in heard] == [True] * ends_in_sigmoid


def test_a_game_says_what_it_is() -> None:
    game = double_game(objectives.hinge(), [penalties.r1(0.1)], lr=(3e-4, 1e-4), k=2)
    said = repr(game)
    for words in ("hinge", "r1", "batch 12", "k 2", "lr=0.0003", "lr=0.0001", "step 0", "parameters"):
        assert words in said


def test_a_d_that_gives_no_single_logit_is_refused() -> None:
    game = Game(nn.Linear(4, 2), nn.Linear(2, 1), objectives.minimax(), latent=4, batch=8)
    with refused():
        next(game.play(data.ring(), 1))
