"""Numbers as people write them: with a currency, a percent sign, a unit, thousands set apart.

As with dates (`zerosum.data.dates`), a form is recognised only if every text of the column comes back from it
letter for letter. It is told from a form of dates by the sign # that it begins with.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

__all__ = ["SIGN", "recognise_number", "to_number", "to_written"]

SIGN = "#"
_UNITS = {"$", "€", "£", "¥", "₹", "₽", "₩", "₺", "R$", "US$", "A$", "C$", "kr", "zł"}
_UNITS |= {"USD", "EUR", "GBP", "CHF", "JPY", "CNY", "INR"}
FEWEST, LONGEST_UNIT = 10, 6
_MARKS = [(",", "."), (".", ","), (" ", ","), (" ", "."), ("\xa0", ","), ("'", "."), ("", "."), ("", ",")]
_NUMBER = re.compile(r"(-?)(\D*?)(-?)(\d(?:[\d.,' \xa0]*\d)?)(\D*)", re.S)


class _Form(NamedTuple):
    """minus: - where it stands after the prefix, ( where parentheses stand for it. thousands, decimal: marks.
    decimals: how many, always.
    """

    prefix: str
    minus: str
    thousands: str
    decimal: str
    decimals: str
    suffix: str


def recognise_number(texts: Sequence[str]) -> str | None:
    """The form that all texts have, None if there is none, or they are numbers as they stand.

    >>> form = recognise_number(["$1,250.00", "-$3.50"])
    >>> to_number("$1,250.00", form), to_written([-3.5, 1000], form)
    (1250.0, ['-$3.50', '$1,000.00'])
    >>> recognise_number(["7 %", "12 %"]) is None, recognise_number(["A7", "A12"])
    (False, None)
    """
    in_parentheses = any(map(_is_in_parentheses, texts))
    match = _NUMBER.fullmatch(_signed(texts[0]) if in_parentheses else texts[0]) if texts else None
    if match is None:
        return None
    prefix, digits, suffix = match[2], match[4], match[5]
    # cm, kg, °C; of a few texts it may be a code
    is_unit = len(texts) >= FEWEST and len(suffix) <= LONGEST_UNIT
    if prefix.strip() not in ("", *_UNITS) or not (is_unit or suffix.strip() in ("", "%", "‰", *_UNITS)):
        return None
    after = (
        "("
        if in_parentheses
        else next((m[3] for m in map(_NUMBER.fullmatch, texts) if m and (m[1] or m[3])), "")
    )
    few = texts[:: max(1, len(texts) // 50)]
    for thousands, decimal in _MARKS:
        decimals = len(digits.rpartition(decimal)[2]) if decimal in digits else 0
        form = SIGN + "\n".join(_Form(prefix, after, thousands, decimal, str(decimals), suffix))
        if all(_comes_back(text, form) for some in (few, texts) for text in some):
            marks = {thousands, decimal} - {"", "." if decimal == "." else ""}
            written = (
                prefix or suffix or in_parentheses or any(mark in text for text in texts for mark in marks)
            )
            return form if written else None
    return None


def _is_in_parentheses(text: str) -> bool:
    return text.startswith("(") and text.endswith(")")


def _signed(text: str) -> str:
    return f"-{text[1:-1]}" if _is_in_parentheses(text) else text


def _comes_back(text: str, form: str) -> bool:
    number = to_number(text, form)
    return abs(number) < 2**53 and to_written([number], form) == [text]


@lru_cache
def _parsed(form: str) -> _Form:
    return _Form(*form[1:].split("\n"))


def to_number(text: str, form: str) -> float:
    """The number that a text says, with or without the form's signs; NaN where it says none."""
    prefix, minus, thousands, decimal, _, suffix = _parsed(form)
    text = _signed(text) if minus == "(" else text
    bare = text.removesuffix(suffix).replace(prefix, "", 1) if prefix or suffix else text
    bare = bare.replace(thousands, "") if thousands else bare
    try:
        return float(bare.replace(decimal, ".")) if "_" not in bare else math.nan
    except ValueError:
        return math.nan


def to_written(numbers: Iterable[float], form: str) -> list[str]:
    """Numbers as texts of the form."""
    prefix, after, thousands, decimal, decimals, suffix = _parsed(form)
    marks = str.maketrans({",": thousands, ".": decimal})
    texts: list[str] = []
    for number in numbers:
        digits = f"{abs(number):,.{decimals}f}".translate(marks)
        bare = f"{prefix}{digits}{suffix}"
        if number < 0:
            bare = {"": f"-{bare}", "-": f"{prefix}-{digits}{suffix}", "(": f"({bare})"}[after]
        texts.append(bare)
    return texts
