"""Values as a reader sees them: numbers, dates, spans of time, formulas; text from outside made printable."""

from __future__ import annotations

import datetime
import math
import re
from functools import cache
from html import escape
from typing import Any

from markupsafe import Markup

from zerosum.recipe import RecipeError
from zerosum.run.log import RunError
from zerosum.text import printable

__all__ = ["brief", "date", "duration", "finite", "flow", "formula", "lines", "number", "signed", "wrong"]


def finite(value: Any) -> float | None:
    """A number that can be drawn, or None for whatever else a file may hold."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1e100:
        return None
    return float(value) if abs(value) > 1e-100 else 0.0


def number(value: float | None, digits: int = 4) -> str:
    """A few digits that count, thousands set apart, a real minus sign.

    >>> number(-1.386294), number(12345), number(1e-7), number(None)
    ('−1.386', '12,345', '1e−07', '–')
    """
    if value is None:
        return "–"
    return signed(f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.{digits}g}")


def signed(text: str) -> str:
    """A number's text with a real minus sign."""
    return text.replace("-", "−")


def brief(value: Any, most: int = 300) -> str:
    """A text cut to `most` characters."""
    text = str(value)
    return text if len(text) <= most else f"{text[:most]} …"


def wrong(error: BaseException) -> str:
    """What went wrong, in a line; of an error that is not ours its kind, too.

    >>> wrong(RecipeError("k: no number")), wrong(KeyError("k"))
    ('k: no number', "KeyError: 'k'")
    """
    text = (str(error).splitlines() or [""])[0]
    plain = isinstance(error, RunError | RecipeError)
    return printable(brief(text if plain else f"{type(error).__name__}: {text}"))


def date(time: Any) -> str:
    """Seconds since 1970 as a date in UTC."""
    try:
        when = datetime.datetime.fromtimestamp(finite(time) or math.nan, datetime.UTC)
    except (ValueError, OverflowError, OSError):
        return "at an unknown time"
    return f"{when.day} {when:%b %Y, %H:%M} UTC"


def duration(seconds: float) -> str:
    """Seconds in the unit that suits."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def flow(value: Any) -> str:
    """A value of a recipe as YAML on one line.

    >>> flow([{"name": "r1", "weight": 1.0}, True])
    '[{name: r1, weight: 1.0}, true]'
    """
    import yaml

    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6)
    return text.removesuffix("...\n").strip()


def lines(value: Any) -> Any:
    """Text from outside, each line of it printable; what is markup already stays as it is."""
    if isinstance(value, Markup):
        return value
    return "\n".join(map(printable, str(value).split("\n")))


def formula(text: str) -> Markup:
    """Text with its ``$formulas$``, in TeX, as MathML.

    >>> str(formula("at $x$ < 1"))[-7:]
    ' &lt; 1'
    """
    words = re.split(r"\$([^$]*)\$", text)
    return Markup("").join(
        Markup(_mathml(word)) if i % 2 else Markup(escape(lines(word))) for i, word in enumerate(words)
    )


@cache
def _mathml(tex: str) -> str:
    from latex2mathml.converter import convert

    return re.sub(r"(<mi>log</mi>)(?!<mo stretchy)", r'\1<mspace width="0.17em" />', convert(tex))
