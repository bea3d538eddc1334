"""How a run stands, from its files alone: finished or still running, on this machine or another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from zerosum import recipe as recipes
from zerosum.run.log import Event, Log, Record, RunError
from zerosum.text import printable
from zerosum.watch import diagnosis
from zerosum.watch.best import Best, best
from zerosum.watch.diagnosis import Finding

__all__ = ["Examined", "examine"]


@dataclass(frozen=True)
class Examined:
    """How a run stands, from its files alone. scales: the unit and the equilibrium of each reading. best: of
    its checkpoints."""

    path: Path
    records: list[Record]
    events: list[Event]
    findings: list[Finding]
    scales: Mapping[str, tuple[str, float | None]]
    best: Best | None = None

    def as_dict(self) -> dict[str, Any]:
        step = self.records[-1]["step"] if self.records else 0
        return {
            "run": str(self.path),
            "step": step,
            "best": None if self.best is None else asdict(self.best),
            "findings": [finding.as_dict() for finding in self.findings],
        }


def examine(path: Path | str) -> Examined:
    """Judge a run from its files, finished or still running. Raises RunError if it is no run, or began before
    runs were watched.
    """
    log, path = Log(path), Path(path)
    own = recipes.build_faults(log.recipe())
    events, history = log.events(), log.records()
    about: Mapping[str, Any] = next((e for e in reversed(events) if "judged" in e), {})
    if not about:
        raise RunError(
            f"{printable(path)} has no record of its game in events.jsonl: train it on, and ask again"
        )
    last = events[-1]
    broken = [dict(last)] if last["event"] == "fault" and last["name"] == "non-finite" else []
    judged: dict[str, Any] = {**about["judged"]}
    judged["examples"] = math.inf if judged.get("examples") is None else judged["examples"]
    try:
        facts = TypeAdapter(diagnosis.Facts).validate_python(judged)
        findings = diagnosis.diagnose([*history, *broken], facts, own)
    except (ValidationError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(
            f"{printable(path / 'events.jsonl')}: what it says of the game cannot be: "
            f"{printable(' '.join(str(error).split()))[:200]}"
        ) from error
    scales = {name: (x[0], x[1]) for name, x in about.get("scales", {}).items() if _is_scale(x)}
    return Examined(path, history, events, findings, scales, best(history))


def _is_scale(x: Any) -> bool:
    return isinstance(x[0], str) and (x[1] is None or type(x[1]) in (int, float))
