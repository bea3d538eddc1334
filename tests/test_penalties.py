"""The laws of penalties: their value on critics whose slope is known, and their gradient in D's weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from refusals import refused
from zerosum import penalties
from zerosum.penalties import Penalty
from zerosum.schedules import ramp

MAKERS: dict[str, Callable[..., Penalty]] = {
    name: getattr(penalties, name) for name in penalties.__all__ if name != "Penalty"
}
every = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
sizes = pytest.mark.parametrize("n", [1, 2, 7, 64])


def points(n: int, d: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    real, fake = torch.randn(2, n, d, generator=generator, dtype=torch.float64)
    return real, 2 * fake + 1


def linear(w: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda x: x.flatten(1) @ w + 0.3


def critic(d: int = 3) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(d, 8), nn.SiLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0)
    ).double()


W = torch.tensor([3.0, -4.0, 12.0]).double()


@sizes
def test_r1_and_r2_of_a_linear_critic_are_half_its_squared_slope(n: int) -> None:
    real, fake = points(n)
    for make in (penalties.r1, penalties.r2):
        assert make()(linear(W), real, fake).tolist() == pytest.approx([169 / 2] * n, rel=1e-14)


@sizes
def test_zero_centred_gp_of_a_linear_critic_is_its_squared_slope(n: int) -> None:
    assert penalties.zero_centred_gp()(linear(W), *points(n)).tolist() == pytest.approx(
        [169.0] * n, rel=1e-14
    )


@sizes
@pytest.mark.parametrize("make", [penalties.wgan_gp, penalties.dragan])
@pytest.mark.parametrize("slope", [0.0, 1.0, 3.0])
def test_unit_slope_penalties_measure_the_distance_to_slope_one(
    make: Callable[..., Penalty], slope: float, n: int
) -> None:
    got = make()(linear(slope * W / W.norm()), *points(n))
    assert got.tolist() == pytest.approx([(slope - 1) ** 2] * n, abs=1e-14)


def test_images_are_points_too() -> None:
    real = torch.zeros(5, 1, 2, 2).double()
    w = torch.tensor([1.0, 2.0, 3.0, 4.0]).double()
    assert penalties.r1()(linear(w), real, real).tolist() == [15.0] * 5
    assert penalties.wgan_gp()(linear(w / w.norm()), real, real + 1).tolist() == pytest.approx(
        [0] * 5, abs=1e-14
    )


def test_r1_looks_at_real_and_r2_at_fake() -> None:
    """On a(x) = |x|^2/2 the slope is x itself, so a penalty tells where it was taken."""
    real, fake = points(40)

    def bowl(x: Tensor) -> Tensor:
        return x.square().sum(1) / 2

    def squares(x: Tensor) -> Tensor:
        return x.square().sum(1)

    torch.testing.assert_close(penalties.r1()(bowl, real, fake).detach(), squares(real) / 2)
    torch.testing.assert_close(penalties.r2()(bowl, real, fake).detach(), squares(fake) / 2)


def test_the_shares_between_real_and_fake_are_uniform() -> None:
    torch.manual_seed(0)
    zero, one = torch.zeros(400, 1).double(), torch.ones(400, 1).double()
    shares = penalties.zero_centred_gp()(lambda x: x[:, 0] ** 2 / 2, zero, one).sqrt().detach()
    assert 0 <= shares.min() < 0.02
    assert 0.98 < shares.max() < 1
    assert float(shares.mean()) == pytest.approx(0.5, abs=0.05)
    assert float(shares.std()) == pytest.approx(12**-0.5, abs=0.03)


def test_dragan_looks_near_real_within_half_a_deviation() -> None:
    torch.manual_seed(0)

    def moves(real: Tensor) -> Tensor:
        """(|grad a| - 1)^2 of a(x) = (x + 10)^2/2 tells x."""
        value = penalties.dragan()(lambda x: (x[:, 0] + 10) ** 2 / 2, real, real).detach()
        return value.sqrt() + 1 - 10 - real[:, 0]

    ends = torch.tensor([[-1.0], [1.0]]).double().repeat(200, 1)  # of standard deviation 1
    assert 0 <= moves(ends).min() < 0.01
    assert 0.49 < moves(ends).max() < 0.5
    torch.testing.assert_close(moves(0 * ends), torch.zeros(400).double())  # data of no spread stay


def test_dragan_takes_the_deviation_of_the_whole_batch_from_its_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "rand_like", lambda x: torch.full_like(x, 0.5))
    D, (real, fake), penalty = critic(), points(12), penalties.dragan()
    assert penalty.statistics is not None
    sides = [(real[:4], fake[:4]), (real[4:8], fake[4:8]), (real[8:], fake[8:])]
    told = torch.stack([penalty.statistics(D, *side) for side in sides]).mean(0)
    values = torch.cat([penalty(D, *side, statistics=told) for side in sides])
    torch.testing.assert_close(values, penalty(D, real, fake), rtol=1e-12, atol=0)


@every
def test_values_belong_to_examples(make: Callable[..., Penalty]) -> None:
    real, fake = points(6)
    D, order = critic(), torch.tensor([3, 0, 5, 1, 4, 2])

    def shares_permuted(permutation: Tensor) -> Tensor:  # the same share for the same example
        rand, like = torch.rand, torch.rand_like
        shares = torch.linspace(0.1, 0.9, 6).double()[permutation]
        patch = pytest.MonkeyPatch()
        patch.setattr(torch, "rand", lambda n, *ones, **_: shares.reshape(n, *ones))
        patch.setattr(torch, "rand_like", lambda x: shares[:, None].expand_as(x))
        try:
            return make()(D, real[permutation], fake[permutation])
        finally:
            patch.undo()
            assert torch.rand is rand
            assert torch.rand_like is like

    value = shares_permuted(torch.arange(6))
    assert value.shape == (6,)
    assert value.unique().numel() == 6
    torch.testing.assert_close(shares_permuted(order), value[order], rtol=1e-12, atol=1e-14)


@every
def test_the_gradient_in_the_weights_is_that_of_finite_differences(make: Callable[..., Penalty]) -> None:
    D, (real, fake) = critic(), points(5)
    held = {"decay": 1.0} if make is penalties.lecam else {}  # running means carry no gradient: hold them
    penalty = make(weight=0.7, **held)

    def term() -> Tensor:
        torch.manual_seed(3)  # the same shares each time
        return penalty.term(D, real, fake)

    gradients = torch.autograd.grad(term(), list(D.parameters()), allow_unused=True)
    h, largest = 1e-5, 0.0
    for p, gradient in zip(D.parameters(), gradients, strict=True):
        for i in range(0, p.numel(), 3):
            flat, start = p.data.view(-1), float(p.data.view(-1)[i])
            ends = []
            for sign in (1, -1):
                flat[i] = start + sign * h
                ends.append(float(term().detach()))
            flat[i] = start
            slope = 0.0 if gradient is None else float(gradient.view(-1)[i])
            assert slope == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-6, abs=1e-8)
            largest = max(largest, abs(slope))
    assert largest > 1e-3


@every
def test_the_points_are_left_alone(make: Callable[..., Penalty]) -> None:
    """Nothing flows back to G, and the batch is not changed."""
    D, (real, source) = critic(), points(5)
    source.requires_grad_()
    fake = source * 1  # as G gives them
    before = real.clone(), fake.detach().clone()
    if make is not penalties.lecam:  # a function of logits: there the game gives fakes without a graph
        make().term(D, real, fake).backward()
        assert source.grad is None
    assert not real.requires_grad
    assert real.equal(before[0])
    assert fake.detach().equal(before[1])


@every
@pytest.mark.parametrize("lazy", [1, 2, 5])
def test_weight_and_rhythm(make: Callable[..., Penalty], lazy: int) -> None:
    D, (real, fake) = critic(), points(4)
    torch.manual_seed(0)
    mean = make()(D, real, fake).mean()
    penalty = make(weight=0.25, every=lazy)
    torch.manual_seed(0)
    torch.testing.assert_close(penalty.term(D, real, fake), 0.25 * lazy * mean)
    assert [step for step in range(12) if penalty.due(step)] == list(range(0, 12, lazy))
    assert "every=" in repr(penalty)
    assert penalty.name in repr(penalty)


def test_a_scheduled_weight_follows_the_steps_of_d() -> None:
    penalty = penalties.r1(weight=ramp(1.0, 0.0, steps=10), every=2)
    terms = [float(penalty.term(linear(W), *points(3), d_step=step)) for step in (0, 4, 10, 99)]
    assert terms == pytest.approx([169.0, 0.6 * 169, 0, 0])


@every
def test_impossible_settings_are_refused(make: Callable[..., Penalty]) -> None:
    for settings in ({"weight": -1.0}, {"every": 0}):
        with refused(make().name):
            make(**settings)


def test_lecam_pulls_to_the_running_means_of_the_other_side_and_is_resumed() -> None:
    penalty, D = penalties.lecam(decay=0.9), critic()
    r = f = 0.0
    for seed in range(3):
        real, fake = points(8, seed=seed)
        a, b = D(real).detach(), D(fake).detach()
        r, f = 0.9 * r + 0.1 * float(a.mean()), 0.9 * f + 0.1 * float(b.mean())
        # the means are kept in float32
        torch.testing.assert_close(
            penalty(D, real, fake).detach(), (a - f) ** 2 + (b - r) ** 2, rtol=1e-5, atol=1e-7
        )
    state = penalty.state_dict()
    assert sorted(float(v) for v in state.values()) == pytest.approx(sorted([r, f]), rel=1e-5)
    other = penalties.lecam(decay=0.9)
    other.load_state_dict(state)
    assert other(D, *points(4, seed=9)).equal(penalty(D, *points(4, seed=9)))


def test_any_function_is_a_penalty() -> None:
    def drift(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
        return critic(real) ** 2

    penalty = Penalty(drift, weight=2.0)
    assert penalty.name == "drift"
    assert float(penalty.term(linear(0 * W), *points(5))) == pytest.approx(2 * 0.3**2)
