"""Dates and times written as text: which form a column has, and the whole numbers that they are.

A form is recognised only if every text of the column comes back from it letter for letter, so nothing is lost
by counting in its unit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

__all__ = ["recognise", "to_text", "to_units", "unit"]

_DAYS = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%d-%b-%Y", "%d %b %Y")
_SHORT_DAYS = (
    "%b %d, %Y",
    "%-m/%-d/%Y",
    "%-d/%-m/%Y",
    "%-d.%-m.%Y",
    "%m/%d/%y",
    "%-m/%-d/%y",
    "%d.%m.%y",
    "%d/%m/%y",
    "%d-%b-%y",
    "%d-%m-%y",
    "%Y.%m.%d",
    "%Y%m%d",
)
_TIMES = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f")
_HALF_DAYS = ("%-I:%M %p", "%I:%M %p", "%-I:%M:%S %p", "%I:%M:%S %p")
FORMS = (
    *_DAYS,
    *_SHORT_DAYS,
    *(f"{day}{gap}{time}" for day in (*_DAYS, *_SHORT_DAYS[:4]) for gap in " T" for time in _TIMES),
    *(f"%Y-%m-%dT{time}{zone}" for time in _TIMES for zone in ("Z", "+00:00")),
    "%Y-%m",
    *(
        "%b %-d %Y",
        "%b %-d, %Y",
        "%B %-d, %Y",
        "%-d %B %Y",
        "%B %d, %Y",
        "%d %B %Y",
        "%-d-%b-%Y",
        "%-d-%b-%y",
    ),
    *("%b %Y", "%B %Y", "%b-%Y", "%m/%Y", "%Y/%m", "%b-%y"),
    *_TIMES,
    *_HALF_DAYS,
    *(f"{day} {time}" for day in ("%-m/%-d/%Y", "%m/%d/%Y", "%Y-%m-%d", "%-m/%-d/%y") for time in _HALF_DAYS),
)
_EPOCH = datetime(1970, 1, 1)


def unit(form: str) -> int:
    """The microseconds of the finest thing that a form says: of a day, a minute, a second or one."""
    for mark, microseconds in (("%f", 1), ("%S", 10**6), ("%M", 60 * 10**6)):
        if mark in form:
            return microseconds
    return 86_400 * 10**6


def recognise(texts: Sequence[str]) -> str | None:
    """The form that all texts have, None if there is none.

    >>> recognise(["2024-01-31", "1999-12-01"]), recognise(["31/01/2024 08:15"]), recognise(["2024-02-31"])
    ('%Y-%m-%d', '%d/%m/%Y %H:%M', None)
    """
    if not texts or max(map(len, texts)) > 32 or not any(map(str.isdigit, texts[0])):
        return None
    few = texts[:: max(1, len(texts) // 50)]
    zone = re.search(r" ?UTC$|[+-]\d\d:?\d\d$", texts[0])  # one for all; of several the text is a category
    zoned = [form + zone[0] for form in FORMS if "%H" in form and form[-1] == "S"] if zone else []
    return next((form for form in (*FORMS, *zoned) if _has_form(few, form) and _has_form(texts, form)), None)


def _has_form(texts: Iterable[str], form: str) -> bool:
    try:
        return all(_to_text(_to_moment(text, form), form) == text for text in texts)
    except ValueError:
        return False


def to_units(texts: Iterable[str], form: str) -> list[int]:
    """Texts of a form as whole numbers: units since 1970. Raises ValueError for a text of another form."""
    size = timedelta(microseconds=unit(form))
    return [(_to_moment(text, form) - _EPOCH) // size for text in texts]


def to_text(units: Iterable[int], form: str) -> list[str]:
    """The texts of `to_units` again.

    >>> to_text(to_units(["20240131"], "%Y%m%d"), "%Y%m%d")
    ['20240131']
    """
    size = timedelta(microseconds=unit(form))
    return [_to_text(_EPOCH + number * size, form) for number in units]


def _to_moment(text: str, form: str) -> datetime:
    if form.startswith("%Y-%m-%d") and "%p" not in form and not form.endswith("UTC"):  # many times as fast
        return datetime.fromisoformat(text).replace(tzinfo=None)
    return datetime.strptime(text, form.replace("%-", "%"))


def _to_text(moment: datetime, form: str) -> str:
    for mark, number in (("%-m", moment.month), ("%-d", moment.day), ("%-I", moment.hour % 12 or 12)):
        form = form.replace(mark, str(number))
    return moment.strftime(form.replace("%Y", f"{moment.year:04d}"))
