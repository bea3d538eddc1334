"""Differentiable augmentation: D judges changed images in all of its passes, and so learns fewer by heart.

With little data D comes to know the training set. If it sees T(x) and T(G(z)) in place of x and G(z), with T
random and differentiable, it cannot, and the gradient still reaches G (Zhao et al. 2020, section 3; Karras
et al. 2020, section 2.1). T is a layer before D, so penalties see it too: R1 is the slope of D(T(x)) in x.

*Does T leak into what G makes?* The game matches the distribution of T(x). That of x is matched with it
unless T makes one distribution of two: random quarter turns of every image hide which way up is. With a
probability p < 1 the share 1 - p of the images passes as it is, upright images stay the most frequent, and
G must follow: such augmentations do not leak, in practice up to p of about 0.8 (Karras et al. 2020, section
2.2). At p = 1 it hangs on T alone; of those here `flip` leaks then, for it shows an image and its mirror
image equally often.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import inf

import torch
from torch import Tensor, nn

__all__ = ["Augmentation", "adaptive", "augmented", "diffaugment"]

Shape = tuple[int, ...]
Transformation = Callable[[Tensor, Tensor], Tensor]
"""(x ``[N, C, H, W]``, on bool ``[N, 1, 1, 1]``) -> x where not on, the changed x where on."""


class Augmentation(nn.Module):
    """T(x): in training, each transformation in turn, applied to each example with the same probability p.

    ``[N, C, H, W] -> [N, C, H, W]`` of the same type; the identity in evaluation. Draws from the default
    generator of x's device, in float32 whatever x is.

    transformations: functions as of this module, or yours: (x, on bool ``[N, 1, 1, 1]``) -> like x.
    probability: p, a buffer. target, images, every: how `adapt` moves it; images = inf leaves it alone.

    Raises ValueError for a probability outside of [0, 1], for images or every not positive, and for x that
    is not ``[N, C, H, W]``.
    """

    probability: Tensor
    signs: Tensor
    seen: Tensor
    turns: Tensor

    def __init__(
        self,
        transformations: Sequence[Transformation],
        probability: float = 1.0,
        target: float = 0.6,
        images: float = inf,
        every: int = 4,
    ) -> None:
        super().__init__()
        if not 0 <= probability <= 1:
            raise ValueError(f"augmentation: probability = {probability} is a share: give one in [0, 1]")
        if images <= 0 or every < 1:
            raise ValueError(f"augmentation: images = {images} must be > 0 and every = {every} >= 1")
        self.transformations = tuple(transformations)
        self.target = target
        self.images = images
        self.every = every
        self.register_buffer("probability", torch.tensor(float(probability)))
        self.register_buffer("signs", torch.tensor(0.0))
        self.register_buffer("seen", torch.tensor(0.0))
        self.register_buffer("turns", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4:
            raise ValueError(f"augmentation changes images [N, C, H, W]: got {list(x.shape)}")
        if not self.training:
            return x
        for transformation in self.transformations:
            x = transformation(x, _uniform(x, 0, 1, torch.float32) < self.probability)
        return x

    @torch.no_grad()
    def adapt(self, real_logits: Tensor) -> None:
        """One turn's logits of (augmented) real examples, ``[N]``: every so many turns, p moves a step.

        r_t = mean sign(logits) of the turns since the last step; p <- p + sign(r_t - target) n / images, with
        n their number of examples (Karras et al. 2020, section 3), kept in [0, 1] as the share that it is.
        """
        self.signs += real_logits.sign().sum()
        self.seen += len(real_logits)
        self.turns += 1
        due = self.turns % self.every == 0
        move = (self.signs / self.seen - self.target).sign() * self.seen / self.images
        self.probability.copy_((self.probability + due * move).clamp(0, 1))
        self.signs *= ~due
        self.seen *= ~due


def diffaugment(
    colour: bool = True,
    translation: float = 0.125,
    cutout: float = 0.5,
    flip: bool = False,
    probability: float = 1.0,
    low: float = -1.0,
    high: float = 1.0,
) -> Augmentation:
    """Zhao et al. (2020): colour, translation and cutout, at a fixed probability (theirs is 1).

    colour: brightness, x + (high - low) / 4 u; saturation, of 3 channels only, each pixel's distances from
        its grey times 1 + u; contrast, distances from the image's mean times 1 + u / 2; each u ~ U[-1, 1].
        The result may leave [low, high]: clipping would stop the gradient.
    translation: the largest shift as a share of each side, in whole pixels; what comes in is mirrored at
        the border (theirs is 0). 0 for none.
    cutout: sides of the rectangle that is set to (low + high) / 2, as a share of the image's; 0 for none.
        Beyond one border it continues at the other, so that each pixel is hidden equally often and the area
        is always the same (theirs is clipped).

    flip: left and right changed over, every second time.
    low, high: the range of the data. It sets the scale of brightness and the grey of cutout.

    Raises ValueError for a share outside of [0, 1), a probability outside of [0, 1], or low >= high.

    >>> x = torch.rand(8, 3, 32, 32)
    >>> augment = diffaugment()
    >>> augment(x).shape, augment.eval()(x).equal(x)
    (torch.Size([8, 3, 32, 32]), True)
    """
    return Augmentation(_transformations(colour, translation, cutout, flip, low, high), probability)


def adaptive(
    colour: bool = True,
    translation: float = 0.125,
    cutout: float = 0.5,
    flip: bool = False,
    target: float = 0.6,
    images: float = 500_000,
    every: int = 4,
    low: float = -1.0,
    high: float = 1.0,
) -> Augmentation:
    """The same, with the probability that D's overfitting asks for (ADA, Karras et al. 2020, section 3).

    p starts at 0. The game shows `Augmentation.adapt` each turn ::

        a = D(T(x))                    theirs: r_t = E[sign a] = 2 P(D calls an example real) - 1
        a = D(T(x)) - D(T(G(z)))       where L_G sees real logits, as in `relativistic_pairing`: r_t =
                                       2 P(D puts an example before a fake) - 1

    and while r_t is above `target`, D is too sure of the examples it trains on and p rises, else it falls.
    The lead over the fakes takes the place of the logit where that is fixed up to a constant only, so that
    its sign means nothing. After `wasserstein` it means nothing either, yet D(T(x)) is what is shown: there
    p says nothing of overfitting, and `diffaugment` is the choice.

    p may reach 1. From about 0.8 on T may leak (section 2.2): a `flip` then shows in what G makes.

    images: how many real images p takes from 0 to 1 if it only rises. every: turns between two steps of p.
    colour, translation, cutout, flip, low, high: as in `diffaugment`.

    >>> augment = adaptive(images=100, every=1)
    >>> augment.adapt(torch.ones(10))  # D calls ten of ten real
    >>> round(float(augment.probability), 4)
    0.1
    """
    transformations = _transformations(colour, translation, cutout, flip, low, high)
    return Augmentation(transformations, probability=0.0, target=target, images=images, every=every)


class Augmented(nn.Module):
    """D(T(x)), or D(T(x), y)."""

    def __init__(self, network: nn.Module, augment: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.augment = augment

    def forward(self, x: Tensor, *y: Tensor) -> Tensor:
        return self.network(self.augment(x), *y)


def augmented(
    inputs: Shape, outputs: Shape, classes: int = 0, *, network: Callable[..., nn.Module], augment: nn.Module
) -> Augmented:
    """D(T(x)): a discriminator that sees everything through `augment`, real or fake, in whichever step.

    network: a function (inputs, outputs) -> D, such as `mlp`; where there are classes, it is given them too.
    augment: any module x -> x, such as `diffaugment()` or `adaptive()`.

    >>> from zerosum.networks.mlp import mlp
    >>> D = augmented((1, 8, 8), (), network=mlp, augment=diffaugment(colour=False))
    >>> D(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5])
    """
    labels = {"classes": classes} if classes else {}  # a network that knows no labels need not take them
    return Augmented(network(inputs=inputs, outputs=outputs, **labels), augment)


# the transformations --------------------------------------------------------------------------------------


def _transformations(
    colour: bool, translation: float, cutout: float, flip: bool, low: float, high: float
) -> list[Transformation]:
    if not (0 <= translation < 1 and 0 <= cutout < 1):
        raise ValueError(f"augmentation: {translation=} and {cutout=} are shares of a side: give [0, 1)")
    if not low < high:
        raise ValueError(f"augmentation needs low < high, the range of the data: got {low} and {high}")
    colours: list[Transformation] = [partial(_brightness, reach=(high - low) / 4), _saturation, _contrast]
    return [
        *([_flip] if flip else []),
        *(colours if colour else []),
        *([partial(_translation, share=translation)] if translation else []),
        *([partial(_cutout, share=cutout, grey=(low + high) / 2)] if cutout else []),
    ]


def _brightness(x: Tensor, on: Tensor, reach: float) -> Tensor:
    return x + on * _uniform(x, -reach, reach)


def _saturation(x: Tensor, on: Tensor) -> Tensor:
    if x.shape[1] != 3:
        return x  # one channel is grey as it is; of two or four, one may be an opacity
    return x.lerp(x.mean(1, keepdim=True), on * _uniform(x, -1, 1))


def _contrast(x: Tensor, on: Tensor) -> Tensor:
    return x.lerp(x.mean((1, 2, 3), keepdim=True), on * _uniform(x, -0.5, 0.5))


def _flip(x: Tensor, on: Tensor) -> Tensor:
    return torch.where(on & (_uniform(x, 0, 1) < 0.5), x.flip(3), x)


def _translation(x: Tensor, on: Tensor, share: float) -> Tensor:
    """One gather of pixels: the rows and columns that each example takes its own from."""
    _, channels, height, width = x.shape
    rows, columns = (_shifted(x, on, side, share) for side in (height, width))
    pixels = rows[:, :, None] * width + columns[:, None, :]
    return x.flatten(2).gather(2, pixels.flatten(1)[:, None].expand(-1, channels, -1)).view_as(x)


def _shifted(x: Tensor, on: Tensor, side: int, share: float) -> Tensor:
    """0, ..., side - 1 less a shift that is uniform up to share x side, mirrored at both ends: [N, side]."""
    reach = int(share * side)
    shift = torch.randint(-reach, reach + 1, (len(x), 1), device=x.device) * on.flatten(1)
    places = (torch.arange(side, device=x.device) - shift).abs()
    return side - 1 - (side - 1 - places).abs()


def _cutout(x: Tensor, on: Tensor, share: float, grey: float) -> Tensor:
    rows, columns = (_interval(x, side, share) for side in x.shape[2:])
    return x.masked_fill(on & rows[:, None, :, None] & columns[:, None, None, :], grey)


def _interval(x: Tensor, side: int, share: float) -> Tensor:
    """round(share x side) of 0, ..., side - 1 in a row, from anywhere and around the end: bool [N, side]."""
    start = torch.randint(side, (len(x), 1), device=x.device)
    return (torch.arange(side, device=x.device) - start) % side < round(share * side)


def _uniform(x: Tensor, low: float, high: float, dtype: torch.dtype | None = None) -> Tensor:
    """A number for each example, [N, 1, 1, 1], of x's type or of this one."""
    u = torch.rand(len(x), 1, 1, 1, device=x.device, dtype=torch.float32)
    return (low + (high - low) * u).to(dtype or x.dtype)
