"""A game in a page's hands: started, paused, played by the turn and by half a turn, changed, forked.

It is a run like any other: all that is changed stands in its events, so that it plays to the same bytes
again.
"""

from __future__ import annotations

import json
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

from torch import Tensor

from zerosum import objectives
from zerosum import recipe as recipes
from zerosum.game import Turn
from zerosum.page import address
from zerosum.page.address import Place
from zerosum.page.formats import wrong
from zerosum.page.view import View, view
from zerosum.recipe import Recipe
from zerosum.run import changes, checkpoints, files
from zerosum.run.log import Log, RunError
from zerosum.run.run import Run
from zerosum.run.session import Session
from zerosum.text import printable

__all__ = ["ORDERS", "Player", "editable", "fork"]

ORDERS = ("play", "pause", "slow", "turn", "half")
FRAME = 1 / 25  # seconds from one frame to the next, at least
SHARE = 1 / 3  # of the time that may go into frames while the game is played
PENALTIES = [
    "[]",
    '[{"name": "r1", "weight": 0.1}]',
    '[{"name": "r1", "weight": 0.1}, {"name": "r2", "weight": 0.1}]',
    '[{"name": "wgan_gp", "weight": 10}]',
]
SLOW = 0.7  # seconds that half a turn lasts in slow motion


class Player:
    """Plays the run in `path` as it is told by `do` and `change`, in a thread of its own.

    place: the game that it is, as an address says it, None where it has none: it is played to its step by
    itself. first: fields of the recipe that change before anything is played, in a run that has begun.
    frame: what a page draws, as plain data; count: of the frames so far.
    """

    def __init__(
        self, path: Path, recipe: Recipe, place: Place | None = None, first: Mapping[str, Any] | None = None
    ) -> None:
        self.path, self.recipe, self.place, self.first = path, recipe, place, first
        self.frame: dict[str, Any] = {"mode": "starting", "step": 0}
        self.count = 0
        self._mode = "pause"
        self._orders: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._before: Tensor | None = None  # the fakes before G's half of the turn, while D's half is shown
        self._due = 0.0  # the time of the next frame
        self._wishes = 0
        self._thread = threading.Thread(target=self._run, daemon=True, name="zerosum-player")

    def start(self) -> None:
        self._thread.start()

    def do(self, order: str) -> None:
        """One of `ORDERS`."""
        self._orders.put((order, None))

    def change(self, fields: Mapping[str, Any]) -> None:
        """Wish for other values of fields of the recipe, between two turns."""
        self._orders.put(("change", fields))

    def leads_from(self, place: Place) -> bool:
        """Whether this game comes, or has come, by this place."""
        now = self.frame.get("address")
        on_its_way = self.place is not None and str(self.place) == str(place)
        return on_its_way or (now is not None and place.leads_to(address.read(now)))

    def note(self, line: str) -> None:
        """Tell the page something."""
        self._tell(note=line)

    def close(self) -> None:
        """Save after the present turn, and let go of the run."""
        self._orders.put(("close", None))
        if self._thread.ident is not None:
            self._thread.join()

    # in the thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            steered = [] if self.first or self.place is None else self.place.changes
            with Run.start(self.path, self.recipe, steered=steered) as run:
                if self.first:
                    self._wish(run, self.first)
                self._play(run, Session(run), run.turns(), view(run))
        except Exception as error:  # a disk that is full, or a part of the user's own
            self._tell(mode="ended", note=wrong(error))

    def _play(self, run: Run, session: Session, turns: Iterator[Turn], drawn: View) -> None:
        goal = 0 if self.first or self.place is None else self.place.step
        if run.game.step < goal:
            self._mode = "play"
        self._show(run, drawn)
        while not session.over:
            if 0 < goal == run.game.step and self._mode == "play":
                goal, self._mode = 0, "pause"
                self._show(run, drawn)
            order, value = self._next()
            if order == "close":
                run.stop("the page")
                run.save()
                break
            if order == "change":
                self._wish(run, value)
            elif order in ("play", "pause", "slow"):
                self._mode = order
            if order in ("half", "") and (order or self._mode == "slow"):
                self._half(run, session, turns, drawn)
            elif order == "turn" or (order == "" and self._mode == "play"):
                self._turn(session, turns)
            if order or self._mode != "play" or time.monotonic() > self._due:
                self._show(run, drawn)
        session.end()
        self._mode = "finished" if run.game.step >= run.recipe.turns else "closed"
        self._show(run, drawn)

    def _next(self) -> tuple[str, Any]:
        """The next order; "" where there is none and the game goes on by itself."""
        wait = {"play": 0.0, "slow": SLOW}.get(self._mode)
        try:
            return self._orders.get(block=wait != 0.0, timeout=wait)
        except queue.Empty:
            return "", None

    def _turn(self, session: Session, turns: Iterator[Turn]) -> None:
        if self._before is not None:  # what is left of this one is G's half
            self._before = None
            return
        session.after(next(turns))
        session.prune()

    def _half(self, run: Run, session: Session, turns: Iterator[Turn], drawn: View) -> None:
        """D's half, which is shown before the fakes as they were; then G's."""
        if self._before is not None:
            self._before = None
            return
        before = drawn.fakes(run.game)
        self._turn(session, turns)
        self._before = before

    def _wish(self, run: Run, fields: Mapping[str, Any]) -> None:
        self._wishes += 1
        changes.wish(self.path, f"page-{time.time_ns()}-{self._wishes}", fields)
        if self._mode == "pause" and run.game.step > 0:
            changes.take_up(run)

    def _show(self, run: Run, drawn: View) -> None:
        begun = time.monotonic()
        self._tell(
            mode=self._mode,
            step=run.game.step,
            half="g" if self._before is None else "d",
            steps=sorted({*checkpoints.steps(self.path / "checkpoints"), *self._saved_by_closing(run)}),
            fields=editable(run),
            address=None if self.place is None else str(self._now(run)),
            **drawn.draw(run.game, self._before, self._mode != "play"),
        )
        self._due = begun + max(FRAME, (time.monotonic() - begun) / SHARE)

    def _saved_by_closing(self, run: Run) -> list[int]:
        """A game that stands still may be forked here and now: to close it is to save it."""
        return [run.game.step] if self._mode == "pause" else []

    def _now(self, run: Run) -> Place:
        assert self.place is not None
        played = [change for change in run.changes if change.written]
        return replace(self.place, changes=played, step=run.game.step)

    def _tell(self, **frame: Any) -> None:
        self.frame = {**self.frame, **frame} if "note" in frame else frame
        self.count += 1


def editable(run: Run) -> list[dict[str, Any]]:
    """What of a recipe a page offers to change while its game is played, with the present values."""
    game = run.game
    numbers: dict[str, Any] = {
        "g_optimizer.lr": game.G.optimizer.param_groups[0]["lr"],
        "d_optimizer.lr": game.D.optimizer.param_groups[0]["lr"],
        **{f"penalties.{i}.weight": p.weight for i, p in enumerate(game.penalties)},
        "k": game.k,
        "batch": game.batch,
    }
    now = {name: _now(x, game.step * game.k) for name, x in numbers.items()}
    name = recipes.name_of(run.recipe.objective)
    if "label_smoothing" in signature(getattr(objectives, name, len)).parameters:
        own = run.recipe.objective if isinstance(run.recipe.objective, dict) else {}
        now["objective.label_smoothing"] = float(own.get("label_smoothing", 0.0))
    choices = sorted(name for name in objectives.__all__ if name[0].islower() and name != "f_divergence")
    fields = [
        {"path": "objective", "value": name, "choices": choices},
        {"path": "penalties", "value": json.dumps(run.recipe.penalties), "choices": PENALTIES},
    ]
    return [*({"path": name, "value": float(f"{x:.4g}")} for name, x in now.items()), *fields]


def _now(x: float | Callable[[int], Any], step: int) -> float:
    return float(x(step) if callable(x) else x)


def fork(path: Path, step: int, to: Path) -> Recipe:
    """Copy a run as it stood at a step that it keeps, with its changes until then, so that another can go on
    from there; the recipe that both began with.

    Raises RunError if the run keeps no checkpoint of that step.
    """
    log = Log(path)
    checkpoint = f"checkpoints/{step:06d}"
    if step not in checkpoints.steps(path / "checkpoints"):
        raise RunError(f"{printable(path)} keeps no checkpoint of step {step}")
    recipe, events = log.recipe(), [event for event in log.events() if event["step"] <= step]
    shutil.copytree(path / checkpoint, to / checkpoint)
    for name in ("recipe.yaml", "metrics.jsonl"):
        shutil.copyfile(path / name, to / name)
    for event in events:
        files.append(to / "events.jsonl", event)
    return recipe
