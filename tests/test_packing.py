"""Packing: a network of packs against its formula, and what the game and the penalties make of it."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from refusals import refused
from zerosum import Game, data, networks, objectives, penalties
from zerosum.networks import augmented, diffaugment, packed

packs = pytest.mark.parametrize("m", [1, 2, 3, 4])
shapes = pytest.mark.parametrize("shape", [(2,), (1,), (3, 4, 5), (1, 8, 8)])
linear = partial(networks.mlp, depth=0)


def build(shape: tuple[int, ...], m: int, depth: int = 2) -> nn.Module:
    torch.manual_seed(0)
    return packed(shape, (), network=partial(networks.mlp, width=16, depth=depth), m=m).double()


def examples(n: int, *shape: int) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@packs
@shapes
def test_a_linear_network_of_packs_is_the_sum_over_the_pack(shape: tuple[int, ...], m: int) -> None:
    """a(x_1, ..., x_m) = b + sum_i w_i . x_i, and each of them has this logit."""
    D, x = build(shape, m, depth=0), examples(12, *shape)
    layer = next(layer for layer in D.modules() if isinstance(layer, nn.Linear))
    w = layer.weight.reshape(m, *shape)
    expected = [layer.bias + sum((w[i] * x[p * m + i]).sum() for i in range(m)) for p in range(12 // m)]
    torch.testing.assert_close(D(x), torch.cat([logit for logit in expected for _ in range(m)]))


@packs
@shapes
def test_the_network_sees_packs_and_each_example_gets_a_logit(shape: tuple[int, ...], m: int) -> None:
    seen: list[torch.Size] = []

    class Look(nn.Module):
        def __init__(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
            super().__init__()
            assert inputs == (m * shape[0], *shape[1:])
            assert outputs == ()

        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.shape)
            return x.flatten(1).sum(1)

    logits = packed(shape, (), network=Look, m=m)(examples(12, *shape))
    assert logits.shape == (12,)
    assert seen == [(12 // m, m * shape[0], *shape[1:])]
    assert logits.reshape(-1, m).eq(logits[::m, None]).all()


def test_packs_of_one_are_the_network_itself() -> None:
    D, x = build((2,), 1), examples(7, 2)
    assert D(x).equal(D.network(x))


@packs
@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_in_evaluation_the_last_pack_is_filled_with_the_first_examples(n: int, m: int) -> None:
    D, x = build((2,), m).eval(), examples(n, 2)
    filled = torch.stack([x[i % n] for i in range(m * -(-n // m))])
    torch.testing.assert_close(D(x), D(filled)[:n])
    assert D(x).shape == (n,)


@packs
@pytest.mark.parametrize("penalty", [penalties.r1, penalties.r2])
def test_r1_and_r2_are_m_times_those_of_the_packs(penalty: type[penalties.Penalty], m: int) -> None:
    """On a linear network the mean is m |w|^2 / 2; on any, m times that of the network on packs."""
    x = examples(12, 2)
    D = build((2,), m, depth=0)
    (w,) = (layer.weight for layer in D.modules() if isinstance(layer, nn.Linear))
    torch.testing.assert_close(penalty()(D, x, x).mean(), m * w.square().sum() / 2)
    D = build((2,), m)
    together = x.reshape(12 // m, 2 * m)
    torch.testing.assert_close(penalty()(D, x, x).mean(), m * penalty()(D.network, together, together).mean())


@packs
def test_the_mean_loss_is_that_of_the_packs(m: int) -> None:
    D, real, fake = build((2,), m), examples(12, 2), examples(24, 2)[12:]
    loss = objectives.nonsaturating().d(D(real), D(fake)).mean()
    a, b = (D.network(x.reshape(12 // m, 2 * m)) for x in (real, fake))
    torch.testing.assert_close(loss, objectives.nonsaturating().d(a, b).mean())


def game() -> Game:
    torch.manual_seed(0)
    D = packed((2,), (), network=partial(networks.mlp, width=16), m=4)
    G = networks.mlp((4,), (2,), width=8)
    return Game(G, D, objectives.nonsaturating(), [penalties.r1()], latent=4, batch=8, accumulate=2)


def test_a_game_plays_and_resumes_exactly() -> None:
    whole, first, second = game(), game(), game()
    turns = list(whole.play(data.ring(), 5))
    list(first.play(data.ring(), 3))
    second.load_state_dict(first.state_dict())
    list(second.play(data.ring(), 2))
    for mine, other in ((whole.D, second.D), (whole.G, second.G)):
        for name, value in mine.network.state_dict().items():
            assert other.network.state_dict()[name].equal(value), name
    for turn in turns:
        assert turn.real_logits.reshape(2, 4).eq(turn.real_logits[::4, None]).all()


def test_no_pack_mixes_real_with_fake() -> None:
    """Two passes, of the 9 real and of the 9 fakes: 18 at once would make a pack of both."""
    seen: list[Tensor] = []

    class Look(nn.Module):
        def __init__(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.detach())
            return self.w * x.sum(1)

    G = nn.Linear(4, 2)
    nn.init.zeros_(G.weight)
    nn.init.constant_(G.bias, 100.0)  # far from any point of the ring
    D = packed((2,), (), network=Look, m=3)
    list(Game(G, D, objectives.nonsaturating(), latent=4, batch=9).play(data.ring(), 1))
    fake = [x > 50 for x in seen]
    assert [x.shape for x in seen] == [(3, 6)] * 3
    assert [bool(x.all()) for x in fake] == [bool(x.any()) for x in fake] == [False, True, True]


@pytest.mark.parametrize("outer", [True, False])
def test_packing_and_augmentation_go_together(outer: bool) -> None:
    """Augmentation outside changes the examples of a pack each by itself, inside the pack as one image."""
    augment = diffaugment(colour=False, translation=0.0)
    many, inner = partial(packed, m=2), partial(augmented, augment=augment)
    D = (
        inner((3, 4, 4), (), network=partial(many, network=linear))
        if outer
        else many((3, 4, 4), (), network=partial(inner, network=linear))
    )
    assert D(torch.randn(6, 3, 4, 4)).shape == (6,)
    assert any(getattr(module, "mixes_examples", False) for module in D.modules())


def test_what_cannot_be_is_refused_in_one_line() -> None:
    with refused(7, 2):
        build((2,), 2)(examples(7, 2))
    with refused("classes", 10):
        packed((2,), (), 10, network=networks.mlp)
    with refused("m", 0):
        packed((2,), (), network=networks.mlp, m=0)
