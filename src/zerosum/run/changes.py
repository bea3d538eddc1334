"""Changes while a game is played, and forks: the recipe and its changes together are the run.

A wish is a file ``changes/NAME.json`` in the run's directory: ``{"fields": {"g_optimizer.lr": 1e-4}}``,
dotted fields of the recipe with their new values. Put it there whole: write it under another name, then
rename it. It is taken up between two turns, becomes the event `changed` with its step, and is removed; or
`refused`, with the cause. A run that is resumed, from whatever checkpoint, plays each change again at its
step, and comes to the same bytes; so does another run that is given the same changes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zerosum.recipe import RecipeError
from zerosum.run import files
from zerosum.run.log import Event, Log, RunError
from zerosum.text import printable

if TYPE_CHECKING:
    from zerosum.run.run import Run

__all__ = ["CHANGEABLE", "Change", "replayed", "sweep", "take_up", "until", "wish", "written"]

CHANGEABLE = frozenset(
    {
        *("objective", "penalties", "g_optimizer", "d_optimizer", "k", "batch", "ema"),
        *("steps", "log_every", "sample_every", "checkpoint_every", "keep"),
    }
)
"""Fields of a recipe that may change while its game is played: none that the players' weights depend on."""
_LARGEST = 2**16  # bytes in a wish


@dataclass(frozen=True)
class Change:
    """From after turn `step` on, the recipe has these values at these dotted paths."""

    step: int
    fields: Mapping[str, Any]
    written: bool = True
    """whether it is an event of its run already"""


def wish(path: Path, name: str, fields: Mapping[str, Any]) -> Path:
    """Ask the run in `path` for a change; the file that says so. A name is for one wish."""
    folder = path / "changes"
    folder.mkdir(exist_ok=True)
    file = folder / f"{name}.json"
    files.write(file, json.dumps({"fields": dict(fields)}).encode(), within=path)
    return file


def written(events: Sequence[Event]) -> list[Change]:
    """The changes that are written down, in their order."""
    return [Change(event["step"], event["fields"]) for event in events if event["event"] == "changed"]


def replayed(of: Path, into: Path) -> list[Change]:
    """The changes of the run in `of` that the run in `into`, which may have begun, has yet to play.

    Raises RunError where there is no run in `of`, or where the other run was changed otherwise.
    """
    Log(of).recipe()
    wanted, there = written(Log(of).events()), written(Log(into).events())
    if there != wanted[: len(there)]:
        raise RunError(
            f"{printable(into)} was changed otherwise than {printable(of)}: give --out another directory"
        )
    return wanted[len(there) :]


def until(changes: Sequence[Change], step: int) -> dict[str, Any]:
    """The fields that have changed by a step, with their values then."""
    fields: dict[str, Any] = {}
    for change in changes:
        if change.step <= step:
            fields |= change.fields
    return fields


def take_up(run: Run) -> None:
    """Between two turns: play the changes that are known for this step, then those that are wished."""
    step = run.game.step
    for i, change in enumerate(run.changes):
        if change.step == step:
            run.change(change.fields)
            if not change.written:
                run.log.add_event("changed", step, fields=change.fields, **run.about_game())
                run.changes[i] = replace(change, written=True)
    for file in run.log.wishes():
        label = _label(file)
        try:
            fields = _fields(file, run.path)
            run.change(fields)
        except (RunError, RecipeError) as error:
            run.log.add_event("refused", step, cause=printable(error), wish=label)
        else:
            run.log.add_event("changed", step, fields=fields, wish=label, **run.about_game())
            run.changes.append(Change(step, fields))
        file.unlink()


def _label(file: Path) -> str:
    """Tells a wish from any other, also of the same name."""
    return f"{file.name} {file.stat().st_mtime_ns}"


def sweep(log: Log, events: Sequence[Event]) -> None:
    """Remove wishes that were granted just before the process died."""
    granted = {event.get("wish") for event in events if event["event"] in ("changed", "refused")}
    for file in log.wishes():
        if _label(file) in granted:
            file.unlink()


def _fields(file: Path, within: Path) -> dict[str, Any]:
    """The fields of a wish. Raises RunError for what is none."""
    content = files.read(file, within=within)
    try:
        fields = json.loads(content[:_LARGEST])["fields"]
        heads = {name.split(".")[0] for name in fields}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RunError(f'it should say {{"fields": {{name: value}}}} ({type(error).__name__})') from error
    if not isinstance(fields, dict) or not fields or heads - CHANGEABLE:
        raise RunError(
            f"these fields can change while a game is played: {', '.join(sorted(CHANGEABLE))}; "
            f"got {', '.join(sorted(heads)) if isinstance(fields, dict) else type(fields).__name__}"
        )
    return fields
