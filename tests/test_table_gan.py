"""A model of a frame: the same again from a seed or a folder, rows that meet what is asked, frames out."""

from __future__ import annotations

import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars
import pytest
import torch

from zerosum.cli import main
from zerosum.data import kinds
from zerosum.data.columns import Columns
from zerosum.data.frames import Like
from zerosum.data.sheet import Sheet, encoded
from zerosum.data.tables import frame
from zerosum.data.where import MOST_DRAWN, conditions, draw_where, rows_that_meet
from zerosum.randomness import stream
from zerosum.sampling.generator import settled
from zerosum.tables import TableGAN

SMALL: dict[str, Any] = {"batch": 32, "G__width": 16, "D__width": 16}


def people(n: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    age = rng.integers(18, 90, n)
    frame = pd.DataFrame(
        {
            "age": age,
            "sex": rng.choice(["Female", "Male"], n),
            "first seen": pd.to_datetime("2020-01-01") + pd.to_timedelta(rng.integers(0, 1000, n), "D"),
            "income": np.round(rng.lognormal(3, 1, n), 2),
            "member": rng.random(n) < 0.3,
        }
    )
    frame.loc[rng.random(n) < 0.2, "income"] = np.nan
    return frame


@pytest.fixture(scope="module")
def model() -> TableGAN:
    return TableGAN(steps=40, **SMALL).fit(people(), progress=False)


def test_frames_come_out_as_they_went_in(model: TableGAN) -> None:
    real, made = people(), model.sample(300)
    assert list(made) == list(real) and len(made) == 300 and (made.dtypes == real.dtypes).all()
    assert made["age"].between(18, 89).all() and set(made["sex"]) <= {"Female", "Male"}
    assert made["income"].isna().any() and made["first seen"].between("2020-01-01", "2022-09-27").all()
    pd.testing.assert_frame_equal(made, model.sample(300))
    pd.testing.assert_frame_equal(made.iloc[:100], model.sample(100))
    assert not made.equals(model.sample(300, seed=1))


def test_a_fit_can_be_repeated_and_gone_on_with(tmp_path: Path, model: TableGAN) -> None:
    again = TableGAN(steps=40, **SMALL).fit(people(), progress=False)
    pd.testing.assert_frame_equal(again.sample(50), model.sample(50))
    half = TableGAN(steps=40, **SMALL)
    half.recipe = model.recipe
    half.fit(people(), progress=False).save(tmp_path / "m")
    loaded = TableGAN.load(tmp_path / "m")
    pd.testing.assert_frame_equal(loaded.sample(50), model.sample(50))
    pd.testing.assert_frame_equal(
        loaded.fit(people(), steps=60, progress=False).sample(50),
        half.fit(people(), steps=60, progress=False).sample(50),
    )
    with pytest.raises(ValueError):
        loaded.fit(people(399), progress=False)


def test_epochs_are_counted_in_rows() -> None:
    small = TableGAN(**SMALL).fit(people(320), epochs=2, progress=False)
    assert small.game is not None and small.game.step == 20 and small.recipe.steps == 20


@pytest.mark.parametrize("damage", ["absent", "empty", "cut", "other"])
def test_a_folder_without_a_model_is_refused(tmp_path: Path, model: TableGAN, damage: str) -> None:
    if damage != "absent":
        model.save(tmp_path)
        content = (tmp_path / "model.pt").read_bytes()
        (tmp_path / "model.pt").write_bytes({"empty": b"", "cut": content[:-900], "other": b"text"}[damage])
    with pytest.raises(ValueError) as error:
        TableGAN.load(tmp_path)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError):
        TableGAN().sample(1)


WHERE: dict[str, Any] = {
    "equal": ("sex=Female", lambda f: f["sex"] == "Female"),
    "and": ("sex = Female and age>60", lambda f: (f["sex"] == "Female") & (f["age"] > 60)),
    "between": ("age>=30 and age<=40", lambda f: f["age"].between(30, 40)),
    "quoted": ("'first seen' >= 2022-01-01", lambda f: f["first seen"] >= "2022-01-01"),
    "not": ("sex!=Male", lambda f: f["sex"] != "Male"),
    "missing": ("income=", lambda f: f["income"].isna()),
    "in": ("sex in Female|Male and member = True", lambda f: f["member"]),
    "mapping": ({"sex": "Male", "age": (None, 50)}, lambda f: (f["sex"] == "Male") & (f["age"] <= 50)),
    "list": ({"age": [20, 30, 40, 50]}, lambda f: f["age"].isin([20, 30, 40, 50])),
}


@pytest.mark.parametrize("case", WHERE)
def test_every_row_meets_the_condition(model: TableGAN, case: str) -> None:
    where, meets = WHERE[case]
    made = model.sample(60, where=where)
    assert len(made) == 60 and meets(made).all()
    free = model.sample(1024)
    first = free[meets(free)].iloc[:60].reset_index(drop=True)
    pd.testing.assert_frame_equal(made.iloc[: len(first)], first)


@pytest.mark.parametrize(
    "where",
    [
        "",
        "age",
        "colour=red",
        "sex=Neither",
        "age>old",
        "age=",
        {},
        {"sex": ["Male", "None"]},
        "sex in Male|x",
    ],
)
def test_conditions_that_cannot_be_met_are_refused(model: TableGAN, where: Any) -> None:
    with pytest.raises(ValueError) as error:
        model.sample(5, where=where)
    assert "\n" not in str(error.value)


def sheet_of(n: int = 50) -> tuple[Sheet, Columns]:
    words = encoded([["a", "b and c", None][i % 3] for i in range(n)])
    sheet = Sheet({"x": np.arange(n) % 7, "k": words})
    return sheet, kinds.fit(sheet, encoding="ranks")


def test_words_in_quotes_are_values() -> None:
    sheet, codec = sheet_of()
    found = conditions("k = 'b and c' and x != 3", codec)
    assert len(found) == 2
    met = rows_that_meet(sheet, found)
    assert met.tolist() == [i % 3 == 1 and i % 7 != 3 for i in range(50)]


def test_a_search_without_end_ends() -> None:
    _, codec = sheet_of()
    drawn: list[int] = []

    def draw(size: int, first: int) -> Sheet:
        drawn.append(size)
        return Sheet({"x": np.zeros(size, dtype=np.int64), "k": encoded(["a"] * size)})

    with pytest.raises(ValueError):
        draw_where(draw, "x=3", 10, codec)
    assert sum(drawn) < 1.1 * MOST_DRAWN


def test_the_command_line_draws_rows_that_meet_conditions(tmp_path: Path) -> None:
    data, run, out = tmp_path / "people.csv", tmp_path / "run", tmp_path / "made.csv"
    people().to_csv(data, index=False)
    small = ["--G.width", "16", "--D.width", "16", "--batch", "32", "--watch", "none", "--quiet"]
    assert main(["train", "table", "--data", str(data), "--steps", "30", "--out", str(run), *small]) == 0
    where = ["--where", "sex=Female and age>=40"]
    assert main(["sample", str(run), "--n", "50", "--out", str(out), "--quiet", *where]) == 0
    made = pd.read_csv(out)
    assert len(made) == 50 and (made["sex"] == "Female").all() and (made["age"] >= 40).all()
    assert main(["sample", str(run), "--n", "5", "--out", str(out), "--quiet"]) == 0
    for wrong in (["--where", "sex=Neither"], ["--where", "colour=red"], ["--where", "age"]):
        assert main(["sample", str(run), "--n", "5", "--out", str(out), "--quiet", *wrong]) in (1, 2)
    assert main(["sample", str(run), "--out", str(tmp_path / "x.png"), *where]) == 2


@pytest.mark.parametrize(
    "columns",
    [
        {"a": [1], "b": ["x"]},
        {"a": [1] * 9, "b": ["x"] * 9},
        {"id": [f"C{i:03d}" for i in range(30)]},
        {"a": [1, 2, 3], "b": ["x", "y", "x"], "c": [0.5, None, 1.5]},
        {"day": [f"2024-01-{1 + i % 28:02d}" for i in range(40)]},
        {"k": [f"v{i % 70}" for i in range(140)]},
        {"price": [f"${i * 731:,d}" for i in range(40)], "share": [f"{i % 50}%" for i in range(40)]},
    ],
    ids=str,
)
def test_any_table_is_learnt_and_drawn_with_no_option_set(columns: dict[str, list[Any]]) -> None:
    frame = pd.DataFrame(columns)
    made = TableGAN(steps=1, batch=4, G__width=8, D__width=8).fit(frame, progress=False).sample(5)
    assert list(made) == list(columns) and len(made) == 5
    for name, cells in columns.items():
        if name not in ("id", "day", "price"):
            assert set(made[name].dropna()) <= set(cells)


def test_columns_are_called_as_the_frame_calls_them(tmp_path: Path) -> None:
    frame = pd.DataFrame(np.arange(60.0).reshape(20, 3) % 7)
    model = TableGAN(steps=1, batch=4, G__width=8, D__width=8).fit(frame, progress=False)
    model.save(tmp_path / "model")
    for one in (model, TableGAN.load(tmp_path / "model")):
        assert list(one.sample(4, where={0: (3, None)})) == [0, 1, 2]


def some(seed: int, *cells: Any, n: int = 60) -> list[Any]:
    return [cells[i] for i in np.random.default_rng(seed).integers(len(cells), size=n)]


def whatever_pandas_holds() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "nullable": pd.array(some(1, 1, None, 3, 4), dtype="Int64"),
            "flag": pd.array(some(2, True, None), dtype="boolean"),
            "text": pd.array(some(3, "x", None, "y"), dtype="string"),
            "choice": pd.Categorical(some(4, 3, 1, 2), [2, 1, 3], ordered=True),
            "large": pd.array(some(21, 2**60, 2**60 + 1, None), dtype="Int64"),
            "objects": some(5, 1, None, 2.5, 7),
            "unsigned": np.array(some(6, 2**63, 2**63 + 5, 7), dtype=np.uint64),
            "small": np.array(some(7, *range(9)), dtype=np.int8),
            "single": np.array(some(8, *range(9)), dtype=np.float32) / 4,
            "exact": [Decimal(i) / 4 for i in some(9, *range(9))],
            "span": pd.to_timedelta(some(10, *range(0, 810, 90)), unit="s"),
            "moment": pd.date_range("2024-01-01", periods=60, tz="Europe/Berlin"),
        }
    )


def whatever_polars_holds() -> polars.DataFrame:
    day = date(2024, 1, 1)
    return polars.DataFrame(
        {
            "age": polars.Series(some(11, 1, None, 3, 90), dtype=polars.Int16),
            "large": polars.Series(some(21, 2**60, 2**60 + 1, None), dtype=polars.Int64),
            "unsigned": polars.Series(some(12, 2**63, 2**63 + 5, 7), dtype=polars.UInt64),
            "price": polars.Series(some(13, *map(Decimal, ("0.25", "1.50", "9.75")))),
            "kind": polars.Series(some(14, "x", None, "y"), dtype=polars.Categorical),
            "grade": polars.Series(some(15, "c", "a", "b"), dtype=polars.Enum(["b", "a", "c", "d"])),
            "flag": some(16, True, None, False),
            "day": [day + timedelta(i) for i in some(17, *range(99))],
            "moment": [datetime(2024, 1, 1) + timedelta(seconds=i) for i in some(18, *range(9999))],
            "hour": [time(i) for i in some(19, 1, 5, 23)],
            "span": [timedelta(seconds=i) for i in some(20, *range(0, 810, 90))],
        }
    )


@pytest.mark.parametrize("make", [whatever_pandas_holds, whatever_polars_holds])
def test_columns_have_the_types_that_they_had(make: Any, tmp_path: Path) -> None:
    given = make()
    model = TableGAN(steps=1, batch=4, G__width=8, D__width=8).fit(given, progress=False)
    model.save(tmp_path / "model")
    made, again = model.sample(40), TableGAN.load(tmp_path / "model").sample(40)
    assert type(made) is type(again) is type(given)
    types = dict(zip(given.columns, given.dtypes, strict=True))
    if isinstance(given, pd.DataFrame):
        types |= dict.fromkeys(("exact", "objects"), np.dtype("float64"))  # they were objects
        assert dict(made.dtypes) == types
        assert dict(again.dtypes) == types
    else:
        assert dict(made.schema) == dict(again.schema) == types


def whatever_is_a_category() -> pd.DataFrame:
    age, days = np.array(some(1, *range(90))), pd.date_range("2024-01-01", periods=60)
    cells: dict[str, Any] = {
        "interval": pd.cut(age, 5),
        "quantile": pd.qcut(age, 3),
        "open": pd.cut(age, [-math.inf, 20, math.inf], right=False),
        "span of days": pd.cut(pd.Series(days), 3),
        "float": pd.Categorical(some(2, 0.5, 1.5), [1.5, 0.5, 2.5], ordered=True),
        "whole": pd.Categorical(some(3, 3, 1, None), [3, 1, 2], ordered=True),
        "large": pd.Categorical(some(3, 2**60, 2**60 + 1, None)),
        "flag": pd.Categorical(some(4, True, None, False)),
        "text": pd.Categorical(some(5, "x", "y"), ["y", "x", "z"]),
        "price": pd.Categorical(some(6, "$1,000", "$2,000")),
        "written day": pd.Categorical(some(7, "2024-01-01", "2024-05-01", "2024-02-01")),
        "day": pd.Categorical(days[some(8, 1, 20, 50)]),
        "zone": pd.Categorical(days.tz_localize("Europe/Berlin")[some(9, 1, 20)], ordered=True),
        "date": pd.Categorical([date(2024, 1, i) for i in some(10, 1, 20)]),
        "time": pd.Categorical(pd.to_timedelta(some(11, 1, 20), unit="h")),
        "month": pd.Categorical(pd.period_range("2024-01", periods=12, freq="M")[some(12, 1, 8)]),
    }
    return pd.DataFrame(cells)


def test_categories_are_those_of_the_frame_in_their_order(tmp_path: Path) -> None:
    given = whatever_is_a_category()
    model = TableGAN(steps=1, batch=4, G__width=8, D__width=8).fit(given, progress=False)
    model.save(tmp_path / "model")
    TableGAN.load(tmp_path / "model").save(tmp_path / "again")
    made = model.sample(60)
    assert made.dtypes.equals(given.dtypes)
    for name in given:
        assert set(made[name].dropna()) <= set(given[name].dropna())
        assert given[name].isna().any() or not made[name].isna().any()
    for again in ("model", "again"):
        rows = TableGAN.load(tmp_path / again).sample(60)
        pd.testing.assert_frame_equal(rows.drop(columns="date"), made.drop(columns="date"))
        assert rows["date"].astype(str).tolist() == made["date"].astype(str).tolist()  # texts, once loaded


def test_a_type_that_cannot_hold_what_was_drawn_is_left() -> None:
    sheet = Sheet({"small": np.array([1.0, math.nan]), "choice": encoded(["2", "5"])})
    made = Like.of(whatever_pandas_holds()).frame(sheet)
    assert made["small"].dtype == np.float64 and made["choice"].tolist() == ["2", "5"]


def test_whatever_pandas_holds_is_a_table() -> None:
    given = whatever_pandas_holds()
    source = frame(given, "all", encoding="ranks")
    kinds_of = {column.name: column.kind for column in source.codec.columns}
    assert kinds_of == {
        "nullable": "whole",
        "flag": "category",
        "text": "category",
        "choice": "category",
        "large": "category",
        "objects": "number",
        "unsigned": "category",
        "small": "whole",
        "single": "number",
        "exact": "number",
        "span": "whole",
        "moment": "date",
    }
    made = source.codec.decode(torch.randn(40, *source.shape, generator=stream("made")))
    assert set(made.objects("unsigned")) == {"7", "9223372036854775808", "9223372036854775813"}
    assert set(made.objects("large")) == {None, str(2**60), str(2**60 + 1)}
    assert set(made.objects("choice")) == {1, 2, 3} and set(made.objects("flag")) == {True, None}
    assert set(made.objects("objects")) <= {None, *np.arange(1, 7.5, 0.5)} and max(made["span"]) <= 720


def test_values_that_occur_once_are_in_as_many_rows_as_the_data_have() -> None:
    rng = np.random.default_rng(0)
    n = 1500
    common = rng.integers(0, 90, n)
    frame = pd.DataFrame({"age": rng.integers(0, 50, n), "plane": [f"N{i}" for i in common]})
    frame.loc[:19, "plane"] = [f"once {i}" for i in range(20)]
    frame["level"] = np.where(np.arange(n) == 700, "only", np.where(rng.random(n) < 0.5, "low", "high"))
    model = TableGAN(steps=2, G__width=8, D__width=8).fit(frame, progress=False)
    for seed in (0, 1):
        rows = model.sample(n, seed=seed)
        assert all(set(rows[name]) == set(frame[name]) for name in ("plane", "level"))
        assert model.sample(n // 2, seed=seed).equals(rows[: n // 2])
    first = [set(model.sample(n // 4, seed=seed)["plane"]) for seed in range(8)]
    assert sum("once 3" in some for some in first) < 8  # not in the same rows of every seed


def test_margins_are_settled_once_for_all_that_draw_from_a_game() -> None:
    model = TableGAN(steps=2, G__width=8, D__width=8).fit(people(), progress=False)
    assert model.game is not None and model.codec is not None
    once = settled(model.game, model.codec)
    assert (
        settled(model.game, model.codec) is once and settled(model.game, model.codec, live=True) is not once
    )
    before = model.sample(50)
    model.fit(people(), steps=4, progress=False)
    assert settled(model.game, model.codec) is not once and not model.sample(50).equals(before)
