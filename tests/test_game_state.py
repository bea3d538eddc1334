"""What follows from a seed and a state: draws, resumed games, averages, samples; refusals."""

from __future__ import annotations

import io
import math
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from refusals import refused
from test_game import Recording, double_game, unchanged, weights
from zerosum import Game, networks, objectives, penalties
from zerosum.game import mixture, normal, uniform
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


@pytest.mark.parametrize(("prior", "kurtosis"), [(normal, 3.0), (uniform, 1.8), (mixture, 1.04)])
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


@pytest.mark.parametrize("prior", [normal, uniform, mixture])
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
    ("settings", "named"),
    [
        ({"batch": 10, "accumulate": 4}, ["accumulate=4", "batch=10"]),
        ({"k": 0}, ["k=0"]),
        ({"batch": 0}, ["batch=0"]),
        ({"penalties": [penalties.r1(), penalties.r1(0.5)]}, ["penalties", "r1"]),
    ],
)
def test_impossible_settings_are_refused_in_one_line(settings: dict[str, Any], named: list[str]) -> None:
    with refused(*named):
        noisy_game(**settings)


def test_a_player_needs_something_to_move() -> None:
    with refused():
        Game(nn.Identity(), networks.mlp((3,), ()), objectives.hinge(), latent=3)
