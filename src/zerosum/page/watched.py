"""Runs as their files show them while they grow: what a page that looks on needs to know.

Training does not know that it is watched: nothing is asked of it, and nothing is written to its directory.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from zerosum.page import events
from zerosum.page.address import fields_of
from zerosum.page.curves import QUALITY, words
from zerosum.page.formats import date, finite, wrong
from zerosum.run import files
from zerosum.run.changes import CHANGEABLE
from zerosum.run.log import Event, Log, Record, RunError, not_a_run, thinned
from zerosum.text import printable

__all__ = ["Watched", "runs"]

MOST = 1500  # values of a quantity that are kept of a long run, two for a pixel of a chart
SHARE = 1 / 200  # of the time that may go into judging a run while it grows
JUDGED = 2**25  # bytes of records beyond which a run is not judged while it grows

Columns = dict[str, dict[str, list[float | None]]]


def runs(path: Path) -> list[Path]:
    """The run in `path`, or those in the directory `path`. Raises RunError where there is neither."""
    if os.path.lexists(path / "recipe.yaml"):
        return [path]
    try:
        inside = [path / name for name in files.listing(path)]
    except OSError as error:
        raise RunError(f"{printable(path)}: {error.strerror or error}") from error
    found = [one for one in inside if os.path.lexists(one / "recipe.yaml") and not one.is_symlink()]
    if not found:
        raise not_a_run(path)
    return sorted(found, key=lambda one: (len(one.name), one.name))


class Watched:
    """A run whose files are read on as they grow, by `poll`.

    records: those held; generation: counts how often they were read anew. standing: how the run stands, in
    words, and which pictures it has; stood: counts how often that has changed.
    """

    def __init__(self, path: Path) -> None:
        self.log, self.path = Log(path), path
        self.name = path.name or printable(path.resolve().name)
        self.records: list[Record] = []
        self.generation = 0
        self.standing: dict[str, Any] = {}
        self.stood = 0
        self._events, self._pictures = list[Event](), list[int]()
        self._place = (0, 0)  # inode of the file of records, and the byte up to which it was read
        self._room = 2 * MOST  # records beyond which they are thinned
        self._signature: tuple[Any, ...] = ()
        self._findings, self._why = list[dict[str, Any]](), ""  # of the last judgement, and why there is none
        self._unjudged, self._due = False, 0.0  # whether there is more since, and when it may be judged anew

    def poll(self) -> None:
        """Read what is new. Whatever is wrong with the files becomes a line of `standing`."""
        try:
            grown = self._read_records()
            signature = tuple(self._stamp(name) for name in ("events.jsonl", "samples"))
            happened = signature != self._signature
            if happened:
                self._events, self._pictures = self.log.events(), list(self.log.pictures())
                self._signature = signature
            self._unjudged |= grown or happened
            judge = self._unjudged and monotonic() >= self._due
            if judge:
                self._judge()
            if happened or judge:
                self._stand(self._standing())
        except Exception as error:  # files may hold anything, and the other runs are to be shown
            none = {"pictures": [], "events": [], "findings": [], "scales": {}}
            self._stand({"state": wrong(error), **none})

    def _stand(self, standing: dict[str, Any]) -> None:
        if standing != self.standing:
            self.standing, self.stood = standing, self.stood + 1

    def _stamp(self, name: str) -> Any:
        try:
            status = (self.path / name).lstat()
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _read_records(self) -> bool:
        stamp = self._stamp("metrics.jsonl")
        inode, size = stamp[:2] if stamp else (0, 0)
        if inode != self._place[0] or size < self._place[1]:  # begun anew, or cut back by a resumption
            self.records, self.generation, self._place = [], self.generation + 1, (inode, 0)
            self._room = 2 * MOST
        if size == self._place[1]:
            return False
        new, end = self.log.follow(self._place[1], MOST)
        self._place = (inode, end)
        self.records += new
        if len(self.records) > self._room:
            self.records, self.generation = thinned(self.records, MOST), self.generation + 1
            self._room = len(self.records) + MOST
        return bool(new)

    def _judge(self) -> None:
        """What the diagnosis makes of all records: the longer they are, the more rarely."""
        from zerosum.run.examined import examine

        begun, self._findings, self._why = monotonic(), [], ""
        if self._place[1] <= JUDGED:
            try:
                self._findings = [_finding(finding) for finding in examine(self.path).findings]
            except Exception as error:  # a recipe may import a module of the user's own
                self._why = printable(error)
        now = monotonic()
        self._unjudged, self._due = False, now + (now - begun) / SHARE

    def _standing(self) -> dict[str, Any]:
        happened = self._events
        last = happened[-1] if happened else {}
        return {
            "again": again(self.path),
            "state": f"{events.kind(last) if last else 'nothing yet'}, {date(last.get('time'))}",
            "why": self._why,
            "pictures": self._pictures,
            "findings": self._findings,
            "events": [_event(event) for event in happened[-events.MARKED :]],
            "scales": _scales(next((e["scales"] for e in reversed(happened) if "scales" in e), {})),
        }


def again(path: Path) -> str:
    """The command that plays a run again, changes and all, to the same bytes."""
    run = printable(path)
    words = ["zerosum", "train", f"{run}/recipe.yaml", "--changes", run, "--out", f"{run}-again"]
    return shlex.join(words)


def _finding(finding: Any) -> dict[str, Any]:
    return {
        "name": printable(finding.name),
        "level": finding.level,
        "since": finding.since,
        "confidence": finding.confidence,
        "evidence": [printable(item) for item in finding.evidence],
        "advice": [{"text": printable(item), "fields": _change(item)} for item in finding.advice],
    }


def _change(advice: Any) -> dict[str, Any] | None:
    """What a page may do of an advice while the game is played; None where it takes another game."""
    try:
        fields = fields_of(advice.fields)
    except ValueError:
        return None
    return fields if all(name.split(".")[0] in CHANGEABLE for name in advice.fields) else None


def _scales(declared: Mapping[str, Any]) -> dict[str, Any]:
    """The unit of each reading and its value at the equilibrium, None where that is not known."""
    return {printable(name): [printable(unit), finite(rest)] for name, (unit, rest) in declared.items()}


def _event(event: Mapping[str, Any]) -> dict[str, Any]:
    sign, bad = events.sign(event)
    text = printable(events.sentence(event))
    return {
        "step": event["step"],
        "kind": printable(events.kind(event)),
        "sign": sign,
        "bad": bad,
        "text": text,
    }


def columns(records: Sequence[Mapping[str, Any]]) -> Columns:
    """Each quantity by itself: its steps, values, and the ends of its intervals where there are any."""
    table: Columns = {}
    for record in records:
        intervals = record.get("intervals", {})
        for key, value in record.items():
            if key in ("step", "intervals") or (y := finite(value)) is None:
                continue
            low, high = intervals.get(key, (None, None))
            column = table.setdefault(printable(key), {"step": [], "value": [], "low": [], "high": []})
            for name, x in zip(column, (record["step"], y, low, high), strict=True):
                column[name].append(x)
    for column in table.values():
        if not any(low is not None for low in column["low"]):
            del column["low"], column["high"]
    return table


def names(table: Columns) -> dict[str, str]:
    """Quantities in words, the best first."""
    first = [*QUALITY, "value", "d_real", "d_fake", "real_logit", "fake_logit", "d_loss", "g_loss"]
    keys = [*(key for key in first if key in table), *(key for key in table if key not in first)]
    return {key: words(key) for key in keys}
