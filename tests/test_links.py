"""Columns that follow from others agree in whatever G makes, and none is taken to follow by chance."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cases import cases
from zerosum.data import codec as codecs
from zerosum.data import kinds
from zerosum.data.column import Category, Follower
from zerosum.data.columns import Columns
from zerosum.data.sheet import Sheet, encoded
from zerosum.metrics import tables


def made(sheet: Sheet, n: int = 400, **options: Any) -> tuple[Columns, Sheet]:
    codec = codecs.restore(json.loads(json.dumps(kinds.fit(sheet, None, "ranks", **options).state_dict())))
    assert isinstance(codec, Columns)
    z = 2 * torch.randn(n, *codec.shape, generator=torch.Generator().manual_seed(0))
    return codec, codec.decode(z)


def agree(real: Sheet, fake: Sheet, *names: str) -> bool:
    return set(fake.only(names).rows()) <= set(real.only(names).rows())


def as_cells(x: np.ndarray, kind: str) -> Any:
    """The numbers 0, 1, ... as cells of a kind; of those with holes 3 is missing."""
    if kind == "text":
        return encoded([f"v{i}" for i in x])
    if kind == "text with holes":
        return encoded([None if i == 3 else f"v{i}" for i in x])
    if kind == "day":
        return encoded([str(np.datetime64("2024-01-30") + int(i)) for i in x])
    if kind == "number with holes":
        return np.where(x == 3, np.nan, x / 4)
    return x * 3 - 5


KINDS = "text", "text with holes", "day", "number with holes", "whole"


@st.composite
def planted(draw: st.DrawFn) -> tuple[Sheet, list[tuple[str, ...]]]:
    """A table, and the sets of its columns of which one follows from the others."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = 1000
    codes = {
        f"free{i}": rng.integers(0, size, n) for i, size in enumerate(draw(st.permutations([4, 9, 25, 80])))
    }
    if draw(st.booleans()):  # values of very different shares
        codes["free0"] = np.minimum(rng.geometric(0.3, n), 12)
    links: list[tuple[str, ...]] = []
    for i in range(draw(st.integers(1, 4))):
        names = sorted(codes)
        of = draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
        if np.prod([codes[name].max() + 1 for name in of]) > n / 3:
            of = of[:1]
        size = draw(st.integers(2, 12))
        table = rng.permutation(np.arange(400_000) % size)
        key = codes[of[0]] if len(of) == 1 else codes[of[0]] * 500 + codes[of[1]]
        codes[f"led{i}"] = table[key]
        links.append((*of, f"led{i}"))
        if draw(st.booleans()):  # a second column from which it follows
            codes[f"more{i}"] = codes[f"led{i}"] * 6 + rng.integers(0, 6, n)
            links.append((f"more{i}", f"led{i}"))
    order = draw(st.permutations(sorted(codes)))
    cells = {name: as_cells(codes[name], draw(st.sampled_from(KINDS))) for name in order}
    return Sheet(cells), links


@cases(15)
@given(planted())
def test_columns_that_follow_from_one_or_two_others_agree_in_every_row(
    case: tuple[Sheet, list[tuple[str, ...]]],
) -> None:
    sheet, links = case
    codec, fake = made(sheet)
    for *of, name in links:
        present = {row[-1] for row in sheet.only([*of, name]).rows() if None not in row[:-1]}
        if len(present) > 1:  # that cells are missing shows nothing
            assert agree(sheet, fake, *of, name), (of, name)
    real, of_fake = codec.arrays(sheet), codec.arrays(fake)
    assert tables.consistency(real, of_fake) == 1
    assert list(codec.decode(codec.encode(sheet)).rows()) == list(sheet.rows())


@cases(30)
@given(st.integers(0, 2**32), st.lists(st.sampled_from([2, 3, 8, 40, 150, 300]), min_size=3, max_size=8))
def test_in_random_tables_nothing_follows(seed: int, sizes: list[int]) -> None:
    rng = np.random.default_rng(seed)
    shares = [rng.dirichlet(np.full(size, rng.choice([0.1, 1.0, 10.0]))) for size in sizes]
    cells = {f"c{i}": encoded(f"v{v}" for v in rng.choice(len(p), 300, p=p)) for i, p in enumerate(shares)}
    codec = kinds.fit(Sheet(cells), None, "ranks")
    assert not codec.within and not any(isinstance(column, Follower) for column in codec.columns)


def owned(n: int = 4000) -> Sheet:
    """300 machines of 6 owners, of which a few change hands; places that their distance nearly tells."""
    rng = np.random.default_rng(1)
    machine, place = rng.integers(0, 300, n), rng.integers(0, 80, n)
    owner = np.where(rng.random(n) < 0.004, rng.integers(0, 6, n), machine * 7 % 6)
    away = np.where(rng.random(n) < 0.01, 5, place * 13 % 80 * 10 + 100)
    return Sheet(
        {
            "machine": encoded(f"m{i}" for i in machine),
            "owner": encoded(f"o{i}" for i in owner),
            "place": encoded(f"p{i}" for i in place),
            "distance": away,
            "noise": rng.normal(size=n).round(2),
            "stamp": rng.integers(0, n, n) * 3,
        }
    )


def test_columns_that_nearly_follow_are_together_only_as_in_the_data_exceptions_among_them() -> None:
    sheet = owned()
    codec, fake = made(sheet, 2000)
    assert {one.name: one.given for one in codec.within} == {"owner": ("machine",), "distance": ("place",)}
    assert agree(sheet, fake, "machine", "owner") and agree(sheet, fake, "distance", "place")
    assert list(codec.decode(codec.encode(sheet)).rows()) == list(sheet.rows())


def test_what_many_values_are_like_is_the_row_of_their_square() -> None:
    codec, _ = made(owned())
    machine = next(column for column in codec.columns if column.name == "machine")
    assert isinstance(machine, Category)
    owners = [int(value[1:]) * 7 % 6 for value in machine.values]
    rows = [owners[i : i + machine.groups[1]] for i in range(0, len(owners), machine.groups[1])]
    assert sum(len(set(row)) for row in rows) < 1.7 * len(rows)  # of 6, if they stood in any order
    assert sum(machine.shares) == pytest.approx(1)


def test_flights() -> None:
    """An hour follows from two columns, a distance from two together, and a date holds a fine one."""
    rng = np.random.default_rng(0)
    n = 6000
    day, hour, minute = rng.integers(0, 300, n), rng.integers(5, 23, n), rng.integers(0, 12, n) * 5
    origin, goal = rng.integers(0, 3, n), rng.integers(0, 30, n)
    away = rng.permutation(np.arange(90) // 2 * 37 + 100)
    when = np.datetime64("2013-01-01T00") + day * np.timedelta64(24, "h") + hour * np.timedelta64(1, "h")
    sheet = Sheet(
        {
            "scheduled": hour * 100 + minute,
            "origin": encoded(f"origin {i}" for i in origin),
            "goal": encoded(f"goal {i}" for i in goal),
            "distance": away[origin * 30 + goal],
            "hour": hour,
            "month": when.astype("datetime64[M]").astype(int) % 12 + 1,
            "when": encoded(str(x).replace("T", " ") + ":00" for x in when),
        }
    )
    codec, fake = made(sheet, 3000)
    followers = {c.name: c.of for c in codec.columns if isinstance(c, Follower)}
    assert followers == {"distance": ("origin", "goal"), "hour": "scheduled", "month": "when"}
    assert [(one.name, one.given) for one in codec.within] == [("when", ("hour",))]
    for names in (("scheduled", "hour"), ("when", "hour"), ("when", "month"), ("origin", "goal", "distance")):
        assert agree(sheet, fake, *names)
    spread = np.bincount(np.array(fake.objects("month"), dtype=int), minlength=13)[1:11]
    assert spread.min() > 100  # moved to the nearest, not to one of them
    told = "\n".join(kinds.describe(codec))
    assert "distance of origin and goal" in told and "when with hour" in told


@pytest.mark.parametrize("size", [20, 5000])
def test_a_value_that_the_data_never_have_beside_another_is_one_that_they_have(size: int) -> None:
    """Of a category as often as they have it; what follows from one of many is learnt beside it."""
    rng = np.random.default_rng(0)
    plane = np.sort(rng.integers(0, size, 20_000))
    carrier = np.minimum(plane * 8 // size, 6)  # the last has two shares
    sheet = Sheet({"plane": encoded(f"N{i}" for i in plane), "carrier": encoded(f"c{i}" for i in carrier)})
    codec, fake = made(sheet, 8000)
    assert agree(sheet, fake, "plane", "carrier")
    assert [one.name for one in codec.within] == (["plane"] if size > 64 else [])
    if codec.within:
        assert len(set(fake.objects("plane"))) > 0.6 * size
