"""Conditions on columns of every kind: the rows that meet them are those that do by their cells, and what no
cell can meet is refused."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import numpy as np
import pytest
import torch

from refusals import refused
from zerosum.data import codec as codecs
from zerosum.data import kinds
from zerosum.data.column import Category, Constant, Follower, Identifier, Number
from zerosum.data.columns import Columns
from zerosum.data.sheet import Cells, Sheet, encoded
from zerosum.data.where import Condition, conditions, rows_that_meet

N = 900
RNG = np.random.default_rng(0)
SHOP = RNG.integers(0, 40, N)


def days(x: np.ndarray) -> np.ndarray:
    return np.datetime64("2024-01-30", "us") + x.astype("timedelta64[D]")


def cells_of(x: np.ndarray, kind: str) -> Cells:
    """The numbers 0, 1, ... as cells of a kind; of those with gaps every seventh value is missing."""
    gaps = x % 7 == 3
    if kind.startswith("number"):
        return np.where(gaps & kind.endswith("gaps"), np.nan, x / 4)
    if kind.startswith("whole"):
        return np.where(gaps, np.nan, x) if kind.endswith("gaps") else x * 3
    if kind == "large":
        return 2**60 + x
    if kind == "moment":
        return np.where(gaps, np.datetime64("NaT"), days(x))
    words: dict[str, Any] = {
        "flag": [bool(i % 2) for i in x.tolist()],
        "text": [f"v{i}" for i in x.tolist()],
        "grade": [("a", "b", "c")[i % 3] for i in x.tolist()],
        "day": np.datetime_as_string(days(x), unit="D").tolist(),
        "price": [f"${i},000.50" for i in (x + 1).tolist()],
    }
    some = words[kind.removesuffix(" with gaps")]
    return encoded(
        None if gap and kind.endswith("gaps") else cell for cell, gap in zip(some, gaps, strict=True)
    )


KINDS = [
    *("number", "number with gaps", "whole", "whole with gaps", "large", "moment", "flag", "flag with gaps"),
    *("text", "text with gaps", "grade", "day", "day with gaps", "price", "price with gaps"),
]


def tables() -> dict[str, tuple[Sheet, dict[str, str]]]:
    """Sheets of a column x, learnt, said to be a category, led by `shop`, of one value; and what is said."""
    found: dict[str, tuple[Sheet, dict[str, str]]] = {}
    for kind in KINDS:
        found[kind] = Sheet({"x": cells_of(RNG.integers(0, 30, N), kind)}), {}
        found[f"{kind}, said"] = Sheet({"x": cells_of(RNG.integers(0, 30, N), kind)}), {"x": "category"}
        led = {"shop": encoded([f"s{i}" for i in SHOP]), "x": cells_of(SHOP // 3, kind)}
        found[f"{kind}, led"] = Sheet(led), {}
        found[f"{kind}, one"] = Sheet({"x": cells_of(np.full(N, 4), kind)}), {}
    two = np.array([0, 1, np.nan])[RNG.integers(0, 3, N)]
    return found | {
        "two with gaps": (Sheet({"x": two}), {}),
        "two with gaps, led": (
            Sheet({"shop": encoded([f"s{i}" for i in SHOP]), "x": np.array([0, 1, np.nan])[SHOP % 3]}),
            {},
        ),
    }


TABLES = tables()


@pytest.fixture(scope="module")
def learnt() -> dict[str, tuple[Columns, Sheet]]:
    """Their codecs, after a journey through plain data, and rows that are made."""
    found: dict[str, tuple[Columns, Sheet]] = {}
    for case, (sheet, said) in TABLES.items():
        codec = codecs.restore(json.loads(json.dumps(kinds.fit(sheet, None, "ranks", said).state_dict())))
        assert isinstance(codec, Columns)
        z = torch.randn(500, *codec.shape, generator=torch.Generator().manual_seed(0))
        found[case] = codec, codec.decode(z)
    return found


def comparable(cell: Any, kind: str) -> Any:
    """A cell as it has an order: dates as their texts, which have the same one."""
    if cell is not None and kind.startswith("price"):
        return float(cell.replace("$", "").replace(",", ""))
    if isinstance(cell, dt.datetime):
        return cell.isoformat(timespec="microseconds")
    return cell


@pytest.mark.parametrize("case", TABLES)
def test_rows_meet_a_condition_by_their_cells(learnt: dict[str, tuple[Columns, Sheet]], case: str) -> None:
    codec, made = learnt[case]
    kind = case.partition(",")[0]
    real = TABLES[case][0]
    for sheet in (made, real):
        cells = [comparable(cell, kind) for cell in sheet.objects("x")]
        there = sorted({cell for cell in cells if cell is not None})
        pairs = {comparable(cell, kind): cell for cell in sheet.objects("x")}
        one, other = pairs[there[len(there) // 2]], pairs[there[0]]
        middle, least = there[len(there) // 2], there[0]

        def met(where: Any, sheet: Sheet = sheet) -> list[bool]:
            return rows_that_meet(sheet, conditions(where, codec)).tolist()

        assert met({"x": one}) == met(f"x = {one}") == [cell == middle for cell in cells]
        assert met({"x": [one, other]}) == met(f"x in {one}|{other}") == [x in (middle, least) for x in cells]
        if len({*cells}) > 1:
            assert met(f"x != {one}") == [cell != middle for cell in cells]
        if None in cells:
            assert met({"x": None}) == met("x =") == [cell is None for cell in cells]
        has_order = not kind.startswith(("flag", "text", "grade"))
        if has_order:
            assert (
                met({"x": (one, None)})
                == met(f"x >= {one}")
                == [x is not None and x >= middle for x in cells]
            )
            assert met(f"x <= {other}") == [x is not None and x <= least for x in cells]
    for wrong in ("x = nonsense", {"x": [one, "nonsense"]}, "x = 9999-12-30", {"x": []}):
        with refused("x"):
            conditions(wrong, codec)
    beyond = {"m": "9999-12-30", "d": "9999-12-30", "p": "$99,000.50"}.get(kind[0], 2**62)
    for wrong in (f"x > {beyond}", f"x = {beyond}", "x <", "x >= nonsense"):
        with refused("x"):
            conditions(wrong, codec)
    if not has_order:
        with refused("x", "order"):
            conditions(f"x >= {one}", codec)
    if not any(cell is None for cell in real.objects("x")):
        with refused("x", "missing"):
            conditions("x =", codec)


def test_all_kinds_of_columns_are_among_those(learnt: dict[str, tuple[Columns, Sheet]]) -> None:
    found = {type(codec.columns[-1]) for codec, _ in learnt.values()}
    assert found == {Number, Category, Follower, Constant}
    assert sum(isinstance(codec.columns[-1], Follower) for codec, _ in learnt.values()) >= len(KINDS) - 1


def test_identifiers_are_asked_for_by_what_they_are() -> None:
    sheet = Sheet({"id": np.arange(100), "code": encoded([f"C{i:03d}" for i in range(100)])})
    codec = kinds.fit(sheet)
    assert all(isinstance(column, Identifier) for column in codec.columns)
    made = codec.decode(torch.zeros(50, *codec.shape))
    met = rows_that_meet(made, conditions("id >= 120 and code != C130", codec))
    assert met.tolist() == [i >= 20 and i != 30 for i in range(50)]
    for name, wrong in (("id", "id = C120"), ("id", "id ="), ("code", "code ="), ("code", "code > C120")):
        with refused(name):
            conditions(wrong, codec)


def test_what_is_wanted_is_understood_once() -> None:
    codec = kinds.fit(TABLES["day"][0], None, "ranks")
    day = (dt.date(2024, 2, 1) - dt.date(1970, 1, 1)).days
    assert conditions("x >= 2024-02-01", codec) == [Condition("x", ">=", (day,), "%Y-%m-%d")]
