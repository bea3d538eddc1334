"""Changes while a game is played, and forks: the recipe and its changes together are the run.

A wish is a file ``changes/NAME.json`` in the run's directory: ``{"fields": {"g_optimizer.lr": 1e-4}}``,
dotted fields of the recipe with their new values. Put it there whole: write it under another name, then
rename it. It is taken up between two turns, becomes the event `changed` with its step, and is removed; or
`refused`, with the cause. A run that is resumed, from whatever checkpoint, plays each change again at its
step, and comes to the same bytes; so does another run that is given the same changes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zerosum.recipe import Recipe, RecipeError, resolved
from zerosum.run import files
from zerosum.run.log import Event, Log, RunError
from zerosum.schedules import ramp
from zerosum.text import printable

if TYPE_CHECKING:
    from zerosum.run.run import Run

__all__ = [
    "CHANGEABLE",
    "Change",
    "go_on",
    "play",
    "replayed",
    "sooner",
    "sweep",
    "take_up",
    "until",
    "wish",
    "written",
]

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
    reason: str = ""
    """why the run itself asked for it"""


def wish(path: Path, name: str, fields: Mapping[str, Any]) -> Path:
    """Ask the run in `path` for a change; the file that says so. A name is for one wish."""
    folder = path / "changes"
    folder.mkdir(exist_ok=True)
    file = folder / f"{name}.json"
    files.write(file, json.dumps({"fields": dict(fields)}).encode(), within=path)
    return file


def written(events: Sequence[Event]) -> list[Change]:
    """The changes that are written down, in their order."""
    return [
        Change(event["step"], event["fields"], reason=event.get("reason", ""))
        for event in events
        if event["event"] == "changed"
    ]


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


def play(run: Run) -> None:
    """Between two turns: play the changes that are known for this step."""
    step = run.game.step
    for i, change in enumerate(run.changes):
        if change.step == step:
            run.change(change.fields)
            if not change.written:
                why = {"reason": change.reason} if change.reason else {}
                run.log.add_event("changed", step, fields=change.fields, **why, **run.about_game())
                run.changes[i] = replace(change, written=True)


def go_on(run: Run, steps: int) -> None:
    """A run that is taken up again with other steps than it was begun with plays these, whatever changed."""
    begun = run.path / "recipe.yaml"
    if run.recipe.turns != steps and begun.is_file() and run.log.recipe().turns != steps:
        run.recipe = replace(run.recipe, steps=steps)
        run.changes.append(Change(run.game.step, {"steps": steps}))
        run.log.add_event("changed", run.game.step, fields={"steps": steps})


def take_up(run: Run) -> None:
    """Between two turns: play the changes that are known for this step, then those that are wished."""
    play(run)
    step = run.game.step
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


def sooner(recipe: Recipe, step: int, whole: float = 4 / 3) -> dict[str, Any] | None:
    """The fields by which a run that is done at a step ends at `whole` times that step, at a checkpoint.

    Whatever its schedules have still to do, they do by then, from where they stand. Nothing if they have
    nothing to do: then it may end at once. None if it would not end sooner than it does.
    """
    end = math.ceil(step * whole / recipe.checkpoint_every) * recipe.checkpoint_every
    share = (end - step) / max(recipe.turns - step, 1)
    tree = resolved(recipe)
    turns = {"g_optimizer": step, "d_optimizer": step * recipe.k, "penalties": step * recipe.k, "ema": step}
    fields = {name: _hastened(tree[name], now, share) for name, now in turns.items()}
    fields = {name: value for name, value in fields.items() if value != tree[name]}
    if not fields:
        return {}
    return {**fields, "steps": end} if share < 1 else None


def _hastened(part: Any, now: int, share: float) -> Any:
    """A part of a recipe whose ramps do what is left of them in a share of the steps."""
    if isinstance(part, list | tuple):
        return [_hastened(one, now, share) for one in part]
    if not isinstance(part, dict):
        return part
    if part.get("name") != "ramp" or part["begin"] + part["steps"] <= now:
        return {name: _hastened(one, now, share) for name, one in part.items()}
    value = ramp(**{name: one for name, one in part.items() if name != "name"})(now)
    begin, end = (max(at - now, 0) * share for at in (part["begin"], part["begin"] + part["steps"]))
    lengths = {"begin": now + round(begin), "steps": max(1, round(end - begin))}
    return {**part, "start": value, **lengths}


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
    if isinstance(fields.get("steps", 1), str):
        raise RunError(f"steps: a time is settled when a run begins: wish for turns, got {fields['steps']!r}")
    return fields
