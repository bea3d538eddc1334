"""Diagnosis: readings become a state, and faults that have a name, evidence, a confidence and advice.

`diagnose` is a pure function of the records of a run (as in its metrics.jsonl) and of a few `Facts` of its
game. It gives what stands at the last record: faults, then warnings, then the state of the game, then notes;
of each kind causes come before their consequences.

    learning              the samples get better, and are not good yet
    converging            the samples get better, and cover most of the data
    at equilibrium        no reading tells the samples from the data
    no longer improving   neither: what there is to gain was gained, or something is wrong

>>> from torch import nn
>>> from zerosum import Game, data, objectives
>>> D = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1), nn.Flatten(0))
>>> game, ring = Game(nn.Linear(4, 2), D, objectives.minimax(), latent=4, batch=8), data.ring()
>>> records = [
...     {"step": s, "d_fake": 0.01, "accuracy": 0.99, "g_update_share": 0.01} for s in range(0, 1300, 100)
... ]
>>> [finding.name for finding in diagnose(records, facts(game, ring))]
['minimax saturation']
>>> print(diagnose(records, facts(game, ring))[0].advice[0])
--objective nonsaturating: its gradient is the minimax one times (1 - D)/D, strong where D rejects the fakes
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zerosum.watch.best import READING, best
from zerosum.watch.facts import Facts, facts
from zerosum.watch.faults import FAULTS
from zerosum.watch.finding import LEVELS, Advice, Evidence, Finding
from zerosum.watch.history import READINGS, History, Record
from zerosum.watch.shortfall import COVERAGE, EQUAL, GOOD, is_good, shortfall, suffering

__all__ = ["FAULTS", "STATES", "Advice", "Evidence", "Facts", "Finding", "diagnose", "facts"]

Fault = Callable[[History, Facts], Finding | None]

STATES = ("learning", "converging", "at equilibrium", "no longer improving")

SPREAD = 0.1  # of the data's spread, within which the samples' own is the same
PROVEN = 0.05  # divergence that D proves on held-out data, above which there is no equilibrium


def diagnose(records: Sequence[Record], facts: Facts, own: Sequence[Fault] = ()) -> list[Finding]:
    """What stands at the last record: faults, warnings, the state, notes; nothing if it is early.

    records: in the order of time, ``{"step": s, name of a reading: value, ...}``, intervals under
    ``intervals``; a reading is missing where its instrument did not look. own: faults to look for
    beside those of `FAULTS`, each ``(history, facts) -> Finding or None``.
    """
    history = History(records, facts.turns)
    found = [finding for fault in (*FAULTS.values(), *own) if (finding := fault(history, facts)) is not None]
    state = _state(history, facts)
    findings = [f for level in LEVELS[:2] for f in found if f.level == level]
    return [*findings, *([state] if state else []), *(f for f in found if f.level == "note")]


def _state(h: History, f: Facts) -> Finding | None:
    course, coverage, kept = h.course, h.recent("coverage"), best(h.all)
    if course is None or coverage != coverage:
        return None
    sure = not h.early and len(h.series("coverage", READINGS)) == READINGS  # of the first blobs it is not
    same = sure and coverage > EQUAL * COVERAGE and abs(h.recent("spread") - 1) < SPREAD
    if same and is_good(h, f) and not h.recent("divergence_bound") > PROVEN:
        name = "at equilibrium"
    elif course.worse or suffering(h, f) or (kept.done if kept else course.idle):
        name = "no longer improving"
    else:
        name = "converging" if sure and coverage > GOOD * COVERAGE else "learning"
    share = min(coverage / COVERAGE, 1.0)
    since = kept.since if kept and kept.done else course.at
    evidence = shortfall(h, f)
    if kept:
        others = {"step": kept.step, "low": kept.low, "high": kept.high}
        evidence += (Evidence(READING, kept.value, None, (READING,), others),)
    return Finding(name, "note", since, round(0.5 + 0.5 * share, 3), evidence)
