"""The game with labels, at another precision, and on schedules: who is asked for what, what is kept how."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor, nn

from refusals import refused
from zerosum import Game, data, networks, objectives, penalties
from zerosum import recipe as recipes
from zerosum.optimizers import sgd
from zerosum.randomness import stream
from zerosum.watch import Examples, read, standard


class Spy(nn.Module):
    """A conditional player that remembers the labels it was given, with whether weights were to be moved."""

    def __init__(self, inputs: int, outputs: int, classes: int = 10) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.embedding = nn.Embedding(classes, outputs)
        self.asked: list[Tensor] = []

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        self.asked.append(y)
        h = self.linear(x.flatten(1)) + self.embedding(y)
        return h[:, 0] if h.shape[1] == 1 else h.reshape(len(x), 1, 8, 8)


def spied(objective: Any = None, **settings: Any) -> Game:
    torch.manual_seed(0)
    return Game(
        Spy(4, 64),
        Spy(64, 1),
        objective or objectives.nonsaturating(),
        latent=4,
        batch=6,
        classes=10,
        **settings,
    )


@pytest.mark.parametrize("name", ["nonsaturating", "relativistic_pairing", "hinge"])
@pytest.mark.parametrize("k", [1, 2])
def test_both_players_are_asked_for_the_labels_of_fresh_minibatches(name: str, k: int) -> None:
    source = data.digits()
    game = spied(getattr(objectives, name)(), k=k, ema=None)
    list(game.play(source, steps=3))
    players: Any = (game.G.network, game.D.network)
    g, d = (player.asked for player in players)
    labels: Any = [source.batch(i, 6)[1] for i in range(3 * (k + 1))]
    wanted = [labels[turn * (k + 1) + i] for turn in range(3) for i in range(k + 1)]
    assert len(g) == len(wanted) and all(a.equal(b) for a, b in zip(g, wanted, strict=True))
    for both in [y for y in d if len(y) == 12]:  # in D's step the fakes have the labels of the real ones
        assert both[:6].equal(both[6:])
    assert len({tuple(y.tolist()) for y in wanted}) == len(wanted)


def test_penalties_and_parts_keep_examples_and_labels_together() -> None:
    """The gradient of a conditional game split in parts is that of the whole."""
    source, moved = data.digits(), []
    for parts in (1, 3):
        game = spied(
            penalties=[penalties.r1(0.5), penalties.wgan_gp(0.0)],
            optimizers=(sgd(0.1), sgd(0.1)),
            accumulate=parts,
            ema=None,
        )
        list(game.play(source, steps=2))
        moved.append(torch.cat([p.detach().flatten() for p in (*game.G.parameters, *game.D.parameters)]))
    torch.testing.assert_close(*moved, rtol=1e-5, atol=1e-7)


def test_a_conditional_game_needs_labels() -> None:
    with refused():
        list(spied().play(data.ring(), steps=1))


def test_classes_of_samples_are_drawn_as_the_data_have_them_unless_given() -> None:
    shares = (0.0, 0.5, 0.3, *(0.2 / 7,) * 7)
    game = spied(class_shares=shares)
    game.sample(2000, seed=3, chunk=300)
    average: Any = game.G.average
    drawn = torch.cat(average.asked)
    assert drawn.equal(torch.cat([game.conditions(n, 3, first) for n, first in ((700, 0), (1300, 700))]))  # type: ignore[misc]
    assert not drawn.equal(game.conditions(2000, 4))  # type: ignore[arg-type]
    counts = drawn.bincount(minlength=10)
    assert counts[0] == 0 and chisquare(counts[1:], 2000 * np.array(shares[1:])).pvalue > 1e-3
    equal = spied().conditions(2000)
    assert equal is not None and chisquare(equal.bincount(minlength=10)).pvalue > 1e-3
    assert game.labels(25).equal(torch.arange(25) % 10)
    y = torch.full((5,), 7)
    assert game.sample(5, y=y).equal(game.generate(game.noise(5), y=y))
    assert not game.sample(5, y=y).equal(game.sample(5, y=y + 1))


class Halves:
    """Pairs: the condition is the left half of a row of six numbers, the example the right half."""

    shape, classes = (3,), 0

    def batch(self, step: int, n: int) -> tuple[Tensor, Tensor]:
        rows = torch.randn(n, 6, generator=torch.Generator().manual_seed(step))
        return rows[:, 3:], rows[:, :3]


class Pairwise(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs + 3, outputs)
        self.asked: list[Tensor] = []

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        self.asked.append(y)
        out = self.linear(torch.cat([x, y], 1))
        return out[:, 0] if out.shape[1] == 1 else out


@pytest.mark.parametrize("parts", [1, 2])
def test_a_condition_may_be_any_tensor_that_belongs_to_an_example(parts: int) -> None:
    torch.manual_seed(0)
    G, D = Pairwise(2, 3), Pairwise(3, 1)
    game = Game(G, D, objectives.hinge(), latent=2, batch=4, conditional=True, accumulate=parts, ema=None)
    list(game.play(Halves(), 2))
    wanted = torch.cat([Halves().batch(i, 4)[1] for i in range(4)])
    assert torch.cat(G.asked).equal(wanted)
    y = Halves().batch(9, 5)[1]
    assert game.sample(5, y=y).equal(G(game.noise(5), y).detach())
    with refused():
        game.sample(5)


def test_a_penalty_of_g_moves_g_alone_by_its_gradient() -> None:
    """G(z, y) = A z + B y + c under lambda |G - x|^2 / 2: its step is that of least squares."""
    asked: list[Any] = []

    def distance(critic: Any, real: Tensor, fake: Tensor, G: Any, z: Tensor, y: Tensor) -> Tensor:
        asked.append((real, y, torch.equal(G(z, y), fake)))
        return (fake - real).square().sum(1) / 2

    torch.manual_seed(0)
    G, D = Pairwise(2, 3), Pairwise(3, 1)
    still = objectives.Objective(lambda r, f: 0 * r, lambda r, f: 0 * f, 0.0)
    near = penalties.Penalty(distance, weight=0.5, every=2, name="near", of="G")
    rates = {"optimizers": (sgd(0.1), sgd(0.1))}
    game = Game(G, D, still, [near], latent=2, batch=6, conditional=True, ema=None, accumulate=2, **rates)
    before, still_d = deepcopy(G), deepcopy(D)
    turns = [*game.play(Halves(), 2)]
    x, y = Halves().batch(1, 6)
    assert [sorted(turn.penalties) for turn in turns] == [["near"], []]
    assert torch.cat([real for real, _, _ in asked]).equal(x) and all(same for *_, same in asked)
    z = game.inputs(Halves())  # what the third turn would take changes nothing
    assert z.step == 2
    noise = torch.randn(6, 2, generator=stream(0, 0, 0, "g_noise", 0))
    inputs = torch.cat([noise, y], 1)
    error = (before.linear(inputs) - x).detach()
    wanted = before.linear.weight - 0.1 * (0.5 * 2) * (error.T @ inputs) / 6
    torch.testing.assert_close(G.linear.weight, wanted)
    torch.testing.assert_close(turns[0].penalties["near"], error.square().sum(1).mean() / 2)
    assert D.linear.weight.equal(still_d.linear.weight)


def conditional(**changes: Any) -> tuple[Game, Any]:
    settings = {"conditional": True, "G.width": 16, "D.width": 16, "batch": 16, "steps": 6, **changes}
    recipe = recipes.load("digits", settings)
    source = recipes.build_source(recipe)
    return recipes.build_game(recipe, source.shape, classes=source.classes), source


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("network", ["mlp", "dcgan"])
def test_a_conditional_game_resumes_to_the_bit(network: str, precision: str) -> None:
    changes = {"G": {"name": network, "width": 8}, "D": {"name": network, "width": 8}, "precision": precision}
    whole, source = conditional(**changes)
    list(whole.play(source, 4))
    first, _ = conditional(**changes)
    list(first.play(source, 2))
    second, _ = conditional(**changes)
    second.load_state_dict(first.state_dict())
    list(second.play(source, 2))
    for a, b in zip(whole.G.parameters, second.G.parameters, strict=True):
        assert a.equal(b)


def test_a_recipe_is_conditional_only_where_the_data_have_classes() -> None:
    recipe = recipes.load("ring", {"conditional": True})
    with refused("0", by=recipes.RecipeError):
        recipes.build_game(recipe, (2,), classes=0)


def test_watching_a_conditional_game_changes_nothing() -> None:
    watched, source = conditional()
    alone, _ = conditional()
    held = Examples(*data.digits(split="test").batch(0, 64))
    watch = standard(watched, source, held)
    seen = [r.name for turn in watched.play(source, 3) for r in read(watch, watched, turn)]
    list(alone.play(source, 3))
    assert {"d_loss", "g_gradient", "saturation", "coverage"} <= set(seen)
    for a, b in zip(watched.D.parameters, alone.D.parameters, strict=True):
        assert a.equal(b)


# precision --------------------------------------------------------------------------------------------------


def dense(precision: Any, **settings: Any) -> Game:
    torch.manual_seed(0)
    G, D = networks.mlp((4,), (2,), width=32, depth=2), networks.mlp((2,), (), width=32, depth=2)
    return Game(G, D, objectives.nonsaturating(), latent=4, batch=32, precision=precision, **settings)


def test_bf16_computes_in_bfloat16_and_keeps_everything_in_float32() -> None:
    game, seen = dense("bf16", penalties=[penalties.r1(0.1), penalties.r2(0.1)]), set[torch.dtype]()
    for network in (game.G.network, game.D.network):
        for layer in network.modules():
            if isinstance(layer, nn.Linear):
                layer.register_forward_hook(lambda layer, x, out: seen.add(out.dtype))
    (turn,) = game.play(data.ring(), steps=1)
    assert seen == {torch.bfloat16}
    kept = [*game.G.parameters, *game.D.parameters, turn.real_logits, turn.d_loss, *turn.penalties.values()]
    state = game.D.optimizer.state_dict()["state"]
    kept += [v for s in state.values() for v in s.values() if isinstance(v, Tensor)]
    assert {t.dtype for t in kept} == {torch.float32}


def test_bf16_is_near_fp32() -> None:
    """A turn's terms differ by what 8 bits of mantissa explain, and by more than nothing."""
    turns = [next(dense(p, penalties=[penalties.r1(1.0)]).play(data.ring(), 1)) for p in ("fp32", "bf16")]
    for name in ("d_loss", "g_loss"):
        a, b = (float(getattr(turn, name)) for turn in turns)
        assert 0 < abs(a - b) < 0.02 * abs(a)
    a, b = (float(turn.penalties["r1"]) for turn in turns)
    assert abs(a - b) < 0.1 * a


def test_an_unknown_precision_is_refused() -> None:
    with refused("fp16", "fp32", "bf16"):
        dense("fp16")


# layers that learn from what D says -------------------------------------------------------------------------


class Listening(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Tensor] = []

    def adapt(self, real_logits: Tensor) -> None:
        self.heard.append(real_logits)

    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("name", ["nonsaturating", "relativistic_pairing"])
def test_layers_of_d_hear_once_a_turn_what_it_said_of_real_examples(name: str, k: int) -> None:
    layer = Listening()
    D = nn.Sequential(layer, networks.mlp((2,), (), width=8, depth=1))
    game = Game(networks.mlp((2,), (2,), width=8), D, getattr(objectives, name)(), latent=2, batch=5, k=k)
    turns = list(game.play(data.ring(), steps=3))
    assert len(layer.heard) == 3
    for heard, turn in zip(layer.heard, turns, strict=True):
        lead = turn.fake_logits if name == "relativistic_pairing" else 0
        assert heard.equal(turn.real_logits - lead) and not heard.requires_grad


# schedules --------------------------------------------------------------------------------------------------

R3GAN = {  # betas, learning rate, penalty weights and average on schedules, as Huang et al. (2024) train
    "g_optimizer": {
        "name": "scheduled",
        "base": {"name": "adam", "betas": [0.0, 0.9]},
        "lr": {"name": "ramp", "start": 2e-3, "end": 5e-4, "steps": 6, "shape": "cosine"},
        "beta2": {"name": "ramp", "start": 0.9, "end": 0.99, "steps": 4},
    },
    "ema": {"name": "ramp", "start": 0.0, "end": 0.9, "steps": 4},
    "penalties": [{"name": "r1", "weight": {"name": "ramp", "start": 1.0, "end": 0.1, "steps": 6}}],
}


def test_everything_that_r3gan_schedules_follows_its_schedule_and_resumes() -> None:
    recipe = recipes.load("digits", {"G.width": 16, "D.width": 16, "batch": 16, **R3GAN})
    assert recipes.load("digits", {"ema": R3GAN["ema"]}).ema == R3GAN["ema"]
    source = recipes.build_source(recipe)
    whole, part, rest = (recipes.build_game(recipe, source.shape) for _ in range(3))
    betas = [whole.G.optimizer.param_groups[0]["betas"] for _ in whole.play(source, 6)]
    assert betas == [(0.0, pytest.approx(0.9 + 0.09 * min(i / 4, 1))) for i in range(6)]
    list(part.play(source, 3))
    rest.load_state_dict(part.state_dict())
    list(rest.play(source, 3))
    for a, b in zip(whole.G.average.parameters(), rest.G.average.parameters(), strict=True):
        assert a.equal(b)


def test_the_average_follows_its_schedule() -> None:
    """d_t = min(decay(t), (1 + t)/(10 + t)), and 0 means the weights themselves."""
    game = dense("fp32", ema=lambda step: 0.0 if step < 3 else 0.05)
    assert game.G.average is not None
    for turn in game.play(data.ring(), steps=5):
        same = all(
            a.equal(b) for a, b in zip(game.G.average.parameters(), game.G.network.parameters(), strict=True)
        )
        assert same == (turn.step < 3)
