"""Rows that a generator makes: each group has exactly one 1, drawn at its share; gradients pass through."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from zerosum.networks import Heads, mlp, table_mlp

GROUPS = ((1, 3), (4, 2), (7, 5))


@pytest.fixture(autouse=True)
def one_start() -> None:
    """The same weights in every run: what is drawn with them is compared with shares."""
    torch.manual_seed(0)


def z_of(heads: Heads, n: int, latent: int = 4) -> torch.Tensor:
    return torch.randn(n, latent + heads.noise, generator=torch.Generator().manual_seed(0))


def test_every_group_has_exactly_one_and_numbers_pass() -> None:
    heads = table_mlp((4,), (12,), GROUPS, width=8)
    z = z_of(heads, 200)
    x, body = heads(z), heads.body(z[:, :4])
    assert heads.noise == 10
    for start, width in GROUPS:
        group = x[:, start : start + width]
        assert (group.sum(1) == 1).all() and ((group == 0) | (group == 1)).all()
    assert torch.equal(x[:, [0, 6]], body[:, [0, 6]])


def test_values_are_drawn_at_their_softmax() -> None:
    body = nn.Linear(4, 12)
    nn.init.zeros_(body.weight)
    heads = Heads(body, GROUPS)
    x = heads(z_of(heads, 40_000)).mean(0)
    for start, width in GROUPS:
        expected = body.bias[start : start + width].softmax(0)
        assert torch.allclose(x[start : start + width], expected, atol=0.01)


def test_gradients_are_those_of_the_softmax() -> None:
    heads = table_mlp((4,), (12,), GROUPS, width=8, temperature=0.7)
    z = z_of(heads, 5)
    logits = heads.body(z[:, :4]).detach().requires_grad_()
    fixed = Heads(nn.Identity(), GROUPS, 0.7)
    weights = torch.randn(12, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((fixed(torch.cat([logits, z[:, 4:]], 1)) * weights).sum(), logits)
    gumbel = -(-torch.special.log_ndtr(z[:, 4:])).log()
    at = 0
    for start, width in GROUPS:
        part = logits[:, start : start + width].detach().requires_grad_()
        soft = ((part + gumbel[:, at : at + width]) / 0.7).softmax(1)
        (own,) = torch.autograd.grad((soft * weights[start : start + width]).sum(), part)
        assert torch.allclose(gradient[:, start : start + width], own, atol=1e-6)
        at += width


@pytest.mark.parametrize("n", [1, 3, 50])
def test_a_row_follows_from_its_z_alone(n: int) -> None:
    heads = table_mlp((4,), (12,), GROUPS, width=8)
    z = z_of(heads, 50)
    assert torch.allclose(heads(z)[:n], heads(z[:n]), atol=1e-6)


def test_without_groups_it_is_the_network() -> None:
    heads = table_mlp((4,), (6,), (), width=8)
    z = z_of(heads, 9)
    assert heads.noise == 0 and torch.equal(heads(z), heads.body(z))
    with_classes = table_mlp((4,), (12,), GROUPS, width=8, classes=3)
    assert with_classes(z_of(with_classes, 2), torch.tensor([0, 2])).shape == (2, 12)
    assert mlp((4,), (6,), width=8)(z).shape == (9, 6)


def test_a_settled_copy_has_the_margins_of_the_data_and_travels() -> None:
    heads = table_mlp((4,), (12,), GROUPS, width=8)
    with torch.no_grad():
        heads.body.layers[-1].weight *= 20  # logits that are sure of themselves, numbers far from normal
    shares = torch.tensor([0.7, 0.2, 0.1, 0.99, 0.01, *[0.2] * 5])
    z = z_of(heads, 60_000)
    settled = heads.settled(z[:30_000], shares)
    with torch.no_grad():
        before, x = heads(z[30_000:]), settled(z[30_000:])
    places = [start + i for start, width in GROUPS for i in range(width)]
    assert (before[:, places].mean(0) - shares).abs().max() > 0.05
    assert (x[:, places].mean(0) - shares).abs().max() < 0.01
    q = torch.linspace(0.01, 0.99, 33)
    for place in (0, 6):
        assert torch.allclose(torch.special.ndtr(x[:, place].quantile(q)), q, atol=0.012)
        assert (x[:, place][before[:, place].argsort()].diff() >= 0).all()  # what is larger stays larger
    fresh = table_mlp((4,), (12,), GROUPS, width=8)
    fresh.load_state_dict(settled.state_dict())
    with torch.no_grad():
        assert torch.equal(fresh(z), settled(z)) and "curves" not in heads.state_dict()


def test_what_is_no_number_settles_nothing() -> None:
    heads = table_mlp((4,), (12,), GROUPS, width=8)
    with torch.no_grad():
        heads.body.layers[-1].weight.fill_(torch.nan)
    z = z_of(heads, 50)
    assert heads.settled(z, torch.full((10,), 0.2))(z)[:, [0, 6]].isnan().all()


def test_without_gradients_the_same_rows_are_drawn() -> None:
    heads = table_mlp((4,), (12,), GROUPS, width=8)
    z = z_of(heads, 300)
    with torch.no_grad():
        quick = heads(z)
    assert torch.equal(quick, heads(z).detach())


def test_the_two_parts_of_a_category_are_drawn_together_at_its_shares() -> None:
    """Of a square of 5 x 4 in which three values are none; numbers and another group stand around it."""
    groups = ((1, 3), (4, 5), (9, 4))
    heads = table_mlp((4,), (14,), groups, width=8)
    with torch.no_grad():
        heads.body.layers[-1].weight *= 20
    draw = torch.Generator().manual_seed(0)
    square = torch.rand(5, 4, generator=draw, dtype=torch.float64) ** 4
    square.view(-1)[-3:] = 0
    square /= square.sum()
    shares = torch.cat([torch.tensor([0.5, 0.3, 0.2]), square.sum(1), square.sum(0)])
    z = z_of(heads, 60_000)
    settled = heads.settled(z[:30_000], shares, squares={1: square})
    with torch.no_grad():
        rows, apart = settled(z[30_000:]), heads.settled(z[:30_000], shares)(z[30_000:])
    found, before = (torch.einsum("nr,nc->rc", x[:, 4:9], x[:, 9:13]) / 30_000 for x in (rows, apart))
    assert (found - square).abs().max() < 0.01 < 0.03 < (before - square).abs().max()
    assert (found.view(-1)[-3:] == 0).all() and (rows[:, 1:13].sum(1) == 3).all()
    fresh = table_mlp((4,), (14,), groups, width=8)
    fresh.load_state_dict(settled.state_dict())
    drawn = fresh(z[:50])  # with a gradient
    assert torch.allclose(drawn, settled(z[:50]), atol=1e-6) and drawn.requires_grad
    assert torch.autograd.grad(drawn.square().sum(), fresh.body.layers[-1].weight)[0].isfinite().all()
