"""N games played as one: each is where it would have come alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from refusals import refused
from zerosum import Game, data, networks, objectives, optimizers, penalties
from zerosum import recipe as recipes
from zerosum.game import Ensemble, mixture
from zerosum.schedules import ramp

Make = Callable[[int], Game]
OBJECTIVES = {
    "minimax": objectives.minimax(),
    "nonsaturating": objectives.nonsaturating(label_smoothing=0.1),
    "hinge": objectives.hinge(),
    "least_squares": objectives.least_squares(),
    "wasserstein": objectives.wasserstein(),
    "relativistic_pairing": objectives.relativistic_pairing(),
    "relativistic_average": objectives.relativistic_average(),
}
PENALTIES = [penalties.r1, penalties.r2, penalties.wgan_gp, penalties.zero_centred_gp]
OPTIMIZERS = {
    "adam": optimizers.adam(1e-2),
    "sgd": optimizers.sgd(1e-2, momentum=0.9),
    "optimistic": optimizers.optimistic(optimizers.adam(1e-2)),
    "lookahead": optimizers.lookahead_minmax(optimizers.adam(1e-2), every=2),
    "clipped": optimizers.clipped(optimizers.adam(1e-2), 0.3),
    "scheduled": optimizers.scheduled(optimizers.adam(1e-2), lr=ramp(1e-2, 1e-3, steps=4)),
}


def game(
    seed: int, objective: Any = None, norm: Any = None, dtype: torch.dtype = torch.float64, **kw: Any
) -> Game:
    torch.manual_seed(seed)
    classes = kw.get("classes", 0)
    G = networks.mlp((3,), (2,), width=8, depth=2, norm=norm, classes=classes).to(dtype)
    D = networks.mlp((2,), (), width=8, depth=2, norm=norm, classes=classes).to(dtype)
    return Game(G, D, objective or objectives.nonsaturating(), latent=3, batch=8, seed=seed, **kw)


def state(one: Game) -> list[Tensor]:
    networks = (one.G.network, one.D.network, *([one.G.average] if one.G.average is not None else []))
    return [t.detach().clone() for network in networks for t in network.state_dict().values()]


def distance(one: Game, other: Game) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(state(one), state(other), strict=True))


def source_of(seed: int) -> Any:
    """Labelled points: a game without classes does not look at the labels."""
    draw = torch.Generator().manual_seed(seed)
    return data.Vectors(torch.randn(64, 2, generator=draw), torch.arange(64) % 4, seed=seed)


def differs_from_alone(make: Make, steps: int = 5, members: int = 3) -> float:
    """The largest difference of a weight, buffer or average, over all members."""
    sources = [source_of(seed) for seed in range(members)]
    alone = [make(seed) for seed in range(members)]
    for one, source in zip(alone, sources, strict=True):
        start = state(one)
        for _ in one.play(source, steps):
            pass
        assert max(float((a - b).abs().max()) for a, b in zip(start, state(one), strict=True)) > 1e-4
    joined = [make(seed) for seed in range(members)]
    for _ in Ensemble(joined).play(sources, steps):
        pass
    return max(distance(*pair) for pair in zip(alone, joined, strict=True))


@pytest.mark.parametrize("penalty", PENALTIES, ids=lambda penalty: penalty.__name__)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_with_every_penalty_plays_as_alone(name: str, penalty: Any) -> None:
    make = lambda seed: game(seed, OBJECTIVES[name], penalties=[penalty(0.3)])  # noqa: E731
    assert differs_from_alone(make, steps=3) < 1e-10


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_elementwise_optimizer_plays_as_alone(name: str) -> None:
    assert differs_from_alone(lambda seed: game(seed, optimizers=(OPTIMIZERS[name],) * 2)) < 1e-10


CASES: dict[str, dict[str, Any]] = {
    "k = 3": {"k": 3},
    "simultaneous": {"simultaneous": True},
    "extragradient": {
        "simultaneous": True,
        "optimizers": (optimizers.extragradient(OPTIMIZERS["adam"]),) * 2,
    },
    "no average": {"ema": None},
    "average that follows a schedule": {"ema": ramp(0.0, 0.9, steps=5)},
    "conditional": {"classes": 4},
    "batch norm": {"norm": nn.BatchNorm1d},
    "two penalties, one of them lazy": {"penalties": [penalties.r1(0.1), penalties.r2(0.1, every=2)]},
    "a weight that falls": {"penalties": [penalties.r1(ramp(1.0, 0.1, steps=4))]},
}


@pytest.mark.parametrize("case", CASES)
def test_every_way_to_play_is_as_alone(case: str) -> None:
    assert differs_from_alone(lambda seed: game(seed, **CASES[case])) < 1e-10


def test_priors_of_equal_arguments_play_together() -> None:
    make = lambda seed: game(seed, prior=partial(mixture, std=0.3))  # noqa: E731
    assert differs_from_alone(make) < 1e-10


def test_in_float32_a_member_stays_within_a_millionth() -> None:
    make = lambda seed: game(seed, dtype=torch.float32, penalties=[penalties.r1(0.1)], lr=(1e-3, 1e-3))  # noqa: E731
    assert differs_from_alone(make, steps=20, members=4) < 1e-6


def test_members_may_differ_in_rates_betas_and_weights_of_penalties() -> None:
    def make(seed: int) -> Game:
        adam = optimizers.adam(10.0 ** -(seed + 2), betas=(0.3 * seed, 0.9))
        weight = penalties.r1(0.2 * (seed + 1))
        return game(seed, penalties=[weight], optimizers=(adam, adam))

    assert differs_from_alone(make) < 1e-10


def test_a_turn_comes_apart_into_the_turns_of_its_games() -> None:
    make = lambda seed: game(seed, penalties=[penalties.r1(0.1)])  # noqa: E731
    alone = [next(iter(make(seed).play(source_of(seed), 1))) for seed in range(3)]
    together = Ensemble([make(seed) for seed in range(3)])
    (turn,) = together.play([source_of(seed) for seed in range(3)], 1)
    for one, other in zip(alone, together.each(turn), strict=True):
        assert one.step == other.step
        torch.testing.assert_close(
            (one.d_loss, one.g_loss, one.real_logits, one.fake_logits, one.penalties),
            (other.d_loss, other.g_loss, other.real_logits, other.fake_logits, other.penalties),
            rtol=1e-10,
            atol=1e-12,
        )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_members_saved_as_lone_games_go_on_to_the_same_bytes(name: str) -> None:
    sources = [source_of(seed) for seed in range(3)]
    make = lambda seed: game(seed, optimizers=(OPTIMIZERS[name],) * 2)  # noqa: E731
    straight = [make(seed) for seed in range(3)]
    for _ in Ensemble(straight).play(sources, 7):
        pass
    broken = [make(seed) for seed in range(3)]
    for _ in Ensemble(broken).play(sources, 4):
        pass
    resumed = [make(seed + 9) for seed in range(3)]  # whatever they were, they are what is loaded
    for seed, (one, other) in enumerate(zip(resumed, broken, strict=True)):
        one.load_state_dict(other.state_dict())
        one.seed = seed
    for _ in Ensemble(resumed).play(sources, 3):
        pass
    assert [one.step for one in resumed] == [7, 7, 7]
    assert max(distance(*pair) for pair in zip(straight, resumed, strict=True)) == 0


def test_a_lone_game_takes_up_what_a_member_left() -> None:
    members = [game(seed) for seed in range(3)]
    for _ in Ensemble(members).play([source_of(seed) for seed in range(3)], 4):
        pass
    alone, taken = game(1), game(7)
    taken.load_state_dict(members[1].state_dict())
    taken.seed = 1
    for one, steps in ((alone, 7), (taken, 3)):
        for _ in one.play(source_of(1), steps):
            pass
    assert distance(alone, taken) < 1e-10


def test_one_source_may_serve_all() -> None:
    members = [game(seed) for seed in range(2)]
    for _ in Ensemble(members).play(source_of(0), 2):
        pass
    assert distance(*members) > 1e-3


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 1)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.second(torch.tanh(self.first(x)))).flatten()


class Counting(Tied):
    """A layer that keeps a mean by putting another tensor in its place."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return super().forward(x - self.mean)


def with_D(make: Callable[[], nn.Module], seed: int, **kw: Any) -> Game:
    torch.manual_seed(seed)
    G, D = networks.mlp((3,), (2,), width=8).double(), make().double()
    return Game(G, D, objectives.nonsaturating(), latent=3, batch=8, seed=seed, lr=(1e-2, 1e-2), **kw)


PLAYERS: dict[str, Callable[[], nn.Module]] = {
    "spectral": lambda: networks.mlp((2,), (), width=8, spectral=True),
    "tied": Tied,
    "maxout": lambda: networks.maxout((2,), (), units=4, pieces=2, dropout=0.0, dropout_in=0.0),
    "packed": lambda: networks.packed((2,), (), network=partial(networks.mlp, width=8), m=2),
}


@pytest.mark.parametrize("name", PLAYERS)
def test_every_discriminator_plays_as_alone(name: str) -> None:
    assert differs_from_alone(lambda seed: with_D(PLAYERS[name], seed)) < 1e-10


def test_a_member_is_saved_without_the_others() -> None:
    members = [game(seed) for seed in range(8)]
    for _ in Ensemble(members).play(source_of(0), 1):
        pass
    moments = [
        x for _, x in recipes.leaves(members[3].state_dict()["G"]["optimizer"]) if isinstance(x, Tensor)
    ]
    assert len(moments) > 4
    assert all(x.untyped_storage().nbytes() == x.nbytes for x in moments)


def drawing(critic: Any, real: Tensor, fake: Tensor) -> Tensor:
    return critic(real + torch.empty_like(real).normal_())


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "lecam": ({"penalties": [penalties.lecam()]}, "mixes the examples"),
    "dragan": ({"penalties": [penalties.dragan()]}, "mixes the examples"),
    "accumulate": ({"accumulate": 2}, "accumulate"),
    "own draws": ({"penalties": [penalties.Penalty(drawing, 0.1)]}, "draws otherwise"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_played_together_is_refused(case: str) -> None:
    settings, said = REFUSED[case]
    with pytest.raises(ValueError, match=said):
        Ensemble([game(seed, **settings) for seed in range(2)])


def test_layers_that_replace_a_buffer_are_refused() -> None:
    with refused():
        Ensemble([with_D(Counting, seed) for seed in range(2)])


@pytest.mark.parametrize("other", [{"width": 9}, {"width": 8, "activation": nn.Tanh}])
def test_other_architectures_are_refused(other: dict[str, Any]) -> None:
    first = with_D(lambda: networks.mlp((2,), (), width=8), 0)
    with refused():
        Ensemble([first, with_D(lambda: networks.mlp((2,), (), **other), 1)])


def test_layers_that_draw_are_refused() -> None:
    def make(seed: int) -> Game:
        D = networks.mlp((2,), (), width=8, dropout=0.5)
        return Game(networks.mlp((3,), (2,)), D, objectives.hinge(), latent=3, seed=seed)

    with refused():
        Ensemble([make(0), make(1)])


@pytest.mark.parametrize(
    "change", [{"k": 2}, {"ema": 0.5}, {"penalties": [penalties.r1()]}, {"simultaneous": True}]
)
def test_games_that_differ_are_refused(change: dict[str, Any]) -> None:
    with refused():
        Ensemble([game(0), game(1, **change)])
