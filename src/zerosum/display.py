"""What a person at the terminal sees of a run: a live panel, or plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import log
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zerosum.runs import Run

__all__ = ["display"]

Show = Callable[[dict[str, Any]], None]

_LINE_EVERY = 5.0  # seconds between two plain lines


@contextmanager
def display(run: Run, quiet: bool) -> Iterator[Show]:
    """A function that shows a record of `Run.play`; notes of the run (a broken checkpoint, ...) come first."""
    for note in run.notes:
        print(f"zerosum: warning: {note}", file=sys.stderr)
    if quiet:
        yield lambda record: None
    elif sys.stdout.isatty():
        with _live(run) as show:
            yield show
    else:
        yield _plain(run)


def _figures(run: Run, record: dict[str, Any]) -> list[tuple[str, str]]:
    """What is told of a record, as (name, value): everything that is known, with its equilibrium beside it."""
    game = run.game
    rate = record["steps_per_second"]
    shown = [("speed", f"{rate:,.0f} steps/s, {rate * game.batch * game.k:,.0f} real examples/s")]
    if "value" in record:
        shown += [
            ("D(x), D(G(z))", f"{record['d_real']:.3f}, {record['d_fake']:.3f}  (equilibrium 0.5)"),
            ("V(D, G)", f"{record['value']:+.4f}  (-log 4 = {-log(4):.4f})"),
        ]
    else:
        shown += [("logits", f"real {record['real_logit']:+.3f}, fake {record['fake_logit']:+.3f}")]
    shown += [
        ("D loss", f"{record['d_loss']:.4f}  (equilibrium {game.objective.equilibrium:.4f})"),
        ("G loss", f"{record['g_loss']:.4f}"),
    ]
    shown += [(p.name, f"{record[p.name]:.5f}") for p in game.penalties if p.name in record]
    return [*shown, ("checkpoint", f"step {run.saved:,} in {run.path}")]


def _eta(run: Run, record: dict[str, Any]) -> str:
    left = (run.recipe.steps - record["step"]) / max(record["steps_per_second"], 1e-9)
    minutes, seconds = divmod(round(left), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def _plain(run: Run) -> Show:
    last = -_LINE_EVERY
    print(f"{run.recipe.name}: {run.recipe.about} -> {run.path}", flush=True)

    def show(record: dict[str, Any]) -> None:
        nonlocal last
        step, steps = record["step"], run.recipe.steps
        if time.monotonic() - last < _LINE_EVERY and step < steps and not run.stop_reason:
            return
        last = time.monotonic()
        figures = "  ".join(f"{name} {value}" for name, value in _figures(run, record)[:-1])
        print(f"step {step:,}/{steps:,}  ETA {_eta(run, record)}  {figures}", flush=True)

    return show


@contextmanager
def _live(run: Run) -> Iterator[Show]:
    from rich.console import Group
    from rich.live import Live
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    def panel(record: dict[str, Any] | None) -> Panel:
        table = Table.grid(padding=(0, 2))
        step = record["step"] if record else run.game.step
        table.add_row("step", f"{step:,} of {run.recipe.steps:,}")
        table.add_row("time left", _eta(run, record) if record else "...")
        for row in _figures(run, record) if record else []:
            table.add_row(*row)
        bar = ProgressBar(total=run.recipe.steps, completed=step)
        return Panel(Group(bar, table), title=f"{run.recipe.name}: {run.recipe.about}", title_align="left")

    with Live(panel(None), refresh_per_second=4) as live:
        yield lambda record: live.update(panel(record))
