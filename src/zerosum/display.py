"""What a person at the terminal sees of a run: a live panel, or plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import log
from statistics import fmean
from typing import TYPE_CHECKING, Any

from zerosum.recipe import name_of
from zerosum.text import printable

if TYPE_CHECKING:
    from zerosum.run.examined import Examined
    from zerosum.run.run import Run
    from zerosum.run.seeds import StackedSeeds
    from zerosum.watch.diagnosis import Finding

__all__ = ["curve", "display", "loading", "together", "told"]

Record = dict[str, Any]
Show = Callable[[Record], None]

_LINE_EVERY = 5.0  # seconds between two plain lines


@contextmanager
def display(run: Run, quiet: bool) -> Iterator[Show]:
    """A function that shows a record of `Run.play`; notes (a broken checkpoint, ...) come first."""
    _say_notes([run], quiet)
    if quiet:
        yield lambda record: None
    elif sys.stdout.isatty():
        with _live(run) as show:
            yield show
    else:
        yield _plain(run)


@contextmanager
def loading(quiet: bool) -> Iterator[None]:
    """In here, the reading of data is shown on stderr: as a bar, or a line where there is no terminal."""
    from zerosum.data.progress import shown_by

    if quiet:
        yield
        return
    with shown_by(_bar if sys.stderr.isatty() else _line):
        yield


@contextmanager
def _line(what: str, unit: str) -> Iterator[Callable[[int, int | None], None]]:
    print(f"zerosum: {printable(what)}", file=sys.stderr)
    yield lambda done, total: None


@contextmanager
def _bar(what: str, unit: str) -> Iterator[Callable[[int, int | None], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    amount = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = TextColumn("{task.description}", markup=False), BarColumn(), amount, TimeRemainingColumn()
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(printable(what), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _say_notes(runs: Sequence[Run | StackedSeeds], quiet: bool) -> None:
    for note in dict.fromkeys(note for run in runs for note in run.notes):
        if not quiet or note.startswith("warning"):
            print(f"zerosum: {note}", file=sys.stderr)


def _title(run: Run) -> str:
    recipe = run.recipe
    return f"{recipe.name}: {name_of(recipe.objective)} on {name_of(recipe.data)}, in {run.path}"


def _figures(run: Run, record: Record) -> list[tuple[str, str]]:
    """What is told of a record, as (name, value): all that is known, with its equilibrium beside it."""
    game = run.game
    rate = record["steps_per_second"]
    what = "images" if len(run.facts["shape"]) == 3 else "examples"
    shown = [("state", _state(run.findings))] if run.findings else []
    shown += [("speed", f"{rate:,.0f} steps/s, {rate * game.batch * game.k:,.0f} {what}/s")]
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
    names = [str(penalty.name) for penalty in game.penalties]
    shown += [(name, f"{record[name]:.5f}") for name in names if name in record]
    return shown


def _state(findings: Sequence[Finding]) -> str:
    """How the game stands in a line: what is wrong with the first advice, or its state with what shows it."""
    first = findings[0]
    if first.level != "note":
        advice = f": try {first.advice[0].option}" if first.advice else ""
        return f"{first.level}: {first.name}, since step {first.since:,} ({first.confidence:.0%}){advice}"
    read = {e.quantity: e for e in first.evidence}
    modes, coverage = read.get("modes_covered"), read.get("coverage")
    shown = [f"{modes.value:.0f} of {modes.others['modes']} modes"] if modes else []
    shown += [f"coverage {coverage.value:.0%}"] if coverage else []
    return f"{first.name} ({', '.join(shown)})" if shown else first.name


def told(seen: Examined) -> str:
    """How a run stands, in words: each finding with the curves that its evidence is made of."""
    from zerosum.watch.diagnosis import STATES

    step = seen.records[-1]["step"] if seen.records else 0
    lines = [f"{seen.path}, step {step:,}"]
    if not seen.findings:
        lines.append("too early to say: train on")
    for finding in seen.findings:
        mark = "state" if finding.name in STATES else finding.level
        lines += [
            "",
            f"{mark}: {finding.name}, since step {finding.since:,} (confidence {finding.confidence:.0%})",
        ]
        lines += [f"  {evidence}" for evidence in finding.evidence]
        curves = [name for name in finding.curves if any(name in record for record in seen.records)]
        lines += [f"  {_curve_of(seen, name)}" for name in curves]
        lines += [f"  try {advice}" for advice in finding.advice]
    past = [e for e in seen.events if e["event"] == "fault" or e["event"] == "recovered"]
    lines += ["", "before:"] if past else []
    lines += [f"  step {e['step']:,}: {e['event']}: {e['name']}" for e in past[-10:]]
    return "\n".join(lines)


def _curve_of(seen: Examined, name: str) -> str:
    values = [record[name] for record in seen.records if name in record]
    unit, rest = seen.scales.get(name, ("", None))
    ends = f"{values[0]:.4g} -> {values[-1]:.4g} {unit}".rstrip()
    return f"{name:16s} {curve(values)}  {ends}" + (f" (equilibrium {rest:.4g})" if rest is not None else "")


BLOCKS, PLAIN = "▁▂▃▄▅▆▇█", "_.,-~+*#"


def _prints(text: str) -> bool:
    """Whether standard output has these signs."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def curve(values: Sequence[float], width: int = 40) -> str:
    """Values as a line of blocks, low to high; of many values the means of `width` parts. Plain signs where
    the output has no blocks.

    >>> curve([0, 1, 2, 3])
    '▁▃▆█'
    """
    parts = [values[len(values) * i // width : len(values) * (i + 1) // width] for i in range(width)]
    means = [fmean(part) for part in parts if part] if len(values) > width else [*values]
    low, high = min(means), max(means)
    return "".join(
        (BLOCKS if _prints(BLOCKS) else PLAIN)[round(7 * (x - low) / (high - low)) if high > low else 3]
        for x in means
    )


def _eta(run: Run, record: Record) -> str:
    left = (run.recipe.steps - record["step"]) / max(record["steps_per_second"], 1e-9)
    minutes, seconds = divmod(round(left), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def _plain(run: Run) -> Show:
    last = -_LINE_EVERY
    print(_title(run), flush=True)

    def show(record: Record) -> None:
        nonlocal last
        step, steps = record["step"], run.recipe.steps
        if time.monotonic() - last < _LINE_EVERY and step < steps and not run.stop_reason:
            return
        last = time.monotonic()
        figures = "  ".join(f"{name} {value}" for name, value in _figures(run, record))
        print(f"step {step:,}/{steps:,}  ETA {_eta(run, record)}  {figures}", flush=True)

    return show


@contextmanager
def together(seeds: StackedSeeds, quiet: bool) -> Iterator[Callable[[Sequence[Record]], None]]:
    """A function that shows the records of all seeds in a line: means, and what stands between which."""
    last, steps, some = -_LINE_EVERY, seeds.recipe.steps, seeds.runs[0]
    _say_notes([seeds, *seeds.runs], quiet)
    if not quiet:
        print(f"{_title(some)}, {len(seeds.runs)} seeds as one computation", flush=True)

    def show(records: Sequence[Record]) -> None:
        nonlocal last
        step = records[0]["step"]
        if quiet or (time.monotonic() - last < _LINE_EVERY and step < steps and not seeds.interrupted):
            return
        last = time.monotonic()
        names = [name for name in ("d_loss", "g_loss", "modes_covered", "high_quality") if name in records[0]]
        figures = [f"{name} {_range([r[name] for r in records if name in r])}" for name in names]
        faults = sum(bool(run.faults) for run in seeds.runs)
        figures += [f"faults in {faults} of {len(seeds.runs)}"] if faults else []
        print(f"step {step:,}/{steps:,}  ETA {_eta(some, records[0])}  {'  '.join(figures)}", flush=True)

    told = len(seeds.notes)
    yield show
    for note in seeds.notes[told:]:
        print(f"zerosum: {note}", file=sys.stderr)


def _range(values: Sequence[float]) -> str:
    return f"{fmean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


@contextmanager
def _live(run: Run) -> Iterator[Show]:
    from rich.live import Live
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    def panel(record: Record | None) -> Panel:
        table = Table.grid(padding=(0, 2))
        step = record["step"] if record else run.game.step
        table.add_row("step", f"{step:,} of {run.recipe.steps:,}")
        table.add_row("ETA", _eta(run, record) if record else "...")
        for row in _figures(run, record) if record else []:
            table.add_row(*row)
        table.add_row("checkpoint", f"step {run.saved:,}")
        sheet = Table.grid(expand=True)
        sheet.add_row(ProgressBar(total=run.recipe.steps, completed=step))
        sheet.add_row(table)
        return Panel(sheet, title=Text(_title(run)), title_align="left")

    with Live(panel(None), refresh_per_second=4) as live:
        yield lambda record: live.update(panel(record))
