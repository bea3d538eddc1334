"""A table goes to the players and comes back: whole numbers, dates, categories and missing cells exactly."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cases import cases
from zerosum.data import codec as codecs
from zerosum.data import dates, kinds
from zerosum.data.column import Category, Constant, Follower, Identifier, Number
from zerosum.data.columns import Columns, plain
from zerosum.data.kinds import describe, fit
from zerosum.data.sheet import Sheet, encoded
from zerosum.data.written import recognise_number

both_encodings = pytest.mark.parametrize("encoding", ["standard", "ranks"])


def fitted(sheet: Sheet, encoding: str = "ranks", **options: Any) -> Columns:
    """The codec, after a journey through plain data."""
    codec = kinds.fit(sheet, None, encoding, **options)
    state = json.loads(json.dumps(codec.state_dict()))
    again = codecs.restore(state)
    assert isinstance(again, Columns) and again.columns == codec.columns
    return again


def there_and_back(sheet: Sheet, encoding: str = "ranks") -> Sheet:
    codec = fitted(sheet, encoding)
    x = codec.encode(sheet)
    assert x.dtype == torch.float32 and tuple(x.shape) == (len(sheet), *codec.shape) and x.isfinite().all()
    return codec.decode(x)


whole = hnp.arrays(np.int64, st.just(40), elements=st.integers(-(2**50), 2**50))
small = hnp.arrays(np.int64, st.just(40), elements=st.integers(-5, 5))
decimal = small.map(lambda x: x / 100)
number = hnp.arrays(np.float64, st.just(40), elements=st.floats(-1e9, 1e9, width=32))
text = st.lists(
    st.none() | st.sampled_from(["a", "B", "zwölf", " x", "1", "nan", "007"]), min_size=40, max_size=40
)
flags = hnp.arrays(np.bool_, st.just(40))
day = st.dates(dt.date(1800, 1, 1), dt.date(2200, 1, 1))
days = st.lists(day, min_size=40, max_size=40)


@st.composite
def cells(draw: st.DrawFn) -> Any:
    kind = draw(st.sampled_from(["whole", "small", "decimal", "text", "flags", "days", "numbers", "moments"]))
    if kind == "text":
        return encoded(draw(text))
    if kind == "flags":
        return draw(flags)
    if kind == "days":
        form = draw(st.sampled_from(["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%-m/%-d/%Y"]))
        return encoded(dates.to_text(((x - dt.date(1970, 1, 1)).days for x in draw(days)), form))
    if kind == "moments":
        return np.array(draw(days), dtype="datetime64[us]")
    if kind == "numbers":
        return np.array([int(x.strftime("%Y%m%d")) for x in draw(days)])
    return draw({"whole": small, "small": small, "decimal": decimal}[kind])


@st.composite
def sheets(draw: st.DrawFn) -> Sheet:
    columns = {f"c{j}": draw(cells()) for j in range(draw(st.integers(1, 5)))}
    holes = draw(st.lists(st.integers(0, 39), max_size=5))
    for name, column in columns.items():
        if isinstance(column, np.ndarray) and column.dtype.kind in "iM" and holes and draw(st.booleans()):
            column = column.astype(np.float64) if column.dtype.kind == "i" else column.copy()
            column[holes] = np.nan if column.dtype.kind == "f" else np.datetime64("NaT")
            columns[name] = column
    return Sheet(columns)


@both_encodings
@cases(60)
@given(sheet=sheets())
def test_any_table_comes_back_exactly(sheet: Sheet, encoding: str) -> None:
    codec = fitted(sheet, encoding)
    back = there_and_back(sheet, encoding) if codec.blocks else codec.decode(torch.zeros(len(sheet), 0))
    for name, column in zip(sheet, codec.columns, strict=True):
        if isinstance(column, Identifier):
            assert len(set(back.objects(name))) == len(sheet)
        else:
            assert back.objects(name).tolist() == sheet.objects(name).tolist()


@cases(40)
@given(column=whole)
def test_large_whole_numbers_come_back_by_their_ranks(column: np.ndarray) -> None:
    back = there_and_back(Sheet({"x": column, "y": np.arange(40) % 2}))
    if not isinstance(fitted(Sheet({"x": column})).columns[0], Identifier):
        assert back["x"].tolist() == column.tolist()


@both_encodings
@cases(40)
@given(column=number, noise=st.integers(0, 9))
def test_whatever_G_makes_is_a_row_that_can_be(column: np.ndarray, noise: int, encoding: str) -> None:
    days = np.arange(40) % 31 + 1
    codec = fitted(Sheet({"x": column, "day": days, "price": np.round(column % 10, 2)}), encoding)
    z = 3 * torch.randn(200, *codec.shape, generator=torch.Generator().manual_seed(noise))
    rows = codec.decode(z)
    assert rows["day"].dtype == np.int64 and rows["day"].min() >= 1 and rows["day"].max() <= 31
    assert rows["x"].min() >= column.min() and rows["x"].max() <= column.max()
    assert (np.round(rows["price"], 2) == rows["price"]).all()


def test_samples_of_the_ranks_have_the_shares_of_the_data() -> None:
    rng = np.random.default_rng(0)
    atoms = np.where(rng.random(5000) < 0.92, 0, rng.integers(1, 10**6, 5000))
    holes = np.where(rng.random(5000) < 0.3, np.nan, rng.normal(size=5000))
    codec = fitted(Sheet({"gain": atoms, "x": holes}))
    z = torch.randn(20_000, *codec.shape, generator=torch.Generator().manual_seed(0))
    rows = codec.decode(z)
    assert abs((rows["gain"] == 0).mean() - (atoms == 0).mean()) < 0.01
    for q in (0.05, 0.5, 0.95):
        assert abs(np.nanquantile(rows["x"], q) - np.nanquantile(holes, q)) < 0.1
    assert abs(codec.encode(Sheet({"gain": atoms, "x": holes})).numpy()[:, 0].std() - 1) < 0.02


def test_dates_survive_to_the_last_digit_and_odd_days_stay() -> None:
    start = dt.date(1970, 1, 1)
    days = np.random.default_rng(0).integers(0, 20_000, 3000)
    numbers = np.array([int((start + dt.timedelta(int(d))).strftime("%Y%m%d")) for d in days])
    for encoding in ("standard", "ranks"):
        codec = fitted(Sheet({"when": numbers}), encoding)
        assert codec.columns[0].kind == "date"
        z = torch.randn(2000, 1, generator=torch.Generator().manual_seed(1))
        sampled = codec.decode(z)["when"]
        assert 0.4 < (sampled % 2).mean() < 0.6
        assert all(dt.datetime.strptime(str(x), "%Y%m%d") for x in sampled.tolist())


def test_coordinates_keep_their_digits() -> None:
    places = np.round(np.random.default_rng(0).uniform(52.4, 52.6, 500), 6)
    for encoding in ("standard", "ranks"):
        assert np.array_equal(there_and_back(Sheet({"lat": places}), encoding)["lat"], places)


KINDS = {
    "constant": (np.full(40, 7), Constant),
    "empty": (np.full(40, np.nan), Constant),
    "number": (np.linspace(0.1, 9, 40) ** 0.5, Number),
    "whole": (np.arange(40) ** 2 % 37, Number),
    "date": (encoded([f"2024-01-{i % 28 + 1:02d}" for i in range(40)]), Number),
    "category": (encoded(["cat", "dog"] * 20), Category),
    "yes-no": (encoded(["yes", "no", None, "no"] * 10), Category),
    "identifier": (encoded([f"A-{i:05d}" for i in range(40)]), Identifier),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_column_is_shows_in_its_cells(kind: str) -> None:
    column, expected = KINDS[kind]
    found = fitted(Sheet({"x": column, "y": np.arange(40) % 3})).columns[0]
    assert isinstance(found, expected) and found.kind == kind.replace("empty", "constant")


def test_row_numbers_and_ids_are_made_anew() -> None:
    sheet = Sheet(
        {
            "": np.arange(60),
            "user_id": np.random.default_rng(0).permutation(10**6)[:60],
            "code": encoded([f"{i * 7919 % 9973:x}-{i}" for i in range(60)]),
            "time": np.arange(60) * 3600,
            "year": np.arange(60) + 1900,
        }
    )
    codec = fitted(sheet)
    assert [column.kind for column in codec.columns] == ["identifier"] * 3 + ["whole"] * 2
    first, then = (codec.decode(torch.zeros(60, *codec.shape), first=at) for at in (0, 60))
    for name in ("", "user_id"):
        made = [*first.objects(name), *then.objects(name)]
        assert len(set(made)) == 120 and not set(made) & set(sheet.objects(name))


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        (
            lambda r: ".".join(map(str, r.integers(0, 256, 4))),
            r"(\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])(\.\d{1,3}){3}",
        ),
        (lambda r: f"u{r.integers(10**6)}@ex{r.integers(5)}.org", r"u\d{1,6}@ex[0-4]\.org"),
        (
            lambda r: f"2023-{r.integers(1, 13):02d}-{r.integers(1, 29):02d}T08:00+0{r.integers(1, 3)}:00",
            r"2023-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])T08:00\+0[12]:00",
        ),
        (lambda r: f"{r.integers(2**60):015x}"[:15], r"[0-9a-f]{15}"),
    ],
)
def test_identifiers_are_put_together_as_those_of_the_data(text: Any, pattern: str) -> None:
    rng = np.random.default_rng(0)
    sheet = Sheet({"x": encoded({text(rng) for _ in range(200)})})
    codec = fitted(sheet)
    assert codec.columns[0].kind == "identifier"
    again = Columns.from_state(codec.state_dict())
    made = again.decode(torch.zeros(300, *codec.shape)).objects("x").tolist()
    assert all(re.fullmatch(pattern, cell) for cell in made) and len(set(made)) > 200


def test_what_is_made_anew_follows_from_its_row_and_a_text_from_its_words() -> None:
    rng = np.random.default_rng(0)
    words = ["the", "room", "was", "very", "good", "bad"]
    texts = [" ".join(rng.choice(words, rng.integers(3, 30))) for _ in range(200)]
    codec = fitted(Sheet({"x": encoded(texts), "id": encoded([f"{i * 77:x}-{i % 7}" for i in range(200)])}))
    made = codec.decode(torch.zeros(300, *codec.shape))
    assert {word for text in made.objects("x") for word in text.split(" ")} == set(words)
    sizes = [len(text.split(" ")) for text in made.objects("x")]
    assert 3 <= min(sizes) < 6 and 26 < max(sizes) < 30 and len(set(made.objects("x"))) > 290
    parts = [codec.decode(torch.zeros(n, *codec.shape), first) for first, n in ((0, 7), (7, 193), (200, 100))]
    assert list(Sheet.joined(parts).rows()) == list(made.rows())


def test_whole_numbers_too_far_apart_to_be_counted_stay_whole() -> None:
    numbers = np.random.default_rng(0).integers(2**62, 2**63 - 1, 300)
    made = (codec := fitted(Sheet({"x": numbers}))).decode(torch.randn(50, *codec.shape))["x"]
    assert isinstance(made, np.ndarray) and made.dtype == np.int64
    assert made.min() >= numbers.min() and made.max() <= numbers.max() and len(set(made.tolist())) > 40


RANDOM = np.random.default_rng(0)
LARGE: dict[str, np.ndarray] = {
    "near to each other": 2**60 + RANDOM.integers(0, 50, 600),
    "below zero": -(2**60) - RANDOM.integers(0, 50, 600),
    "of one grid": 1_700_000_000 * 10**9 + RANDOM.integers(0, 400, 600) * 86_400 * 10**9,
    "of few and long steps": RANDOM.integers(-7, 8, 600) * (2**59 + 1),
    "keys": RANDOM.integers(-(2**63), 2**63 - 1, 90)[RANDOM.integers(0, 90, 600)],
    "two": np.array([2**63 - 2, 2**63 - 1])[RANDOM.integers(0, 2, 600)],
    "measured": RANDOM.integers(-(2**63), 2**63 - 1, 600),
}


@pytest.mark.parametrize("case", LARGE)
@both_encodings
def test_whole_numbers_that_no_float_holds_come_back_and_determine(case: str, encoding: str) -> None:
    numbers = LARGE[case]
    names = {number: f"name {i % 40}" for i, number in enumerate(sorted(set(numbers.tolist())))}
    sheet = Sheet({"code": numbers, "name": encoded([names[x] for x in numbers.tolist()])})
    codec = fitted(sheet, encoding)
    made = codec.decode(3 * torch.randn(400, *codec.shape, generator=torch.Generator().manual_seed(0)))
    keys = made["code"]
    assert isinstance(keys, np.ndarray) and keys.dtype == np.int64
    assert keys.min() >= numbers.min() and keys.max() <= numbers.max()
    assert set(made.objects("name")) <= set(names.values()) and len(set(keys.tolist())) > 1
    if case == "measured":
        return
    assert codec.decode(codec.encode(sheet))["code"].tolist() == numbers.tolist()  # pyright: ignore
    if encoding == "ranks":
        assert set(made.rows()) <= set(sheet.rows())
    for kind in ("number", "whole"):
        said = fitted(sheet, encoding, kinds={"code": kind})
        rows = said.decode(torch.randn(99, *said.shape, generator=torch.Generator().manual_seed(0)))
        assert not any(name is None for name in rows.objects("name"))


def test_large_values_with_gaps_come_back_and_determine() -> None:
    values = [2**53, 2**53 + 1, 2**60 + 1, None, -5]
    sheet = Sheet({"code": encoded([values[i % 5] for i in range(500)]), "name": np.arange(500) % 5 * 2})
    codec = fitted(sheet, kinds={"code": "category"})
    made = codec.decode(torch.randn(300, *codec.shape, generator=torch.Generator().manual_seed(0)))
    assert set(made.rows()) == set(sheet.rows()) and there_and_back(sheet).objects("code").tolist() == [
        values[i % 5] for i in range(500)
    ]


@pytest.mark.parametrize("top", [100, 2**53, 2**62, 2**63 - 2**33, 2**63 - 2, 2**63 - 1])
def test_numbers_of_rows_are_new_ones_to_the_end_of_those_that_there_are(top: int) -> None:
    numbers = np.array([*range(50), top])
    made = (codec := fitted(Sheet({"id": numbers}))).decode(torch.zeros(60, *codec.shape)).objects("id")
    assert isinstance(codec.columns[0], Identifier) and len({*made, *numbers.tolist()}) == 60 + 51


@pytest.mark.parametrize("gap", [False, True])
@both_encodings
def test_moments_that_are_said_to_be_categories_or_identifiers_are_texts(gap: bool, encoding: str) -> None:
    place = np.random.default_rng(0).integers(0, 40, 500)
    day = np.datetime64("2024-01-01", "us") + place.astype("timedelta64[D]")
    weekday = encoded([None if gap and i == 3 else f"day {i % 7}" for i in place.tolist()])
    sheet = Sheet({"day": np.where(gap & (place == 3), np.datetime64("NaT"), day), "weekday": weekday})
    texts = np.datetime_as_string(day).tolist()
    rows = {(None if w is None else d, w) for d, w in zip(texts, weekday.objects(), strict=True)}
    codec = fitted(sheet, encoding, kinds={"day": "category"})
    made = codec.decode(torch.randn(300, *codec.shape, generator=torch.Generator().manual_seed(0)))
    assert encoding == "standard" or set(made.rows()) <= rows
    assert set(codec.arrays(made)["day"]) <= set(codec.arrays(sheet)["day"]) <= {day for day, _ in rows}
    assert set(codec.decode(codec.encode(sheet)).rows()) == rows
    anew = fitted(sheet, encoding, kinds={"day": "identifier"})
    made = anew.decode(torch.randn(30, *anew.shape))
    assert all(re.fullmatch(r"2024-\d\d-\d\dT00:00:00\.000000", text) for text in made.objects("day"))


def test_a_column_that_another_determines_is_looked_up() -> None:
    rng = np.random.default_rng(0)
    level, city = rng.integers(0, 16, 500), rng.integers(0, 50, 500)
    sheet = Sheet(
        {
            "education": encoded([f"level {i}" for i in level]),
            "years": level + 3,
            "city": encoded([f"city {i}" for i in city]),
            "country": encoded([None if i % 7 == 0 else f"country {i % 7}" for i in city]),
            "free": rng.integers(0, 5, 500),
        }
    )
    codec = fitted(sheet)
    assert [c.of if isinstance(c, Follower) else None for c in codec.columns] == [
        None,
        "education",
        None,
        "city",
        None,
    ]
    z = torch.randn(300, *codec.shape, generator=torch.Generator().manual_seed(0))
    names = ["education", "years", "city", "country"]
    made, real = (set(rows.only(names).rows()) for rows in (codec.decode(z), sheet))
    assert {row[:2] for row in made} <= {row[:2] for row in real}
    assert {row[2:] for row in made} <= {row[2:] for row in real}
    assert list(there_and_back(sheet).rows()) == list(sheet.rows())
    said = fitted(sheet, kinds={"years": "whole", "country": "category"})
    assert not any(isinstance(column, Follower) for column in said.columns)


def test_a_number_that_no_decimals_write_determines_too() -> None:
    months = np.random.default_rng(0).integers(0, 36, 900)
    sheet = Sheet({"when": 2000 + months / 12, "month": months % 12 + 1})
    codec = fitted(sheet)
    assert isinstance(codec.columns[1], Follower) and codec.shape == (1,)
    assert set(codec.decode(torch.randn(200, 1)).rows()) <= set(sheet.rows())


def test_chance_determines_nothing() -> None:
    rng = np.random.default_rng(0)
    rare = np.zeros(400, dtype=np.int64)
    rare[3] = 1
    sheet = Sheet({"many": rng.permutation(400) * 3, "rare": rare, "half": rng.integers(0, 2, 400)})
    assert not any(isinstance(column, Follower) for column in fitted(sheet).columns)


@pytest.mark.parametrize("count", [65, 1000, 5000])
def test_many_categories_take_little_room(count: int) -> None:
    names = [f"place {i:05d}" for i in range(count)] * 2
    sheet = Sheet({"place": encoded(names)})
    codec = fitted(sheet)
    assert codec.shape[0] <= 2 * int(count**0.5) + 3
    assert there_and_back(sheet).objects("place").tolist() == names
    z = torch.randn(500, *codec.shape, generator=torch.Generator().manual_seed(0))
    assert set(codec.decode(z).objects("place")) <= set(names)


def test_what_a_column_is_can_be_said() -> None:
    sheet = Sheet(
        {"zip": np.arange(40) % 7 + 10_000, "age": np.arange(40) % 9, "name": encoded(["x", "y"] * 20)}
    )
    codec = fitted(sheet, kinds={"zip": "category", "age": "number"})
    assert [column.kind for column in codec.columns] == ["category", "number", "category"]
    assert codec.decode(codec.encode(sheet))["zip"].tolist() == sheet["zip"].tolist()
    for wrong in ({"zip": "colour"}, {"height": "whole"}, {"name": "whole"}, {"name": "date"}):
        with pytest.raises(ValueError):
            kinds.fit(sheet, kinds=wrong)


def test_a_value_that_training_never_met_is_none_of_them() -> None:
    codec = fitted(Sheet({"kind": encoded(["a", "b"] * 10), "x": np.arange(20.0) / 3}))
    x = codec.encode(Sheet({"kind": encoded(["a", "zebra"]), "x": np.array([-1e9, 1e9])}))
    assert x[0, :2].tolist() == [1, 0] and x[1, :2].tolist() == [0, 0] and x.isfinite().all()
    with pytest.raises(ValueError):
        codec.encode(Sheet({"kind": encoded(["a"])}))


def test_the_columns_of_old_runs_are_plain() -> None:
    codec = plain(("age", "height", "year"), (40.0, 1.7, 2014.0), (5.0, 1e-3, 0.0))
    x = torch.randn(9, 2, generator=torch.Generator().manual_seed(0))
    rows = codecs.restore(json.loads(json.dumps(codec.state_dict()))).decode(x)
    expected = np.array([40.0, 1.7]) + np.array([5.0, 1e-3]) * x.double().numpy()
    assert np.allclose(np.asarray(rows)[:, :2], expected, rtol=1e-15) and (rows["year"] == 2014.0).all()
    assert torch.allclose(codec.encode(np.asarray(rows)), x, atol=1e-4)


def test_the_columns_as_metrics_judge_them() -> None:
    sheet = Sheet(
        {
            "id": np.arange(40),
            "when": encoded([f"2024-01-{i % 28 + 1:02d}" for i in range(40)]),
            "x": np.where(np.arange(40) % 5 == 0, [np.nan, np.inf] * 20, np.arange(40.0) ** 0.5),
            "kind": encoded([None if i % 3 == 0 else "ab"[i % 2] for i in range(40)]),
            "flag": np.arange(40) % 2 == 0,
            "same": np.full(40, 3),
        }
    )
    found = fitted(sheet).arrays(sheet)
    assert list(found) == ["when", "x", "kind", "flag", "same"]
    assert [x.dtype.kind for x in found.values()] == ["f", "f", "O", "O", "f"]
    assert (
        np.isnan(found["x"]).sum() == 8
        and found["kind"][0] is None
        and found["when"][1] - found["when"][0] == 1
    )


def test_an_unknown_encoding_or_codec_is_refused() -> None:
    with pytest.raises(ValueError):
        Columns((), "logarithms")
    with pytest.raises(ValueError):
        codecs.restore({"codec": "sounds"})


@pytest.mark.parametrize(
    "texts",
    [
        ["2024-02-30"],
        ["12"],
        ["1.5"],
        ["2024-01-01", "yesterday"],
        ["01/02/2024", "2024-01-02"],
        [],
        ["x" * 99],
    ],
)
def test_what_is_no_date_is_none(texts: list[str]) -> None:
    assert dates.recognise(texts) is None


@pytest.mark.parametrize("form", dates.FORMS)
def test_every_form_of_dates_is_recognised_and_exact(form: str) -> None:
    moments = np.random.default_rng(0).integers(-(10**9), 4 * 10**9, 30).tolist()
    size = dates.unit(form) / 1e6
    texts = dates.to_text([int(moment // size) for moment in moments], form)
    found = dates.recognise(texts)
    assert found is not None and dates.to_text(dates.to_units(texts, found), found) == texts


# numbers in text --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("${:,.2f}", "number"),
        ("{:,.0f}", "whole"),
        ("{:.0f}%", "whole"),
        ("{:.1f} %", "number"),
        ("EUR {:,.0f}", "whole"),
        ("{:.2f} kr", "number"),
        ("{:.0f}kg", "whole"),
        ("{:.1f} °C", "number"),
    ],
)
def test_numbers_as_people_write_them_are_numbers_and_come_back_so(form: str, kind: str) -> None:
    rng = np.random.default_rng(0)
    texts = [form.format(x) for x in rng.normal(3000, 2000, 300)]
    texts = [text.replace("$-", "-$") for text in texts]
    for marks in (",.", ".,", " ,"):
        own = [text.translate(str.maketrans(",.", marks)) for text in texts]
        sheet = Sheet({"x": encoded(own)})
        codec = fit(sheet, encoding="ranks")
        (column,) = codec.columns
        assert isinstance(column, Number) and column.kind == kind
        assert codec.decode(codec.encode(sheet)).objects("x").tolist() == own
        made = codec.decode(torch.randn(50, *codec.shape)).objects("x").tolist()
        assert {len(text) - len(text.lstrip("$EUR -")) for text in made} and recognise_number(made + own)
    assert np.isfinite(codec.arrays(sheet)["x"]).all()


@pytest.mark.parametrize("texts", [["007", "012"], ["A1", "A2"], ["1.2.3", "1.2.4"], ["1", "2"], ["3 kg"]])
def test_codes_are_no_numbers(texts: list[str]) -> None:
    assert recognise_number(texts) is None


def test_a_few_words_among_dates_are_missing_and_named() -> None:
    days = [str(np.datetime64("2024-01-01") + i % 90) for i in range(200)]
    codec = fit(Sheet({"day": encoded(["unknown" if i % 50 == 0 else day for i, day in enumerate(days)])}))
    (column,) = codec.columns
    assert column.kind == "date" and column.missing == pytest.approx(0.02) and column.odd == ("unknown",)
    assert any("unknown" in line for line in describe(codec))
    many = fit(Sheet({"day": encoded(["unknown" if i % 5 == 0 else day for i, day in enumerate(days)])}))
    assert many.columns[0].kind == "category"


def test_columns_that_are_missing_together_do_not_follow_from_each_other() -> None:
    rng = np.random.default_rng(0)
    missing = np.arange(300) % 10 == 0
    a, b = (np.where(missing, np.nan, np.round(rng.normal(size=300), 4)) for _ in range(2))
    kinds_of = [column.kind for column in fit(Sheet({"a": a, "b": b}), encoding="ranks").columns]
    assert kinds_of == ["number", "number"]
    tied = {"k": encoded([f"v{i % 7}" if i % 10 else None for i in range(300)])}
    tied["n"] = encoded([f"w{i % 7}" if i % 10 else None for i in range(300)])
    assert [column.kind for column in fit(Sheet(tied), encoding="ranks").columns] == ["category", "follower"]


@pytest.mark.parametrize("ending", ["+02:00", "-0530", " UTC", "Z"])
@pytest.mark.parametrize("gap", [" ", "T"])
def test_times_of_one_zone_are_dates(ending: str, gap: str) -> None:
    texts = [f"2024-0{1 + i % 9}-1{i % 10}{gap}0{i % 10}:30:00{ending}" for i in range(40)]
    form = dates.recognise(texts)
    if form is None:  # a gap and a zone that nobody writes together
        assert (gap, ending) == (" ", "Z")
    else:
        assert dates.to_text(dates.to_units(texts, form), form) == texts
    assert dates.recognise([*texts[:-1], "2024-01-10 09:30:00+03:00"]) is None


def test_a_decimal_comma_in_text_is_a_number() -> None:
    texts = [f"{i % 7},{i % 10}" for i in range(100)]
    (column,) = fit(Sheet({"x": encoded(texts)}), encoding="ranks").columns
    assert column.kind == "number" and column.high == 69
