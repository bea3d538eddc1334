"""Instruments change nothing, read the reference at the equilibrium, agree with exact theory elsewhere."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from refusals import refused
from zerosum import Game, data, networks, objectives, penalties, theory
from zerosum.data import Source
from zerosum.objectives import Objective
from zerosum.optimizers import extragradient, lookahead_minmax, sgd
from zerosum.randomness import stream
from zerosum.theory import NormalPrior, pushforward
from zerosum.watch import instruments
from zerosum.watch.instrument import Examples, Instrument, Reading, Scale, cost, read

LOG2, LOG4 = math.log(2), math.log(4)

# every instrument that the module offers, from what a test has at hand
Make = Callable[[Game, Source, Tensor, data.GaussianMixture], Instrument]
FAMILY: dict[str, Make] = {
    "losses": lambda game, source, held, density: instruments.losses(game, every=1),
    "scores": lambda game, source, held, density: instruments.scores(game, every=1),
    "value": lambda game, source, held, density: instruments.value(game, every=1),
    "accuracy": lambda game, source, held, density: instruments.accuracy(game, every=1),
    "divergence_bound": lambda game, source, held, density: instruments.divergence_bound(game, held, every=1),
    "overfitting": lambda game, source, held, density: instruments.overfitting(game, source, held, every=1),
    "referee": lambda game, source, held, density: instruments.referee(held, n=128, every=2),
    "saturation": lambda game, source, held, density: instruments.saturation(game, source, n=32, every=1),
    "gradients": lambda game, source, held, density: instruments.gradients(source, n=32, every=1),
    "motion": lambda game, source, held, density: instruments.motion(game, every=1),
    "eigenvalues": lambda game, source, held, density: instruments.eigenvalues(game, held, n=16, every=1),
    "duality_gap": lambda game, source, held, density: instruments.duality_gap(
        game, source, held, steps=3, every=1
    ),
    "modes": lambda game, source, held, density: instruments.modes(density, n=64, every=1),
    "diversity": lambda game, source, held, density: instruments.diversity(held, n=64, every=1),
    "output_range": lambda game, source, held, density: instruments.output_range(held, every=1),
    "sample_distance": lambda game, source, held, density: instruments.sample_distance(held, n=64, every=1),
}
family = pytest.mark.parametrize("name", FAMILY)


def test_the_family_is_complete() -> None:
    made = {
        name
        for name in instruments.__all__
        if inspect.isfunction(f := getattr(instruments, name))
        and inspect.signature(f).return_annotation == "Instrument"
    }
    assert made == set(FAMILY)


def values(readings: list[Reading]) -> dict[str, Reading]:
    return {r.name: r for r in readings}


def state(game: Game) -> bytes:
    """All that may not change: the bytes of all tensors, flags, gradients, memories, torch's generator."""

    def flat(x: Any) -> Any:
        if isinstance(x, Tensor):
            return x.dtype, tuple(x.shape), x.detach().numpy().tobytes()
        if isinstance(x, dict):
            return [(k, flat(v)) for k, v in x.items()]
        return [flat(v) for v in x] if isinstance(x, list | tuple) else x

    networks = (game.G.network, game.D.network, *([game.G.average] if game.G.average is not None else []))
    flags = [[m.training for m in n.modules()] for n in networks]
    needs = [[(p.requires_grad, p.grad is None) for p in n.parameters()] for n in networks]
    return repr((flat(game.state_dict()), flags, needs, flat(torch.get_rng_state()))).encode()


# Looking changes nothing ------------------------------------------------------------------------------------

RING = data.ring(4, std=0.1)
HELD = RING.sample(128, stream(1, "held"))


def delicate(**settings: Any) -> Game:
    """Dropout, batch norm and spectral norm in the players; penalties that draw, that remember and that are
    lazy; a running average."""
    torch.manual_seed(0)
    G = networks.mlp((3,), (2,), width=8, depth=2, norm=nn.BatchNorm1d, dropout=0.3)
    D = networks.mlp((2,), (), width=8, depth=2, norm=nn.BatchNorm1d, dropout=0.3, spectral=True)
    some = [penalties.r1(0.1, every=2), penalties.lecam(), penalties.dragan(1.0), penalties.wgan_gp(1.0)]
    settings = {"latent": 3, "batch": 16, "lr": (1e-3, 1e-3), "k": 2} | settings
    return Game(G, D, objectives.nonsaturating(), some, **settings)


def watched(
    make: Callable[[], Game], watch: Callable[[Game], list[Instrument]]
) -> tuple[bytes, list[Reading]]:
    game, seen = make(), list[Reading]()
    chosen = watch(game)
    torch.manual_seed(7)
    for turn in game.play(RING, steps=4):
        before = state(game)
        seen += read(chosen, game, turn)
        assert state(game) == before
    return state(game), seen


@family
def test_looking_changes_nothing(name: str) -> None:
    alone, _ = watched(delicate, lambda game: [])
    seen, readings = watched(delicate, lambda game: [FAMILY[name](game, RING, HELD, RING)])
    assert seen == alone
    assert readings


@pytest.mark.parametrize(
    "optimizer", [extragradient(sgd(0.01)), lookahead_minmax(sgd(0.01), every=2)], ids=["extra", "lookahead"]
)
def test_looking_changes_no_optimizer_that_remembers(optimizer: Any) -> None:
    def make() -> Game:
        return delicate(optimizers=(optimizer, optimizer), simultaneous=True, k=1)

    alone, _ = watched(make, lambda game: [])
    seen, _ = watched(make, lambda game: [f(game, RING, HELD, RING) for f in FAMILY.values()])
    assert seen == alone


@family
def test_what_is_read_depends_on_the_game_only(name: str) -> None:
    """Not on torch's generator, on a surrounding no_grad, or on who else looks."""

    def readings(others: bool, seed: int, grad: bool) -> list[Reading]:
        game = delicate()
        mine = FAMILY[name](game, RING, HELD, RING)
        watch = [*([FAMILY["gradients"](game, RING, HELD, RING)] if others else []), mine]
        torch.manual_seed(seed)
        turns = game.play(RING, steps=3)
        seen = []
        for _ in range(3):
            turn = next(turns)
            with torch.set_grad_enabled(grad):
                seen += read(watch, game, turn)
        return [r for r in seen if r.name in mine.gives]

    first, second = readings(False, 0, True), readings(name != "gradients", 1, False)
    assert repr(first) == repr(second)  # nan equals nan


@family
def test_readings_in_parts_are_those_of_the_whole(name: str) -> None:
    """As a turn's gradients are, of networks and penalties that neither draw nor compare examples."""

    def readings(accumulate: int) -> list[Reading]:
        torch.manual_seed(0)
        G = networks.mlp((3,), (2,), width=8, depth=1).double()
        D = networks.mlp((2,), (), width=8, depth=1).double()
        some = [penalties.r1(0.1, every=2), penalties.r2(0.3)]
        game = Game(G, D, objectives.nonsaturating(), some, latent=3, batch=32, accumulate=accumulate)
        instrument = FAMILY[name](game, RING, HELD, RING)
        return [r for turn in game.play(RING, steps=4) for r in read([instrument], game, turn)]

    for whole, parts in zip(readings(1), readings(8), strict=True):
        assert (whole.name, whole.step) == (parts.name, parts.step)
        assert parts.value == pytest.approx(whole.value, rel=1e-6, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("name", ["saturation", "gradients", "overfitting", "divergence_bound", "diversity"])
def test_conditional_games_are_asked_for_the_labels_of_the_data(name: str) -> None:
    """Each label as often as the data have it, and never another one than its example's."""
    shares = torch.tensor([0] * 6 + [2] * 2)
    source = data.Vectors(torch.randn(80, 2, generator=stream("x")), shares.repeat(10))
    asked: list[Tensor] = []

    class Asked(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            asked.append(y)
            return self.network(x)

    torch.manual_seed(0)
    G, D = Asked(networks.mlp((3,), (2,), width=8, depth=1)), Asked(networks.mlp((2,), (), width=8, depth=1))
    game = Game(G, D, objectives.nonsaturating(), latent=3, batch=16, classes=3)
    held = Examples(*source.batch(3, 64))
    watch = {
        "saturation": lambda: instruments.saturation(game, source, n=64, every=1),
        "gradients": lambda: instruments.gradients(source, n=64, every=1),
        "overfitting": lambda: instruments.overfitting(game, source, held, every=1),
        "divergence_bound": lambda: instruments.divergence_bound(game, held, every=1),
        "diversity": lambda: instruments.diversity(held, n=64, every=1),
    }[name]()
    turn = next(game.play(source, steps=1))
    asked.clear()
    assert watch(game, turn)
    labels = torch.cat(asked)
    assert set(labels.tolist()) == {0, 2} and 0.1 < float((labels == 2).double().mean()) < 0.4


@family
def test_readings_are_those_declared(name: str) -> None:
    game = delicate()
    instrument = FAMILY[name](game, RING, HELD, RING)
    assert instrument.source and all(scale.unit for scale in instrument.gives.values())
    seen = [r for turn in game.play(RING, steps=3) for r in read([instrument], game, turn)]
    assert {r.name for r in seen} == set(instrument.gives)
    for r in seen:
        assert (r.unit, r.reference) == (instrument.gives[r.name].unit, instrument.gives[r.name].equilibrium)
        assert r.low is None or math.isnan(r.value) or r.low <= r.high  # type: ignore[operator]


@family
def test_a_broken_game_reads_nan_and_raises_nothing(name: str) -> None:
    game = delicate()
    instrument = FAMILY[name](game, RING, HELD, RING)
    for player in (game.G, game.D):
        for p in player.parameters:
            p.data.fill_(math.nan)
    seen = [r for turn in game.play(RING, steps=3) for r in read([instrument], game, turn)]
    assert seen and all(math.isnan(r.value) for r in seen)


# Clocks -----------------------------------------------------------------------------------------------------


def test_clocks() -> None:
    game, seen = delicate(), list[int]()

    def function(game: Game, turn: Any) -> dict[str, float]:
        seen.append(turn.step)
        return {"a": 1.0}

    third = Instrument("mine", function, 4, {"a": Scale("1")}, "me", turns=2)
    read_at = [r.step for turn in game.play(RING, steps=9) for r in read([third], game, turn)]
    assert read_at == [1, 4, 8]
    assert [step + 1 for step in seen] == [1, 3, 4, 7, 8]
    with pytest.raises(ValueError):
        Instrument("mine", function, 0, {}, "me")


def test_motion_needs_no_more_than_its_three_turns() -> None:
    often, seldom = (_motion(delicate(), every) for every in (1, 4))
    assert [r for r in often if r.step in (4, 8)] == seldom
    assert {r.step for r in seldom} == {4, 8}


def _motion(game: Game, every: int) -> list[Reading]:
    watch = [instruments.motion(game, every)]
    return [r for turn in game.play(RING, steps=9) for r in read(watch, game, turn)]


def test_cost_plays_a_copy_and_divides_by_the_clock() -> None:
    """With a clock that ticks once when it is asked, a cycle of turns and a look take the same time."""
    game, ticks = delicate(), count()
    watch = instruments.standard(game, RING)
    before = state(game)
    shares = cost(watch, game, RING, rounds=3, clock=lambda: float(next(ticks)))
    assert state(game) == before
    looking = {i.name: i.turns / i.every for i in watch}
    whole = 1 / game.cycle + sum(looking.values())
    assert shares == {name: pytest.approx(seconds / whole) for name, seconds in looking.items()}


def test_cost_counts_a_lazy_penalty_in_the_mean_of_its_cycle() -> None:
    """Where nothing takes time but a penalty at every fourth turn, a turn takes a quarter of its time."""
    spent = [0]

    def slow(critic: Any, real: Tensor, fake: Tensor) -> Tensor:
        spent[0] += 1
        return real.new_zeros(len(real))

    def look(game: Game, turn: Any) -> dict[str, float]:
        spent[0] += 1
        return {}

    lazy = [penalties.Penalty(slow, 1.0, every=4)]
    G, D = networks.mlp((3,), (2,), width=8, depth=1), networks.mlp((2,), (), width=8, depth=1)
    game = Game(G, D, objectives.nonsaturating(), lazy, latent=3, batch=16)
    watch = [Instrument("looks", look, 10, {}, "counted")]
    assert cost(watch, game, RING, rounds=3, clock=lambda: float(spent[0])) == {
        "looks": (1 / 10) / (1 / 4 + 1 / 10)
    }


# The sets ---------------------------------------------------------------------------------------------------

OBJECTIVES = {
    name: getattr(objectives, name)
    for name in objectives.__all__
    if name not in ("Objective", "f_divergence")
}
OBJECTIVES |= {f"f_{name}": lambda name=name: objectives.f_divergence(name) for name in objectives._F}
OBJECTIVES["smoothed"] = lambda: objectives.nonsaturating(label_smoothing=0.1)


def plain(objective: Objective, **settings: Any) -> Game:
    torch.manual_seed(0)
    G, D = networks.mlp((3,), (2,), width=8, depth=1), networks.mlp((2,), (), width=8, depth=1)
    return Game(G, D, objective, **{"latent": 3, "batch": 16, **settings})


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_standard_set_suits_every_objective(name: str) -> None:
    game = plain(OBJECTIVES[name]())
    watch = instruments.standard(game, RING)
    turn = next(game.play(RING, steps=1))
    names = {r.name for r in read(watch, game, turn)}
    assert ("value" in names) == (game.objective.probability is torch.sigmoid)
    assert ("divergence_bound" in names) == (game.objective.divergence is not None)


def test_a_finite_source_without_held_out_data_has_no_held_out_readings() -> None:
    source, game = data.Vectors(RING.sample(50)), plain(objectives.nonsaturating())
    without = {i.name for i in instruments.standard(game, source)}
    held = {i.name for i in instruments.standard(game, source, HELD)}
    assert held - without == {"overfitting", "divergence_bound"}
    assert {i.name for i in instruments.thorough(game, source)} == {"eigenvalues"}
    assert {i.name for i in instruments.thorough(game, source, HELD)} == {
        "eigenvalues",
        "referee",
        "duality_gap",
    }
    turn = next(game.play(source, steps=1))
    assert read(instruments.standard(game, source, HELD), game, turn)


@pytest.mark.parametrize(
    ("make", "objective", "complaint"),
    [
        (instruments.value, objectives.hinge(), "V"),
        (lambda game: instruments.saturation(game, RING), objectives.wasserstein(), "saturation"),
        (lambda game: instruments.divergence_bound(game, HELD), objectives.wasserstein(), "divergence"),
        (lambda game: instruments.duality_gap(game, RING, HELD), objectives.wasserstein(), "divergence"),
    ],
)
def test_readings_without_a_meaning_are_refused(make: Any, objective: Objective, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make(plain(objective))


# At the equilibrium -----------------------------------------------------------------------------------------

NORMAL = data.gaussian(2)
FRESH = NORMAL.sample(4096, stream(2, "held"))


class Line(nn.Module):
    """D(x) = a(x) = w x + b, and G(z) = W z + c, with weights that are given."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


def resting(objective: Objective, logit: float = 0.0, shift: float = 0.0) -> Game:
    """G is the identity (moved by `shift`), D says `logit` everywhere; nobody moves."""
    G, D = Line(torch.eye(2), torch.full((2,), shift)), Line(torch.zeros(2), torch.tensor(logit))
    return Game(G, D, objective, latent=2, batch=512, lr=(0.0, 0.0))


def look(game: Game, source: Source, *watch: Instrument, steps: int = 1) -> dict[str, Reading]:
    return values([r for turn in game.play(source, steps) for i in watch for r in i(game, turn)])


def undecided(objective: Objective) -> float:
    """argmin_a d(a, a) on a grid."""
    a = torch.linspace(-5, 5, 100_001, dtype=torch.float64)
    return float(a[objective.d(a, a).argmin()])


@pytest.mark.parametrize("name", OBJECTIVES)
def test_at_the_equilibrium_every_reading_is_its_reference(name: str) -> None:
    """What is sampled, within three of its intervals; the rest, exactly.

    Nobody moves, and a D that is flat everywhere has no gradients to compare.
    """
    objective = OBJECTIVES[name]()
    rest = round(undecided(objective), 6) + 0.0 if objective.probability is not None else 0.0
    game = resting(objective, logit=rest)
    watch = [i for i in instruments.standard(game, NORMAL) if i.name not in ("motion", "saturation")]
    seen = look(game, NORMAL, *watch)
    for r in seen.values():
        if r.reference is None or r.name.endswith(("_gradient", "_gradient_share")):
            continue
        if r.name == "overfit_sign" and rest:
            continue  # the sign of a rounding error
        assert abs(r.value - r.reference) <= margin(r) + 1e-3, r


def margin(r: Reading) -> float:
    """Half of the interval, three times over; or some four standard errors of what has none."""
    sampled = {"output_low": 0.3, "output_high": 0.3, "spread": 0.15, "output_outside": 0.01}
    if r.low is None or r.high is None:
        return sampled.get(r.name, 0.0)
    return 1.5 * (r.high - r.low)


def test_the_equilibrium_of_2014() -> None:
    game = resting(objectives.nonsaturating())
    held = FRESH
    seen = look(
        game,
        NORMAL,
        instruments.value(game),
        instruments.scores(game),
        instruments.accuracy(game),
        instruments.losses(game),
        instruments.divergence_bound(game, held),
        instruments.overfitting(game, NORMAL, held),
        instruments.referee(held, n=1000),
        instruments.duality_gap(game, NORMAL, held, steps=50),
        instruments.saturation(game, NORMAL),
    )
    assert seen["value"].value == pytest.approx(-LOG4, abs=1e-9)
    assert seen["value_distance"].value == pytest.approx(0, abs=1e-9)
    assert seen["d_loss"].value == pytest.approx(LOG4, abs=1e-6)
    assert seen["g_loss"].value == pytest.approx(LOG2, abs=1e-6)
    assert seen["d_real"].value == seen["d_fake_q95"].value == 0.5
    assert seen["accuracy"].value == seen["accuracy_held"].value == 0.5
    assert seen["divergence_bound"].value == pytest.approx(0, abs=1e-9)
    assert seen["overfit_sign"].value == seen["overfit_ratio"].value == 0
    assert seen["referee"].low == 0 and seen["referee"].value < 0.02
    assert 0 <= seen["duality_gap"].value < 0.02
    assert abs(seen["worst_case"].value) < 0.01 and abs(seen["best_response"].value) < 0.01
    assert (
        seen["g_slope_minimax"].value == seen["g_slope_nonsaturating"].value == pytest.approx(0.5, abs=1e-6)
    )


def test_disjoint_densities() -> None:
    """Data at the origin, fakes 20 away, and a D that knows."""
    G, D = Line(torch.eye(2), torch.full((2,), 20.0)), Line(torch.full((2,), -1.0), torch.tensor(20.0))
    game = Game(G, D, objectives.nonsaturating(), latent=2, batch=512, lr=(0.0, 0.0))
    seen = look(
        game,
        NORMAL,
        instruments.accuracy(game),
        instruments.divergence_bound(game, FRESH),
        instruments.overfitting(game, NORMAL, FRESH),
        instruments.referee(FRESH, n=1000),
        instruments.value(game),
        instruments.diversity(FRESH),
        instruments.modes(NORMAL),
        instruments.output_range(FRESH),
    )
    assert seen["accuracy"].value == seen["accuracy_held"].value == 1
    assert seen["divergence_bound"].value == pytest.approx(LOG2, abs=1e-6)
    assert seen["referee"].value == pytest.approx(LOG2, abs=0.01)
    assert seen["referee"].high <= LOG2 + 1e-12  # type: ignore[operator]
    assert seen["value"].value == pytest.approx(0, abs=1e-6)
    assert seen["overfit_sign"].value == 1
    assert abs(seen["overfit_ratio"].value) < 0.05
    assert seen["coverage"].value == seen["high_quality"].value == seen["modes_covered"].value == 0
    assert seen["output_outside"].value == 1
    assert seen["spread"].value == pytest.approx(1, abs=0.1)


# Against exact answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("logit", [-6.0, -1.0, 0.0, 2.0])
def test_saturation_is_the_odds_where_all_logits_are_equal(logit: float) -> None:
    """G puts all z on one point, c; D = w x + b with w c + b = logit, so that its slope in c is not zero."""
    G = Line(torch.zeros(2, 2, dtype=torch.float64), torch.ones(2, dtype=torch.float64))
    D = Line(torch.ones(2, dtype=torch.float64), torch.tensor(logit - 2, dtype=torch.float64))
    game = Game(G, D, objectives.minimax(), latent=2, batch=8, lr=(0.0, 0.0))
    seen = look(game, NORMAL, instruments.saturation(game, NORMAL))
    d = 1 / (1 + math.exp(-logit))
    assert seen["saturation"].value == pytest.approx((1 - d) / d, rel=1e-9)
    assert seen["g_slope"].value == seen["g_slope_minimax"].value == pytest.approx(d, rel=1e-9)
    assert seen["g_slope_nonsaturating"].value == pytest.approx(1 - d, rel=1e-9)


class Origin:
    """All data at 0."""

    shape, classes = (1,), 0

    def batch(self, step: int, n: int) -> tuple[Tensor, None]:
        return torch.zeros(n, 1, dtype=torch.float64), None


class Point(nn.Module):
    """G(z) = theta, whatever z is."""

    def __init__(self, theta: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([theta], dtype=torch.float64))

    def forward(self, z: Tensor) -> Tensor:
        return self.theta.expand(len(z), 1)


class Slope(nn.Module):
    """a(x) = psi x."""

    def __init__(self, psi: float) -> None:
        super().__init__()
        self.psi = nn.Parameter(torch.tensor([psi], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.psi


def dirac(
    objective: Objective, theta: float, psi: float, lr: float = 0.0, *some: Any, **settings: Any
) -> Game:
    optimizer = settings.pop("optimizer", sgd(lr))
    return Game(
        Point(theta),
        Slope(psi),
        objective,
        some,
        latent=1,
        batch=4,
        optimizers=(optimizer, optimizer),
        simultaneous=True,
        **settings,
    )


@pytest.mark.parametrize("h", [0.01, 0.3, 1.0])
def test_rotation_on_a_bilinear_game(h: float) -> None:
    """v = J theta with J a quarter turn: one move is (I + h J) times the last, at an angle atan h to it."""
    game = dirac(objectives.wasserstein(), 1.0, 1.0, h)
    watch = [instruments.motion(game, every=1)]
    seen = [r for turn in game.play(Origin(), 5) for r in read(watch, game, turn) if r.name == "rotation"]
    assert [r.step for r in seen] == [3, 4, 5]
    assert [r.value for r in seen] == pytest.approx([math.cos(math.atan(h))] * 3, rel=1e-9)


def test_rotation_of_extragradient_is_that_of_its_updates() -> None:
    """M = I + h J + h^2 J^2 = (1 - h^2) I + h J turns each update by atan2(h, 1 - h^2)."""
    h = 0.5
    game = dirac(objectives.wasserstein(), 1.0, 1.0, optimizer=extragradient(sgd(h)))
    watch = [instruments.motion(game, every=2)]
    seen = [r for turn in game.play(Origin(), 13) for r in read(watch, game, turn) if r.name == "rotation"]
    assert [r.step for r in seen] == [6, 8, 10, 12]
    assert [r.value for r in seen] == pytest.approx([math.cos(math.atan2(h, 1 - h * h))] * 4, rel=1e-9)


def test_updates_and_gradients_of_plain_descent() -> None:
    """On Dirac-GAN |theta_t - theta_{t-1}| = lr |gradient|, and both are known: (-psi, theta)."""
    theta, psi, h = 2.0, 0.5, 0.1
    game = dirac(objectives.wasserstein(), theta, psi, h)
    path = theory.trajectory(
        theory.dirac_wasserstein, torch.tensor([theta, -psi], dtype=torch.float64), h, steps=3
    )
    watch = [instruments.motion(game, every=1), instruments.gradients(Origin(), every=1)]
    (*_, last) = ([r for i in watch for r in i(game, turn)] for turn in game.play(Origin(), 3))
    seen = values(last)
    move = (path[3] - path[2]).abs().tolist()
    where = path[3].abs().tolist()
    assert [seen[f"{w}_update"].value for w in "gd"] == pytest.approx(move, rel=1e-9)
    assert [seen[f"{w}_update_share"].value for w in "gd"] == pytest.approx(
        [m / w for m, w in zip(move, where, strict=True)], rel=1e-9
    )
    assert [seen[f"{w}_gradient"].value for w in "gd"] == pytest.approx(where[::-1], rel=1e-9)


@pytest.mark.parametrize(
    ("objective", "field"),
    [
        (objectives.minimax(), theory.dirac_minimax),
        (objectives.nonsaturating(), theory.dirac_nonsaturating),
        (objectives.wasserstein(), theory.dirac_wasserstein),
    ],
    ids=["minimax", "nonsaturating", "wasserstein"],
)
@pytest.mark.parametrize("gamma", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("at", [(0.0, 0.0), (0.7, -0.4)])
def test_eigenvalues_of_dirac_gan(
    objective: Objective, field: theory.Field, gamma: float, at: tuple[float, float]
) -> None:
    theta, psi = at
    some = [penalties.r1(gamma, every=3)] if gamma else []
    game = dirac(objective, theta, psi, 0.0, *some)
    seen = look(game, Origin(), instruments.eigenvalues(game, torch.zeros(1, 1)))
    point = torch.tensor([theta, -psi], dtype=torch.float64)  # theory's D is high on fakes
    exact = theory.eigenvalues(theory.gradient_penalty(field, gamma), point)
    top = exact.real.max()
    assert seen["eigenvalue_real"].value == pytest.approx(float(top), abs=1e-9)
    assert seen["eigenvalue_imaginary"].value == pytest.approx(
        float(exact.imag[exact.real > top - 1e-6].max()), abs=1e-9
    )
    assert seen["eigenvalue_largest"].value == pytest.approx(float(exact.abs().max()), abs=1e-9)


@pytest.mark.parametrize("n", [1, 2, 5, 6, 10])
def test_however_few_examples_there_are_a_game_is_watched(n: int) -> None:
    source = data.source(HELD[:n])
    G, D = networks.mlp((3,), (2,), width=8, depth=1), networks.mlp((2,), (), width=8, depth=1)
    game = Game(G, D, objectives.nonsaturating(), latent=3, batch=4)
    names = {instrument.name for instrument in instruments.standard(game, source)}
    assert ("diversity" in names) == (n > 5) and "output_range" in names


def test_what_cannot_be_read_is_refused_at_once() -> None:
    G, D = networks.mlp((3,), (2,), width=64, depth=2), networks.mlp((2,), (), width=64, depth=2)
    game = Game(G, D, objectives.nonsaturating(), latent=3, batch=8)
    with refused("2000"):
        instruments.eigenvalues(game, HELD)
    with refused("100", "99"):
        instruments.referee(HELD[:99])
    with refused("5"):
        instruments.diversity(HELD[:5])


def test_what_d_says_of_held_out_data_is_a_function_of_one_x() -> None:
    """Of D in evaluation mode, with batch norm and dropout: (log 4 - L_D)/2 by hand, all of G on one c."""
    D, c = delicate().D.network, torch.tensor([0.5, -0.5])
    game = Game(Line(torch.zeros(2, 2), c.clone()), D, objectives.nonsaturating(), latent=2, lr=(0.0, 1e-2))
    *_, turn = game.play(RING, steps=20)
    (bound,) = instruments.divergence_bound(game, HELD)(game, turn)
    assert D.training
    with torch.no_grad():
        d = torch.sigmoid(D.eval()(torch.cat([HELD, c[None]])).double())
    by_hand = (LOG4 + float(d[:-1].log().mean() + (1 - d[-1]).log())) / 2
    assert bound.value == pytest.approx(by_hand, rel=1e-5)


LINES = {
    "two": data.mixture([-1.5, 1.5], std=0.5),
    "three": data.mixture([-2.0, 0.0, 1.0], std=0.3, weights=[1, 2, 1]),
}


@pytest.mark.parametrize("name", LINES)
def test_the_playing_d_never_proves_more_than_the_exact_jsd(name: str) -> None:
    roughly = partial(theory.quadrature, tolerance=1e-3)
    density, held = LINES[name], LINES[name].sample(4096, stream(3, "held"))
    torch.manual_seed(0)
    G = networks.mlp((1,), (1,), width=32, depth=2, activation=nn.LeakyReLU)
    D = networks.mlp((1,), (), width=32, depth=2, activation=nn.SiLU)
    game = Game(G, D, objectives.nonsaturating(), latent=1, batch=128, lr=(2e-4, 5e-3), k=2)
    bound = instruments.divergence_bound(game, held, n=4096, every=100)
    share = []
    for turn in game.play(density, steps=301):
        for r in read([bound], game, turn):
            exact = theory.jsd(density, pushforward(game.G.network, NormalPrior(1)), by=roughly)
            assert r.low is not None and r.low <= exact.value + exact.error
            share.append(r.value / exact.value)
    assert len(share) == 4
    assert max(share) > 0.5  # and it proves something


def gap_of(scale: float, shift: float) -> tuple[Reading, Reading, float]:
    """The gap and its worst case where D = 1/2 everywhere and p_g = N(shift, scale^2); the exact JSD."""
    law = data.gaussian(1)
    torch.manual_seed(0)
    D = networks.mlp((1,), (), width=32, depth=2, activation=nn.SiLU)
    *_, last = (m for m in D.modules() if isinstance(m, nn.Linear))
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    game = Game(
        Line(torch.full((1, 1), scale), torch.full((1,), shift)),
        D,
        objectives.nonsaturating(),
        latent=1,
        lr=(0.0, 0.0),
    )
    held = law.sample(4096, stream(6, "held"))
    seen = look(game, law, instruments.duality_gap(game, law, held, steps=150, lr=5e-3, n=4096))
    exact = theory.jsd(law, data.mixture([shift], std=scale))
    return seen["duality_gap"], seen["worst_case"], exact.value


def test_the_gap_of_an_undecided_d_is_the_jsd() -> None:
    """G cannot gain against D = 1/2, so that DG = max_D' M + log 2: at the equilibrium, with a generator that
    has contracted, and with one that has gone away."""
    gaps = [gap_of(*regime) for regime in ((1.0, 0.0), (0.2, 0.0), (1.0, 4.0))]
    for gap, worst, exact in gaps:
        assert gap.value == pytest.approx(max(worst.value, 0.0), abs=1e-9)
        assert gap.low is not None and gap.low <= exact + 1e-6
        assert gap.value >= max(0.0, 0.9 * exact - 0.01)
    assert gaps[0][0].high < gaps[1][0].low < gaps[1][0].high < gaps[2][0].low  # type: ignore[operator]


def test_the_gap_counts_what_g_could_gain() -> None:
    """D is right and so sure that no descent moves G's point at -9; the data would do better against it."""
    G, D = (
        Line(torch.full((1, 1), 0.1), torch.full((1,), -9.0)),
        Line(torch.tensor([9.0]), torch.tensor(40.0)),
    )
    law = data.gaussian(1)
    game = Game(G, D, objectives.minimax(), latent=1, lr=(0.0, 0.0))
    seen = look(game, law, instruments.duality_gap(game, law, law.sample(1024, stream(8)), steps=5, lr=1e-4))
    assert seen["worst_case"].value == pytest.approx(LOG2, abs=1e-3)
    assert seen["best_response"].value < 0
    assert seen["duality_gap"].value == pytest.approx(
        seen["worst_case"].value - seen["best_response"].value, abs=1e-9
    )


@pytest.mark.parametrize("name", [name for name, make in OBJECTIVES.items() if make().divergence is not None])
def test_the_gap_is_never_negative(name: str) -> None:
    """Of a random G and D, and of the same after some turns."""
    game = plain(OBJECTIVES[name](), lr=(5e-3, 5e-3))
    watch = [instruments.duality_gap(game, RING, HELD, steps=20, every=5)]
    seen = [
        r for turn in game.play(RING, steps=11) for r in read(watch, game, turn) if r.name == "duality_gap"
    ]
    assert len(seen) == 2
    assert all(0 <= r.low <= r.value <= r.high for r in seen)  # type: ignore[operator]


@pytest.mark.parametrize("shift", [0.0, 0.5, 2.0])
def test_the_gap_at_the_best_d_is_above_the_jsd(shift: float) -> None:
    """p = N(0, 1), p_g = N(s, 1), and D = D*, whose logit is s^2/2 - s x: no D' gains, the data as G' do."""
    law, best = data.gaussian(1), Line(torch.tensor([-shift]), torch.tensor(shift**2 / 2))
    G = Line(torch.eye(1), torch.full((1,), shift))
    game = Game(G, best, objectives.minimax(), latent=1, lr=(0.0, 0.0))
    held = law.sample(8192, stream(9, "held"))
    seen = look(game, law, instruments.duality_gap(game, law, held, steps=50, n=8192))
    exact = theory.jsd(law, data.gaussian(1, mean=shift)).value
    data_answer = theory.value(best, law, law).value / 2 + LOG2
    worst, gap = seen["worst_case"], seen["duality_gap"]
    assert worst.low <= exact and worst.value == pytest.approx(exact, abs=0.03)  # type: ignore[operator]
    assert gap.high >= exact - data_answer >= exact  # type: ignore[operator]


def test_g_answers_with_what_the_data_have() -> None:
    """D = sigmoid(x) is ever surer to the right, but the best answer is the rightmost example."""
    law, held = data.gaussian(1), data.gaussian(1).sample(4096, stream(10, "held"))
    G, D = Line(torch.eye(1), torch.zeros(1)), Line(torch.ones(1), torch.zeros(()))
    game = Game(G, D, objectives.minimax(), latent=1, lr=(0.0, 0.0))
    seen = look(game, law, instruments.duality_gap(game, law, held, steps=5))
    softplus, x = torch.nn.functional.softplus, held.double()
    least = LOG2 - float(softplus(-x).mean() + softplus(x.max())) / 2
    most = LOG2 - float(softplus(-x).mean() + softplus(x.quantile(0.99))) / 2
    assert least - 0.03 <= seen["best_response"].value <= most + 0.03


class Some(nn.Module):
    """The first `count` of the ring's modes, equally often."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.modes = nn.Parameter(RING.modes[:count].clone())

    def forward(self, z: Tensor) -> Tensor:
        share = torch.special.ndtr(z[:, 2]) * len(self.modes)
        return self.modes[share.long().clamp_max(len(self.modes) - 1)] + RING.std * z[:, :2]


def test_the_gap_grows_as_modes_are_lost() -> None:
    """With the share r of equal, distant modes, JSD = (log 2/(1+r) + (1-r) log 2 + r log 2r/(1+r)) / 2."""
    gaps = []
    for kept in (4, 3, 1):
        torch.manual_seed(0)
        D = networks.mlp((2,), (), width=32, depth=2)
        *_, last = (m for m in D.modules() if isinstance(m, nn.Linear))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        game = Game(Some(kept), D, objectives.nonsaturating(), latent=3, lr=(0.0, 0.0))
        held = RING.sample(4096, stream(11, "held"))
        gaps.append(look(game, RING, instruments.duality_gap(game, RING, held, steps=150))["duality_gap"])
        r = kept / 4
        exact = (math.log(2 / (1 + r)) + (1 - r) * LOG2 + r * math.log(2 * r / (1 + r))) / 2
        assert gaps[-1].value == pytest.approx(exact, abs=0.03)
    assert gaps[0].high < gaps[1].low < gaps[1].high < gaps[2].low  # type: ignore[operator]


def test_overfitting_shows_on_data_that_d_knows_by_heart() -> None:
    """16 points in 30 dimensions: D learns them, and is at a loss about new ones."""
    torch.manual_seed(0)
    law = data.gaussian(30)
    few, held = data.Vectors(law.sample(16, stream(4))), law.sample(512, stream(5))
    G, D = networks.mlp((4,), (30,), width=32, depth=1), networks.mlp((30,), (), width=64, depth=2)
    game = Game(G, D, objectives.nonsaturating(), latent=4, batch=16, lr=(1e-5, 2e-3))
    watch = [instruments.overfitting(game, few, held, every=300), instruments.divergence_bound(game, held)]
    seen = values([r for turn in game.play(few, 301) for r in read(watch, game, turn)])
    assert seen["overfit_sign"].value > 0.9
    assert seen["overfit_ratio"].low > 0.2  # type: ignore[operator]
    assert seen["accuracy_train"].value > seen["accuracy_held"].high  # type: ignore[operator]


def test_collapse_is_seen() -> None:
    """All samples near one of four modes: one mode, log 4 of reverse KL, duplicates, little spread."""
    G = Line(0.001 * torch.eye(2), RING.modes[0].clone())
    game = Game(G, Line(torch.zeros(2), torch.zeros(())), objectives.nonsaturating(), latent=2, lr=(0.0, 0.0))
    seen = look(game, RING, instruments.modes(RING), instruments.diversity(RING.sample(512)))
    assert seen["modes_covered"].value == 1
    assert seen["reverse_kl"].value == pytest.approx(LOG4)
    assert seen["duplicates"].value > 0.9
    assert seen["spread"].value < 0.01
    assert seen["coverage"].value < 0.3
