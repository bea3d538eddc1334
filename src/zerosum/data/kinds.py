"""What a column holds, as its cells show: number, whole, date, category, yes-no, identifier or constant.

What was recognised is told to the user, who can say otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zerosum.data.column import Category, Column, Constant, Follower, Identifier, Number, to_numbers
from zerosum.data.columns import Columns
from zerosum.data.dates import recognise
from zerosum.data.likeness import arranged
from zerosum.data.links import link
from zerosum.data.readers import ODD_WORDS, is_number, join_names
from zerosum.data.sheet import Cells, Coded, Sheet, as_coded
from zerosum.data.written import SIGN, recognise_number
from zerosum.text import printable

__all__ = ["KINDS", "describe", "fit", "form_of"]

Array = NDArray[Any]

KINDS = "number", "whole", "date", "category", "identifier"
MOST_KNOTS = 2048  # of a column's quantiles
MOST_COUNTED = 10_000  # the same, of whole numbers, decimals and dates
MOST_PARTS, MOST_WORDS = 32, 20  # of identifiers: words that are so few are kept
MOST_TOLD = 500  # words of a text that is made anew, and words that are kept for it, as often as they occur
FEWEST_IDENTIFIERS = 20  # rows below which cells that all differ may be chance
_NAME_OF_IDENTIFIER = re.compile(r"(^|[^a-zA-Z])(?i:id|uuid|key|index|idx|row|nr|number|no)$|[a-z](ID|Id)$")
_YES_NO = [{"yes", "no"}, {"y", "n"}, {"true", "false"}, {"t", "f"}, {"0", "1"}, {"on", "off"}]


def fit(
    train: Sheet,
    whole: Sheet | None = None,
    encoding: str = "standard",
    kinds: Mapping[str, str] | None = None,
) -> Columns:
    """The columns of a table, from its training rows.

    whole: all rows, by which a column is an identifier or not. kinds: what columns are (`KINDS`), where it is
    not what their cells say.

    Raises ValueError for a kind that a column cannot be.

    >>> sheet = Sheet({"age": np.array([31, 54, 31]), "year": np.array([2014, 2014, 2014])})
    >>> [(column.name, column.kind) for column in fit(sheet).columns]
    [('age', 'whole'), ('year', 'constant')]
    """
    given = {str(name): kind for name, kind in (kinds or {}).items()}
    for name, kind in given.items():
        if name not in train.columns:
            raise ValueError(f"there is no column {name!r}: there are {join_names(list(train))}")
        if kind not in KINDS:
            raise ValueError(f"column {name} is one of {', '.join(KINDS)}: got {kind!r}")
    train, whole = _as_said(train, given), _as_said(whole or train, given)
    columns: list[Column] = []
    for name, cells in train.columns.items():
        column = _column(name, cells, whole[name], encoding == "ranks", given.get(name))
        columns.append(column)
    counted = {c.name for c in columns if isinstance(c, Identifier) and c.cells_are == "int"}
    types = train.style.types  # beyond which they go on
    kept = {name: kind for name, kind in types.items() if name not in counted}
    style = train.style if kept == types else train.style.typed(kept)
    if encoding != "ranks":
        return Columns(tuple(columns), encoding, style=style)
    linked, within = link(train, arranged(train, columns), given)
    return Columns(linked, encoding, within, style)


def _as_said(sheet: Sheet, kinds: Mapping[str, str]) -> Sheet:
    """Moments that are said to be a category or identifiers as the texts that are made of them."""

    def is_text(name: str, cells: Cells) -> bool:
        is_moment = not isinstance(cells, Coded) and cells.dtype.kind == "M"
        return is_moment and kinds.get(name) in ("category", "identifier")

    columns = sheet.columns.items()
    return replace(
        sheet, columns={n: as_coded(cells) if is_text(n, cells) else cells for n, cells in columns}
    )


def describe(codec: Columns) -> list[str]:
    """What was recognised, in lines for people: the kinds, the constants, the empty and the missing."""
    by_kind: dict[str, list[str]] = {}
    for column in codec.columns:
        by_kind.setdefault(column.kind, []).append(printable(column.name))
    lines = ["; ".join(f"{kind}: {join_names(names)}" for kind, names in by_kind.items())]
    lines += _links(codec)
    constants = [c for c in codec.columns if isinstance(c, Constant)]
    empty = [printable(c.name) for c in constants if c.value is None]
    if empty:
        lines.append(f"columns without any cell, empty in samples too: {join_names(empty)}")
    one = [f"{printable(c.name)} = {printable(c.value)}" for c in constants if c.value is not None]
    if one:
        lines.append(f"columns of one value, put back into samples: {join_names(one)}")
    for column in codec.columns:
        if isinstance(column, Number) and column.odd:
            words = join_names([repr(printable(word[:40])) for word in column.odd])
            lines.append(f"column {printable(column.name)}: no {column.kind}, so missing: {words}")
    missing = [f"{printable(c.name)} {_missing(c):.1%}" for c in codec.columns if _missing(c)]
    if missing:
        lines.append(f"missing cells, which samples have too: {join_names(missing)}")
    return lines


def _links(codec: Columns) -> list[str]:
    led: dict[str, list[str]] = {}
    for column in codec.columns:
        if isinstance(column, Follower):
            led.setdefault(" and ".join(map(printable, column.leaders)), []).append(printable(column.name))
    lines: list[str] = []
    if led:
        lines.append("followers: " + "; ".join(f"{join_names(names)} of {of}" for of, names in led.items()))
    if codec.within:
        given = [(printable(one.name), join_names([printable(n) for n in one.given])) for one in codec.within]
        kept = "; ".join(f"{name} with {others}" for name, others in given)
        lines.append(f"together only as in the data: {kept}")
    return lines


def _missing(column: Column) -> float:
    if isinstance(column, Number):
        return column.missing
    if isinstance(column, Category) and None in column.values:
        return column.shares[column.values.index(None)]
    return 0.0


def _column(name: str, cells: Cells, whole: Cells, ranks: bool, kind: str | None) -> Column:
    coded = isinstance(cells, Coded)
    form, odd = form_of(cells, kind) if kind in (None, "date", "number", "whole") else ("", ())
    if kind == "date" and not form:
        raise ValueError(f"column {name} holds no dates in a form that is understood")
    if kind == "category" or (kind is None and not form and (coded or cells.dtype.kind == "b")):
        return _identifier(name, whole) if kind is None and _all_differ(whole) else _category(name, cells)
    if kind == "identifier":
        return _identifier(name, whole)
    numbers = to_numbers(cells, form)
    present = numbers[np.isfinite(numbers)] if numbers.dtype.kind == "f" else numbers
    if coded and not form and len(present) < (cells.codes >= 0).sum():
        word = next(value for value in cells.values if not is_number(str(value)))
        raise ValueError(f"column {name} is no {kind}: it holds {word!r}")
    if not len(present) or (len(present) == len(numbers) and present.min() == present.max()):
        return _category(name, cells)  # a constant
    if kind is None and not form and _counts(name, whole):
        return _identifier(name, whole)
    if ranks and kind is None and not form and len(np.unique(present[:1000])) <= 2 >= len(np.unique(present)):
        return _category(name, cells)
    if kind is None and not form and present.dtype.kind == "i" and _are_keys(present):
        return _category(name, cells)
    return replace(_number(name, cells, numbers, present, form, kind, ranks), odd=odd)


# numbers and dates --------------------------------------------------------------------------------------


def form_of(cells: Cells, kind: str | None) -> tuple[str, tuple[str, ...]]:
    """How a column of dates, or of numbers in text, writes them, "" if it holds none; and the few words
    among them."""
    if not isinstance(cells, Coded):
        return (_form_of_array(cells), ()) if kind in (None, "date") else ("", ())
    if not all(isinstance(value, str) for value in cells.values):
        return "", ()
    used, counts = np.unique(cells.codes[cells.codes >= 0], return_counts=True)
    texts = [cells.values[i] for i in used]
    readers = [*[recognise] * (kind in (None, "date")), *[recognise_number] * (kind != "date")]
    if form := _first_form(readers, texts):
        return form, ()
    few = [text for text in texts[:: max(1, len(texts) // 50)] if _has_digit(text)]
    if not _first_form(readers, few):
        return "", ()
    is_word = np.array([not _has_digit(text) for text in texts], dtype=bool)
    if not 0 < counts[is_word].sum() <= ODD_WORDS * counts.sum():
        return "", ()
    words = tuple(text for text, is_it in zip(texts, is_word, strict=True) if is_it)
    form = _first_form(readers, [text for text, is_it in zip(texts, is_word, strict=True) if not is_it])
    return (form, words) if form else ("", ())


def _first_form(readers: Sequence[Callable[[Sequence[str]], str | None]], texts: Sequence[str]) -> str:
    return next((form for read in readers if (form := read(texts))), "")


def _has_digit(text: str) -> bool:
    return any(map(str.isdigit, text))


def _form_of_array(cells: Array) -> str:
    if cells.dtype.kind == "M":
        return "moment"
    if cells.dtype.kind not in "if" or cells.dtype.itemsize < 4:
        return ""
    present = cells[np.isfinite(cells)].astype(np.float64)
    if len(present) < 2 or present.min() < 1800_01_01 or present.max() > 2299_12_31 or (present % 1).any():
        return ""
    values = np.unique(present.astype(np.int64))
    return "%Y%m%d" if len(values) > 1 and recognise([str(value) for value in values.tolist()]) else ""


def _number(
    name: str, cells: Cells, numbers: Array, present: Array, form: str, kind: str | None, ranks: bool
) -> Column:
    is_date = bool(form) and not form.startswith(SIGN)
    digits = 0 if is_date else _digits(present)
    if kind == "whole" and digits != 0 and present.dtype.kind == "f":
        inexact = (present % 1 != 0) | (np.abs(present) >= 2**53)
        raise ValueError(f"column {name} is not whole: it holds {present[inexact][0]:g}")
    as_read = "int" if digits == 0 or (digits is None and numbers.dtype.kind == "i") else "float"
    if kind == "number" and digits == 0 and not form:
        digits, as_read = None, "float"
    if form:
        as_read = "text" if isinstance(cells, Coded) else "moment" if form == "moment" else "int"
    column = Number(
        name,
        "date" if is_date else "whole" if digits == 0 or kind == "whole" else "number",
        as_read,
        form,
        missing=1 - len(present) / len(numbers),
        digits=digits,
    )
    if digits is None:
        t = present.astype(np.float64)
        low, high = float(t.min()), float(t.max())
        if low < present.min().item():  # where rounding has led out
            low = float(np.nextafter(low, np.inf))
        if high > present.max().item():
            high = float(np.nextafter(high, -np.inf))
        column = replace(column, low=low, high=high)
    else:
        scaled = present if present.dtype.kind == "i" else np.rint(present * 10**digits).astype(np.int64)
        origin = int(scaled.min())
        step = int(np.gcd.reduce(scaled - origin)) or 1
        t = ((scaled - origin) // step).astype(np.float64)
        column = replace(column, origin=origin, step=step, low=0.0, high=float(t.max()))
    unit = max(abs(float(t.max())), abs(float(t.min()))) or 1.0  # whose squares neither overflow nor vanish
    scale = unit * float((t / unit).std())
    if not scale > 0:  # one value beside missing ones, or so near that their squares vanish
        scale = float(t.max()) - float(t.min()) or 1.0
    column = replace(column, mean=unit * float((t / unit).mean()), scale=scale)
    return replace(column, **_knots(t, digits is not None)) if ranks else column


def _digits(numbers: Array) -> int | None:
    """The fewest decimals that write all numbers, None if 9 do not or the whole numbers are not exact."""
    if numbers.dtype.kind == "i":
        return 0 if _can_be_counted(numbers) else None
    if np.abs(numbers).max() >= 2**53:
        return None
    for digits in range(10):
        for some in (numbers[:1000], numbers):
            scaled = np.rint(some * 10.0**digits)
            if np.abs(scaled).max() >= 2**53 or (scaled / 10**digits != some).any():
                break
        else:
            return digits
    return None


def _are_keys(numbers: Array) -> bool:
    """Whether whole numbers that cannot be counted exactly are such that others between them mean nothing:
    they occur twice on the average."""
    return _digits(numbers) is None and 2 * len(np.unique(numbers)) <= len(numbers)


def _can_be_counted(numbers: Array) -> bool:
    """Whether whole numbers are so few steps apart that a float holds how many."""
    span = int(numbers.max()) - int(numbers.min())
    if not 2**53 <= span < 2**63:
        return span < 2**53
    return span // int(np.gcd.reduce(numbers - numbers.min())) < 2**53


def _knots(t: Array, counted: bool) -> dict[str, tuple[float, ...]]:
    """All values of t with their cumulated shares; of very many, the common ones and every n-th other."""
    values, counts = np.unique(t, return_counts=True)
    upto = np.cumsum(counts)
    below = upto - counts
    if len(values) > (MOST_COUNTED if counted else MOST_KNOTS):
        grain = 2 * len(t) / MOST_KNOTS
        chosen = (counts >= grain) | (np.floor(upto / grain) > np.floor(below / grain))
        chosen[[0, -1]] = True
        values, below, upto = values[chosen], below[chosen], upto[chosen]
    shares = (below / len(t), upto / len(t))
    return {
        name: tuple(x.tolist()) for name, x in zip(("knots", "below", "upto"), (values, *shares), strict=True)
    }


# categories ---------------------------------------------------------------------------------------------


def _category(name: str, cells: Cells) -> Column:
    coded = as_coded(cells)
    counts = np.bincount(coded.codes + 1, minlength=len(coded.values) + 1)
    pairs = [(v, n) for v, n in zip(coded.values, counts[1:].tolist(), strict=True) if n]
    pairs.sort(key=lambda pair: (isinstance(pair[0], str), pair[0]))
    if counts[0]:
        pairs.append((None, int(counts[0])))
    if len(pairs) == 1:
        return Constant(name, pairs[0][0], not isinstance(cells, Coded) and cells.dtype.kind == "M")
    shares = tuple(n / len(coded.codes) for _, n in pairs)
    values = tuple(value for value, _ in pairs)
    words = {str(value).strip().lower() for value in values if value is not None}
    return Category(name, values, shares, "yes-no" if words in _YES_NO else "category", len(coded.codes))


# identifiers --------------------------------------------------------------------------------------------


def _all_differ(cells: Cells) -> bool:
    if not isinstance(cells, Coded):
        return False
    return len(cells.codes) == len(cells.values) >= FEWEST_IDENTIFIERS and int(cells.codes.min()) >= 0


def _counts(name: str, cells: Cells) -> bool:
    """Whether whole numbers count the rows from 0 or 1, or all differ under a name that tells why."""
    if isinstance(cells, Coded) or cells.dtype.kind != "i" or len(cells) < FEWEST_IDENTIFIERS:
        return False
    span = float(cells.max()) - float(cells.min()) + 1
    counts = span == len(cells) and int(cells.min()) in (0, 1)
    if not counts and not (name == "" or _NAME_OF_IDENTIFIER.search(name)):
        return False
    return len(np.unique(cells)) == len(cells)


def _identifier(name: str, cells: Cells) -> Identifier:
    if not isinstance(cells, Coded):
        return Identifier(name, start=_next(cells))
    texts = [str(value) for value in cells.values]
    first = re.fullmatch(r"(.*?)(\d{1,15})(\D*)", texts[0], re.S) if texts else None
    if first and (numbers := _numbers_between(texts, first[1], first[3])):
        prefix, suffix = first[1], first[3]
        width = len(numbers[0]) if len(set(map(len, numbers))) == 1 else 0
        return Identifier(name, max(map(int, numbers)) + 1, "text", prefix, suffix, width)
    return Identifier(name, len(texts), "text", parts=_parts(texts))


def _next(numbers: Array) -> int:
    """The first number that goes on: above all, or where int64 ends soon after them, in their widest gap."""
    present = numbers[np.isfinite(numbers)]
    top = int(present.max()) if len(present) else -1
    if top < 2**63 - 2**32:
        return top + 1
    exact = sorted({number for number in map(int, present.tolist()) if number < 2**63})
    return max(pairwise(exact), key=lambda gap: gap[1] - gap[0], default=(-1, 0))[0] + 1


def _numbers_between(texts: list[str], prefix: str, suffix: str) -> list[str]:
    """The digits, at most 15, between prefix and suffix of each text; none where one has something else."""
    numbers: list[str] = []
    for text in texts:
        end = len(text) - len(suffix)
        digits = text[len(prefix) : end]
        if not (text.startswith(prefix) and text[end:] == suffix and 0 < len(digits) <= 15):
            return []
        if not (digits.isascii() and digits.isdecimal()):
            return []
        numbers.append(digits)
    return numbers


def _parts(texts: Sequence[str]) -> tuple[tuple[Any, ...], ...]:
    """What texts are put together of: of numbers and words in turn where all are, else of words with what
    stands between them, else of one."""
    texts = [text for text in texts if text]
    for pattern in (r"\d+|[^\W\d_]+|[\W_]", r"[^\W_]+|[\W_]"):
        rows = [re.findall(pattern, text) for text in texts]
        shapes = {"".join("a" if part.isalnum() else part for part in row) for row in rows}
        if len(shapes) == 1 and len(rows[0]) <= MOST_PARTS:
            break
    else:
        rows = [[text] for text in texts]
        words = [text.split(" ") for text in texts]
        every = [word for row in words for word in row]
        if len(every) > 3 * len(texts) and len(set(every)) < len(every) / 2:
            lengths = sorted({min(len(row), MOST_TOLD) for row in words})
            return (("words", tuple(lengths), *every[:: len(every) // MOST_TOLD + 1]),)
    return tuple(_part(column) for column in map(list, zip(*rows, strict=True)))


def _part(texts: list[str]) -> tuple[Any, ...]:
    different, sizes = sorted(set(texts)), {len(text) for text in texts}
    if all(text.isascii() and text.isdecimal() and len(text) < 19 for text in different):
        padded = len(sizes) == 1 or any(text[0] == "0" and len(text) > 1 for text in different)
        return "number", min(map(int, texts)), max(map(int, texts)), min(sizes) if padded else 0
    if len(different) <= MOST_WORDS < len(texts) / 2:
        return "word", *different
    alphabets = [sorted({text[i] for text in different if i < len(text)}) for i in range(min(max(sizes), 64))]
    return "letters", min(min(sizes), 64), *map("".join, alphabets)
