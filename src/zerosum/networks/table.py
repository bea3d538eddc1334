"""Generators of rows: numbers as a network gives them, and categories drawn as one-hot vectors."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from zerosum.networks.mlp import residual_mlp

__all__ = ["Heads", "table_mlp"]

Shape = tuple[int, ...]
Groups = tuple[tuple[int, int], ...]

_FURTHEST, _KNOTS = 4.8, 65  # of the curves of numbers: deviations from the mean, and how many
_SETTLED, _SQUARE = ("shift", "curves", "ends"), "square"


class Heads(nn.Module):
    """z ``[N, latent + noise]`` -> rows ``[N, d]``, in which each group of places is one-hot.

    The place of the one is drawn with the probabilities softmax(a), a the body's logits: the largest of
    a + e, e Gumbel noise. Backwards it is softmax((a + e) / temperature) (straight-through Gumbel-softmax;
    Jang et al. 2017, Maddison et al. 2017), so D never sees anything but what real rows are made of, and the
    rare values of a column are drawn at their share. e is taken from the last `noise` coordinates of z, which
    are standard normal: e = -log(-log Phi(z)), so a row follows from its z alone.

    body: z ``[N, latent]`` (and y) -> ``[N, d]``. groups: (start, width) of each.
    """

    places: Tensor
    inside: Tensor
    shift: Tensor | None
    curves: Tensor | None
    ends: Tensor | None

    def __init__(self, body: nn.Module, groups: Groups, temperature: float = 1.0) -> None:
        super().__init__()
        self.body, self.groups, self.temperature = body, groups, temperature
        self.noise = sum(width for _, width in groups)
        widest = max((width for _, width in groups), default=0)
        places = [[start + min(i, width - 1) for i in range(widest)] for start, width in groups]
        inside = [[i < width for i in range(widest)] for _, width in groups]
        self.register_buffer("inside", torch.tensor(inside, dtype=torch.bool), persistent=False)
        self.register_buffer(
            "places", torch.tensor(places)[self.inside] if groups else None, persistent=False
        )
        self._rest: Tensor | None = None
        for name in _SETTLED:
            self.register_buffer(name, None)

    def forward(self, z: Tensor, *y: Tensor) -> Tensor:
        latent = z.shape[1] - self.noise
        x = self.body(z[:, :latent], *y)
        if self.curves is not None and self.ends is not None:
            x = self._on_curves(x, self.curves, *self.ends)
        if self.shift is not None:
            x = x + self.shift
        if not self.noise:
            return x
        gumbel = -(-torch.log1p(-torch.erfc(z[:, latent:].float() * 0.5**0.5) / 2)).log()
        for name, square in self._buffers.items():
            if name.startswith(_SQUARE) and square is not None:
                x = self._in_square(x, gumbel, int(name.removeprefix(_SQUARE)), square)
        if not torch.is_grad_enabled():
            return self._drawn(x, gumbel.to(x.dtype))
        scores = x.new_full((len(z), *self.inside.shape), -torch.inf)
        scores[:, self.inside] = x[:, self.places] + gumbel.to(x.dtype)
        soft = (scores / self.temperature).softmax(2)
        hard = torch.zeros_like(soft).scatter_(2, scores.argmax(2, keepdim=True), 1.0)
        drawn = (hard + (soft - soft.detach()))[:, self.inside]
        return x.index_copy(1, self.places, drawn)

    def _drawn(self, x: Tensor, gumbel: Tensor) -> Tensor:
        """The same rows where no gradient is wanted, which is quicker."""
        scores = (x.index_select(1, self.places) + gumbel).split([width for _, width in self.groups], dim=1)
        at = [part.argmax(1) + start for part, (start, _) in zip(scores, self.groups, strict=True)]
        return x.index_fill(1, self.places, 0.0).scatter(1, torch.stack(at, dim=1), 1.0)

    # margins ------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def settled(
        self, z: Tensor, shares: Tensor, *y: Tensor, squares: Mapping[int, Tensor] = MappingProxyType({})
    ) -> Heads:
        """A copy whose margins are those of the data, as far as z ``[n, latent + noise]`` shows them.

        To the logits of each group the constants are added that make the mean of their softmax the `shares`
        ``[noise]``; a number x becomes Phi^-1(F(x)), F the distribution of what the body makes of it, so that
        it is standard normal. Where the groups i and i + 1 are the row r and the place c of one category in a
        square, and `squares[i]` ``[R, C]`` its shares, r and c are drawn together, with probabilities
        proportional to e^(a_r + b_c) E_rc that on the mean are these. What depends on what stays the body's.
        """
        one = deepcopy(self)
        x = one.body(z[:, : z.shape[1] - self.noise], *y)
        if self.noise:
            widths = [width for _, width in self.groups]
            groups = zip(x[:, self.places].split(widths, 1), shares.to(x).split(widths), strict=True)
            shift = torch.cat([_shift(logits, some) for logits, some in groups])
            one.shift = x.new_zeros(x.shape[1]).index_copy(0, self.places, shift)
            x = x + one.shift
        for i, some in squares.items():
            (row, height), (place, width) = self.groups[i : i + 2]
            a, b = x[:, row : row + height], x[:, place : place + width]
            one.register_buffer(f"{_SQUARE}{i}", _square(a, b, some.to(x)))
        numbers = x[:, self._others(x)].T.sort(dim=1).values.contiguous()
        if not len(numbers):
            return one
        mean, reach = numbers.mean(1), (_FURTHEST * numbers.std(1)).clamp(min=1e-6)
        one.ends = torch.stack([mean - reach, mean + reach])
        knots = mean[:, None] + reach[:, None] * torch.linspace(-1, 1, _KNOTS).to(x)
        below = torch.searchsorted(numbers, knots)
        one.curves = torch.special.ndtri((below + 0.5) / (numbers.shape[1] + 1)).to(x).T.contiguous()
        return one

    def _others(self, x: Tensor) -> Tensor:
        """The places that belong to no group: those of numbers."""
        if self._rest is None or self._rest.device != x.device:
            grouped = {start + i for start, width in self.groups for i in range(width)}
            rest = [i for i in range(x.shape[1]) if i not in grouped]
            self._rest = torch.tensor(rest, dtype=torch.int64, device=x.device)
        return self._rest

    def _in_square(self, x: Tensor, gumbel: Tensor, i: int, square: Tensor) -> Tensor:
        """Logits of a row and a place that are drawn together: of the row by itself, and of the place given
        the row that it will be."""
        (row, height), (place, width) = self.groups[i : i + 2]
        noise = sum(size for _, size in self.groups[:i])
        a, b = x[:, row : row + height], x[:, place : place + width]
        most = b.max(1, keepdim=True).values
        a = a + ((b - most).exp() @ square.T).log() + most
        chosen = (a + gumbel[:, noise : noise + height].to(a.dtype)).argmax(1)
        places = torch.tensor([*range(row, row + height), *range(place, place + width)], device=x.device)
        return x.index_copy(1, places, torch.cat([a, b + square.log()[chosen]], dim=1))

    def _on_curves(self, x: Tensor, curves: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Numbers by their curves, which are straight between two knots."""
        at = self._others(x)
        place = ((x[:, at] - low) / (high - low) * (_KNOTS - 1)).clamp(0.0, _KNOTS - 1.001)
        left = place.nan_to_num().floor().long()
        moved = torch.lerp(curves.gather(0, left), curves.gather(0, left + 1), place - left)
        return x.index_copy(1, at, moved)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any, **options: Any) -> None:
        for name in _SETTLED:
            there = state_dict.get(prefix + name)
            setattr(self, name, None if there is None else torch.empty_like(there))
        for name in state_dict:
            if name.startswith(prefix + _SQUARE):
                self.register_buffer(name.removeprefix(prefix), torch.empty_like(state_dict[name]))
        super()._load_from_state_dict(state_dict, prefix, *args, **options)


def _shift(logits: Tensor, shares: Tensor) -> Tensor:
    """b ``[w]``, of sum 0, with mean softmax(logits + b) = shares: mean logsumexp(logits + b) - b . shares is
    least there, and Newton's steps, halved until they go down, find it.
    """

    def height(shift: Tensor) -> Tensor:
        return (logits + shift).logsumexp(1).double().mean() - (shift * shares).sum()

    shift = torch.zeros_like(shares)
    ridge = 1e-6 * torch.eye(len(shares), dtype=torch.float64, device=shares.device)
    for _ in range(20):
        p = (logits + shift).softmax(1)
        off = shares - p.mean(0)
        if not off.abs().max() > 1e-5:  # or nothing is a number
            break
        curvature = (torch.diag(p.mean(0)) - p.T @ p / len(p)).double() + ridge
        step = torch.linalg.solve(curvature, off.double())
        step = (step - step.mean()).clamp(-4, 4).to(shift)
        here = height(shift)
        while height(shift + step) > here and step.abs().max() > 1e-4:
            step = step / 2
        shift = shift + step
    return shift


def _square(a: Tensor, b: Tensor, shares: Tensor) -> Tensor:
    """E ``[R, C]`` with mean e^(a_r + b_c) E_rc / sum of all = shares, as near as 60 steps of iterative
    scaling (Darroch and Ratcliff 1972) come; 0 where the share is.
    """
    a, b = (a - a.max(1, keepdim=True).values).exp(), (b - b.max(1, keepdim=True).values).exp()
    E = (shares > 0).to(a)
    for _ in range(60):
        mean = E * ((a / ((a @ E) * b).sum(1, keepdim=True)).T @ b) / len(a)
        off = (shares - mean).abs().sum()
        if not off > 2e-3:  # or nothing is a number
            break
        E = E * (shares / mean.clamp(min=1e-12)).clamp(0.1, 10)
    return E.clamp(max=1e6)


def table_mlp(
    inputs: Shape,
    outputs: Shape,
    groups: Groups = (),
    width: int = 256,
    blocks: int = 2,
    temperature: float = 1.0,
    classes: int = 0,
) -> Heads:
    """A generator of rows: `residual_mlp` with `Heads`.

    inputs, outputs, width, blocks, classes: As of `residual_mlp`. groups: (start, width) of the one-hots of a
    row, which the data say. temperature: of the gradient through a draw.
    """
    return Heads(residual_mlp(inputs, outputs, width, blocks, classes=classes), tuple(groups), temperature)
