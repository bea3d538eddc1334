"""The page of a sweep: how the search went, what mattered, every trial, and the recipe that won."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Mapping, Sequence
from itertools import accumulate, combinations
from pathlib import Path
from typing import Any

from zerosum.page.document import render
from zerosum.page.figure import Curve, Figure
from zerosum.page.formats import date, number
from zerosum.run import files
from zerosum.run.log import disk
from zerosum.sweep import Outcome, Range, Sweep
from zerosum.text import printable

__all__ = ["page", "write"]

PAIRS = 6
"""So many pairs of ranges are drawn, of those that matter most."""


def write(sweep: Sweep) -> Path:
    """Write sweep.html; returns where. Raises RunError if the disk refuses."""
    target = sweep.path / "sweep.html"
    with disk(sweep.path, "after a trial"):
        files.write(target, page(sweep).encode(errors="backslashreplace"), within=sweep.path)
    return target


def page(sweep: Sweep) -> str:
    """The search so far as HTML."""
    outcomes, ranked, shares = sweep.outcomes(), sweep.ranked(), sweep.importances()
    ranges = sorted(sweep.ranges, key=lambda r: -shares.get(r.name, 0.0))
    best = sweep.path / "best.yaml"
    return render(
        "sweep.html",
        name=f"{sweep.recipe.name}: {sweep.goal.name}",
        about=f"The {sweep.goal.best} is sought. Seeds of each trial: {sweep.seeds}.",
        count=len(outcomes),
        history=_history(sweep, outcomes) if ranked else None,
        slices=[_slice(sweep, r, outcomes) for r in ranges] if ranked else [],
        pairs=[_pair(a, b, outcomes, ranked) for a, b in [*combinations(ranges, 2)][:PAIRS]]
        if ranked
        else [],
        shares=[[name, f"{share:.0%}"] for name, share in shares.items()],
        head=["trial", "state", sweep.goal.name, "95 % over seeds", *(r.name for r in sweep.ranges)],
        rows=[_row(sweep, o) for o in [*ranked, *(o for o in outcomes if o.value is None)]],
        best=best.read_text() if ranked and best.is_file() else "",
        path=shlex.quote(printable(best)),
        first=sweep.recipe.seed + sweep.seeds,
        now=date(datetime.datetime.now(datetime.UTC).timestamp()),
    )


def _row(sweep: Sweep, outcome: Outcome) -> list[str]:
    state = f"{outcome.state}: {outcome.reason}" if outcome.reason else outcome.state
    ends = "–" if outcome.low is None else f"{number(outcome.low, 3)} to {number(outcome.high, 3)}"
    drawn = (outcome.drawn.get(r.name, "–") for r in sweep.ranges)
    values = (number(x, 3) if isinstance(x, float) else str(x) for x in drawn)
    return [str(outcome.number), state, number(outcome.value, 4), ends, *values]


def _history(sweep: Sweep, outcomes: Sequence[Outcome]) -> Figure:
    """Every trial in its order, and the best until then."""
    done = [(float(o.number), o.value) for o in outcomes if o.value is not None]
    choose = max if sweep.goal.best == "highest" else min
    best = list(accumulate((y for _, y in done), choose))
    each = [(float(o.number), x) for o in outcomes for x in o.values.values()] if sweep.seeds > 1 else []
    curves = [
        *([Curve("a seed", each, 1, line=False, dots=True, faint=True)] if each else []),
        Curve("a trial", done, 1, line=False, dots=True),
        Curve("the best so far", [(x, y) for (x, _), y in zip(done, best, strict=True)], 2, value=best[-1]),
    ]
    ill = sum(o.state == "ill" for o in outcomes)
    caption = f"{ill} of {len(outcomes)} trials were ended by a fault, and are not drawn." if ill else ""
    title = f"{sweep.goal.name}: {number(best[0], 3)} at first, {number(best[-1], 3)} at last"
    return Figure(title, curves, "trial", sweep.goal.name, caption=caption)


def _places(r: Range) -> tuple[Mapping[Any, float], str]:
    """Where the choices of a range stand on an axis, and what has to be said of that."""
    if not r.choices:
        return {}, ""
    values = [r.settings(choice)[r.fields[0]] for choice in r.choices]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return dict(zip(r.choices, map(float, values), strict=True)), ""
    words = "; ".join(f"{i} is {choice}" for i, choice in enumerate(r.choices))
    return {choice: float(i) for i, choice in enumerate(r.choices)}, f"{r.name}: {words}."


def _at(r: Range, outcome: Outcome) -> float:
    drawn = outcome.drawn[r.name]
    return _places(r)[0][drawn] if r.choices else float(drawn)


def _log(r: Range) -> bool:
    places = sorted(_places(r)[0].values())
    return r.log or (bool(places) and places[0] > 0 and places[-1] > 5 * places[0])


def _slice(sweep: Sweep, r: Range, outcomes: Sequence[Outcome]) -> Figure:
    """The goal of each trial over one range."""
    points = [(_at(r, o), o.value) for o in outcomes if o.value is not None]
    logs = "x" * _log(r)
    return Figure(
        r.name, [Curve("a trial", points, 1, line=False, dots=True)], r.name, sweep.goal.name,
        caption=_places(r)[1], logs=logs or "auto", time=False, small=True,
    )  # fmt: skip


def _pair(a: Range, b: Range, outcomes: Sequence[Outcome], ranked: Sequence[Outcome]) -> Figure:
    """Where in two ranges the best quarter of the trials lies, the others, and the ill ones."""
    top = {o.number for o in ranked[: max(1, len(ranked) // 4)]}
    groups = {
        "the best quarter": (3, [o for o in ranked if o.number in top]),
        "the others": (1, [o for o in ranked if o.number not in top]),
        "ill": (2, [o for o in outcomes if o.state == "ill"]),
    }
    curves = [
        Curve(name, [(_at(a, o), _at(b, o)) for o in some], colour, line=False, dots=True)
        for name, (colour, some) in groups.items()
        if some
    ]
    logs = "x" * _log(a) + "y" * _log(b)
    caption = " ".join(filter(None, (_places(a)[1], _places(b)[1])))
    title = f"{a.name} and {b.name}"
    return Figure(title, curves, a.name, b.name, caption=caption, logs=logs or "none", time=False, small=True)
