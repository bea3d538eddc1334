"""Augmentation: what each transformation does to which example, what passes through it, and what moves p."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

from refusals import refused
from zerosum import Game, data, networks, objectives, penalties
from zerosum.networks import Augmentation, adaptive, augmented, diffaugment

NONE: dict[str, Any] = {"colour": False, "translation": 0, "cutout": 0, "flip": False}
KINDS: dict[str, dict[str, Any]] = {
    "colour": {**NONE, "colour": True},
    "translation": {**NONE, "translation": 0.25},
    "cutout": {**NONE, "cutout": 0.5},
    "flip": {**NONE, "flip": True},
    "all": {"flip": True, "translation": 0.25},
}
kinds = pytest.mark.parametrize("kind", KINDS)
SHAPES = [(1, 28, 28), (2, 8, 8), (3, 9, 12), (4, 16, 5), (3, 1, 1)]


def seeded(function: Callable[..., Tensor], seed: int = 0) -> Callable[..., Tensor]:
    """The function with the same draws at each call."""

    def drawn(*x: Tensor) -> Tensor:
        torch.manual_seed(seed)
        return function(*x)

    return drawn


def images(n: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return 2 * torch.rand(n, *shape, generator=generator, dtype=dtype) - 1


# laws of the family -----------------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_shape_and_type_stay(kind: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = images(6, *shape).to(dtype)
    for layout in (torch.contiguous_format, torch.channels_last):
        out = diffaugment(**KINDS[kind])(x.contiguous(memory_format=layout))
        assert (out.shape, out.dtype) == (x.shape, dtype)
        assert out.isfinite().all()


@kinds
def test_the_memory_layout_and_the_type_change_no_draw(kind: str) -> None:
    augment, x = seeded(diffaugment(**KINDS[kind])), images(6, 3, 8, 10)
    torch.testing.assert_close(augment(x.contiguous(memory_format=torch.channels_last)), augment(x))
    torch.testing.assert_close(augment(x.double()).float(), augment(x))


@kinds
def test_the_draws_follow_from_torchs_seed(kind: str) -> None:
    augment, x = diffaugment(**KINDS[kind]), images(16, 3, 12, 12)
    same, other = seeded(augment, 0), seeded(augment, 1)
    assert same(x).equal(same(x))
    assert not same(x).equal(other(x))


@kinds
def test_evaluation_and_probability_0_are_the_identity(kind: str) -> None:
    x = images(32, 3, 8, 8)
    assert diffaugment(**KINDS[kind]).eval()(x).equal(x)
    assert diffaugment(**KINDS[kind], probability=0.0)(x).equal(x)
    assert adaptive(**KINDS[kind])(x).equal(x)


@pytest.mark.parametrize("probability", [0.0, 0.3, 0.8, 1.0])
def test_each_example_is_changed_with_the_probability(probability: float) -> None:
    """Brightness changes every example that it is applied to; cutout and it are applied independently."""
    n, x = 20_000, torch.zeros(20_000, 1, 2, 2)
    augment = diffaugment(
        **{**NONE, "colour": True, "cutout": 0.5}, low=0.0, high=3.0, probability=probability
    )
    hidden, shown = augment(x).flatten(1).sort().values[:, [3, 0]].T
    cut = hidden == 1.5  # the grey, above all that brightness can do
    bright = shown != 0
    for seen, wanted in ((cut, probability), (bright, probability), (cut & bright, probability**2)):
        spread = math.sqrt(wanted * (1 - wanted) / n)
        assert float(seen.float().mean()) == pytest.approx(wanted, abs=5 * spread)


@kinds
def test_an_example_is_changed_by_itself_only(kind: str) -> None:
    augment, x = seeded(diffaugment(**KINDS[kind])), images(5, 3, 6, 6, dtype=torch.float64).requires_grad_()
    for i in range(5):
        (slope,) = torch.autograd.grad(augment(x)[i].square().sum(), x)
        assert slope[i].abs().sum() > 0
        slope[i] = 0
        assert slope.eq(0).all()


@kinds
def test_examples_are_changed_differently(kind: str) -> None:
    x = images(1, 3, 12, 12).expand(64, -1, -1, -1)
    torch.manual_seed(0)
    different = {tuple(example.flatten().tolist()) for example in diffaugment(**KINDS[kind])(x)}
    assert len(different) > (1 if kind == "flip" else 20)


@kinds
@pytest.mark.parametrize("probability", [0.5, 1.0])
def test_it_is_differentiable_twice(kind: str, probability: float) -> None:
    x = images(2, 3, 3, 4, dtype=torch.float64).requires_grad_()
    augment = seeded(diffaugment(**KINDS[kind], probability=probability))
    assert gradcheck(augment, x)
    assert gradgradcheck(lambda x: augment(x) ** 2, x)


def test_r1_goes_through_it() -> None:
    """R1 is the slope of D(T(x)) in x: of w sum T(x), w^2 / 2 for each pixel that cutout leaves."""
    D = augmented((1, 4, 4), (), network=sums, augment=diffaugment(**KINDS["cutout"]))
    slope = penalties.r1()(D, images(9, 1, 4, 4), images(9, 1, 4, 4))
    torch.testing.assert_close(slope, torch.full((9,), (16 - 4) / 2))
    slope.sum().backward()
    assert float(next(D.parameters()).grad) == 9 * (16 - 4)


class Sums(nn.Module):
    """w times the sum over everything."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.w * x.flatten(1).sum(1)


def sums(inputs: tuple[int, ...], outputs: tuple[int, ...]) -> nn.Module:
    return Sums()


def test_under_autocast_float32_stays_float32() -> None:
    augment, x = seeded(diffaugment(flip=True)), images(8, 3, 8, 8)
    plain = augment(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert augment(x).equal(plain)


# each transformation against what it says -------------------------------------------------------------------


def moments(sample: Tensor, low: float, high: float) -> None:
    """The sample is uniform on [low, high]: within, and mean and variance within 5 standard errors."""
    n, width = len(sample), high - low
    assert low <= float(sample.min()) < low + 0.01 * width
    assert high - 0.01 * width < float(sample.max()) <= high
    assert float(sample.mean()) == pytest.approx((low + high) / 2, abs=5 * width / math.sqrt(12 * n))
    kurtosis_error = math.sqrt((1 / 80 - 1 / 144) / n) * width**2
    assert float(sample.var()) == pytest.approx(width**2 / 12, abs=5 * kurtosis_error)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 1.0), (0.0, 255.0)])
def test_brightness_is_uniform_over_half_the_range(low: float, high: float) -> None:
    """The mean of an image with no saturation is changed by brightness alone: contrast keeps it."""
    torch.manual_seed(0)
    augment = diffaugment(**KINDS["colour"], low=low, high=high)
    x = images(1, 1, 4, 4, dtype=torch.float64).expand(20_000, -1, -1, -1)
    moments((augment(x) - x).mean((1, 2, 3)), -(high - low) / 4, (high - low) / 4)


def test_contrast_scales_what_differs_from_the_images_mean() -> None:
    torch.manual_seed(0)
    x = images(1, 1, 4, 4, dtype=torch.float64).expand(20_000, -1, -1, -1)
    before, after = (a - a.mean((1, 2, 3), keepdim=True) for a in (x, diffaugment(**KINDS["colour"])(x)))
    factor = (after * before).sum((1, 2, 3)) / before.square().sum((1, 2, 3))
    torch.testing.assert_close(after, factor[:, None, None, None] * before)
    moments(factor, 0.5, 1.5)


def test_saturation_scales_what_differs_from_grey() -> None:
    """Beside contrast: chroma by s c, greys by c alone, with s ~ U[0, 2] and c ~ U[1/2, 3/2]."""
    torch.manual_seed(0)
    x = images(1, 3, 4, 4, dtype=torch.float64).expand(20_000, -1, -1, -1)
    out = diffaugment(**KINDS["colour"])(x)

    def ratio(part: Callable[[Tensor], Tensor]) -> Tensor:
        return (part(out) * part(x)).sum((1, 2, 3)) / part(x).square().sum((1, 2, 3))

    chroma = ratio(lambda a: a - a.mean(1, keepdim=True))
    contrast = ratio(lambda a: a.mean(1, keepdim=True) - a.mean((1, 2, 3), keepdim=True))
    moments(chroma / contrast, 0.0, 2.0)
    moments(contrast, 0.5, 1.5)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_there_is_saturation_only_where_there_are_three_colours(channels: int) -> None:
    """Brightness and contrast change all the channels alike, so that differences between them are scaled."""
    x = images(64, channels, 4, 4, dtype=torch.float64)
    out = diffaugment(**KINDS["colour"])(x)
    before, after = (a - a.mean((1, 2, 3), keepdim=True) for a in (x, out))
    factor = (after * before).sum((1, 2, 3), keepdim=True) / before.square().sum((1, 2, 3), keepdim=True)
    torch.testing.assert_close(after, factor * before)


@pytest.mark.parametrize(
    ("height", "width", "share"), [(28, 28, 0.125), (8, 8, 0.125), (16, 9, 0.25), (7, 6, 0.5)]
)
def test_translation_reaches_all_shifts_up_to_its_share(height: int, width: int, share: float) -> None:
    """Against numpy's mirrored padding: each shift comes out, equally often, and no other."""
    import numpy as np

    torch.manual_seed(0)
    x = torch.arange(2.0 * height * width).reshape(1, 2, height, width)
    down, right = int(share * height), int(share * width)
    padded = np.pad(x[0].numpy(), ((0, 0), (down, down), (right, right)), mode="reflect")
    shifts = {
        padded[:, i : i + height, j : j + width].tobytes(): (i, j)
        for i, j in product(range(2 * down + 1), range(2 * right + 1))
    }
    n = 200 * len(shifts)
    out = diffaugment(**{**NONE, "translation": share})(x.expand(n, -1, -1, -1))
    counts = dict.fromkeys(shifts.values(), 0)
    for example in out:
        counts[shifts[example.numpy().tobytes()]] += 1
    assert min(counts.values()) > 200 - 5 * math.sqrt(200)
    assert max(counts.values()) < 200 + 5 * math.sqrt(200)


@pytest.mark.parametrize(("height", "width", "share"), [(8, 8, 0.5), (28, 20, 0.5), (9, 7, 0.3)])
def test_cutout_hides_a_rectangle_of_its_size_each_pixel_equally_often(
    height: int, width: int, share: float
) -> None:
    torch.manual_seed(0)
    n, x = 5_000, torch.ones(5_000, 2, height, width)
    out = diffaugment(**{**NONE, "cutout": share}, low=0.0, high=1.0)(x)
    assert set(out.unique().tolist()) == {0.5, 1.0}
    hidden = out == 0.5
    assert hidden[:, 0].equal(hidden[:, 1])
    rows, columns = hidden[:, 0].any(2), hidden[:, 0].any(1)
    assert hidden[:, 0].equal(rows[:, :, None] & columns[:, None, :])
    for lines, side in ((rows, height), (columns, width)):
        assert lines.sum(1).eq(round(share * side)).all()
        assert (lines != lines.roll(1, 1)).sum(1).eq(2).all()  # in one piece, around the border
    p = round(share * height) * round(share * width) / (height * width)
    often = hidden[:, 0].float().mean(0)
    assert (often - p).abs().max() < 5 * math.sqrt(p * (1 - p) / n)


def test_flip_mirrors_every_second_image() -> None:
    torch.manual_seed(0)
    x = images(1, 3, 4, 6).expand(10_000, -1, -1, -1)
    out = diffaugment(**KINDS["flip"])(x)
    flipped = (out == x.flip(3)).flatten(1).all(1)
    assert out[~flipped].equal(x[~flipped])
    assert float(flipped.float().mean()) == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(10_000))


def test_what_it_is_made_of_may_be_yours() -> None:
    augment = Augmentation([lambda x, on: torch.where(on, -x, x)], probability=1.0)
    x = images(3, 1, 2, 2)
    assert augment(x).equal(-x)


# the controller ---------------------------------------------------------------------------------------------


def shown(augment: Augmentation, logits: Tensor, turns: int) -> list[float]:
    """p after each of so many turns of the same logits."""
    path = []
    for _ in range(turns):
        augment.adapt(logits)
        path.append(float(augment.probability))
    return path


def test_the_speed_is_exact() -> None:
    """8 images a turn, a step each 4 turns: p rises by 32 / 256 a step to 1 and stays, then falls to 0."""
    augment = adaptive(images=256, every=4)
    rising = shown(augment, torch.ones(8), 40)
    assert rising == [min(turn // 4 * 32 / 256, 1.0) for turn in range(1, 41)]
    falling = shown(augment, -torch.ones(8), 40)
    assert falling == [max(1 - turn // 4 * 32 / 256, 0.0) for turn in range(1, 41)]


@pytest.mark.parametrize("positive", range(11))
def test_it_rises_where_d_overfits_and_falls_where_not(positive: int) -> None:
    """r_t = (positive - negative) / 10 against the target 0.6; the size of a logit does not matter."""
    augment = adaptive(images=100, every=1, target=0.6 + 1e-3)
    augment.probability.fill_(0.5)
    logits = torch.tensor([100.0] * positive + [-1e-3] * (10 - positive))
    (p,) = shown(augment, logits, 1)
    assert p == pytest.approx(0.6 if positive > 8 else 0.4)


def test_the_sign_is_averaged_over_the_turns_of_a_step() -> None:
    augment = adaptive(images=100, every=2, target=0.4)
    augment.adapt(torch.ones(10))
    augment.adapt(-torch.ones(2))  # r_t = 8 / 12, over both
    assert float(augment.probability) == pytest.approx(12 / 100)
    augment.adapt(torch.ones(2))
    augment.adapt(-torch.ones(10))
    assert float(augment.probability) == pytest.approx(0)


def test_it_settles_where_overfitting_meets_the_target() -> None:
    """A D whose logits are positive with probability 1 - p / 2: r = 1 - p, so that p goes to 1 - 0.6."""
    augment, generator = adaptive(images=20_000, every=4), torch.Generator().manual_seed(0)
    path = []
    for _ in range(1_500):
        right = torch.rand(64, generator=generator) < 1 - augment.probability / 2
        augment.adapt(right * 2.0 - 1)
        path.append(augment.probability.clone())
    tail = torch.stack(path[750:])
    assert float(tail.mean()) == pytest.approx(0.4, abs=0.02)
    assert float((tail - 0.4).abs().max()) < 0.1


def test_a_fixed_probability_is_a_controller_that_does_not_move() -> None:
    augment = diffaugment(probability=0.3)
    assert set(shown(augment, torch.ones(8), 9)) == {float(torch.tensor(0.3))}


def test_its_state_goes_on_exactly() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(11, 8, generator=generator) + 0.7
    whole, first, second = (adaptive(images=100, every=4, target=0.2) for _ in range(3))
    for turn in range(11):
        whole.adapt(logits[turn])
        (first if turn < 6 else second).adapt(logits[turn])
        if turn == 5:
            second.load_state_dict(first.state_dict())
    assert whole.state_dict().keys() == {"probability", "signs", "seen", "turns"}
    for name, value in whole.state_dict().items():
        assert second.state_dict()[name].equal(value), name
    assert 0 < float(whole.probability) < 1


# in a game --------------------------------------------------------------------------------------------------


def adaptive_game() -> Game:
    torch.manual_seed(0)
    augment = adaptive(images=100, every=2, target=-0.9)
    augment.probability.fill_(0.3)
    D = augmented((1, 8, 8), (), network=networks.mlp, augment=augment)
    G = networks.mlp((4,), (1, 8, 8), width=8, output=nn.Tanh)
    return Game(G, D, objectives.nonsaturating(), [penalties.r1()], latent=4, batch=8)


def test_a_game_plays_and_resumes_exactly() -> None:
    """The game shows D's logits to the controller, whose p moves by 2 x 8 / 100 each other turn."""
    whole, first, second, source = adaptive_game(), adaptive_game(), adaptive_game(), data.digits()
    list(whole.play(source, 5))
    list(first.play(source, 3))
    second.load_state_dict(first.state_dict())
    torch.manual_seed(77)
    list(second.play(source, 2))
    for mine, other in ((whole.D, second.D), (whole.G, second.G)):
        for name, value in mine.network.state_dict().items():
            assert other.network.state_dict()[name].equal(value), name
    augment: Any = whole.D.network.get_submodule("augment")
    assert int(augment.turns) == 5
    assert float(augment.probability) == pytest.approx(0.3 + 2 * 16 / 100)


def test_all_passes_of_d_are_augmented() -> None:
    """Real and fake in the step of D, fake in that of G, and the points of a penalty."""
    seen: list[int] = []

    class Count(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(len(x))
            return x

    D = augmented((2,), (), network=networks.mlp, augment=Count())
    game = Game(nn.Linear(4, 2), D, objectives.nonsaturating(), [penalties.r1()], latent=4, batch=8)
    list(game.play(data.ring(), 1))
    assert seen == [8, 8, 8]  # real, which R1 takes up; fake; G's


def test_labels_pass_beside_the_images() -> None:
    class Labelled(nn.Module):
        def __init__(self, inputs: tuple[int, ...], outputs: tuple[int, ...], classes: int) -> None:
            super().__init__()
            self.table = nn.Embedding(classes, 1)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.table(y)[:, 0] + x.flatten(1).sum(1)

    D = augmented((1, 2, 2), (), 5, network=Labelled, augment=diffaugment()).eval()
    y = torch.tensor([0, 4, 2])
    assert D(torch.zeros(3, 1, 2, 2), y).equal(D.network.table.weight[y, 0])


# refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (lambda: diffaugment(probability=1.5), "probability"),
        (lambda: diffaugment(translation=1.0), "translation"),
        (lambda: diffaugment(cutout=-0.1), "cutout"),
        (lambda: diffaugment(low=1.0, high=1.0), "low"),
        (lambda: adaptive(images=0), "images"),
        (lambda: adaptive(every=0), "every"),
        (lambda: diffaugment()(torch.zeros(3, 2)), "3, 2"),
        (lambda: diffaugment().eval()(torch.zeros(3, 2)), "3, 2"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(wrong: Callable[[], object], name: str) -> None:
    with refused(name):
        wrong()
