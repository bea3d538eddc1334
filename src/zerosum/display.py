"""What a person at the terminal sees of a run: a live panel, or plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from math import log
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from zerosum.recipe import name_of
from zerosum.text import printable

if TYPE_CHECKING:
    from zerosum.run.examined import Examined
    from zerosum.run.run import Run
    from zerosum.run.seeds import StackedSeeds
    from zerosum.sweep import Outcome, Sweep
    from zerosum.watch.best import Best
    from zerosum.watch.diagnosis import Finding

__all__ = [
    "curve",
    "display",
    "display_seeds",
    "format_best",
    "format_diagnoses",
    "format_diagnosis",
    "format_outcome",
    "format_sweep",
    "loading",
    "plan",
]

Record = dict[str, Any]
Show = Callable[[Record], None]

_LINE_EVERY = 5.0  # seconds between two plain lines
_BLOCKS, _PLAIN = "▁▂▃▄▅▆▇█", "_.,-~+*#"


@contextmanager
def display(run: Run, quiet: bool) -> Iterator[Show]:
    """A function that shows a record of `Run.play`."""
    if quiet:
        yield lambda record: None
    elif sys.stdout.isatty():
        with _live(run) as show:
            yield _while_seen(show)
    else:
        yield _while_seen(_plain(run))


def _while_seen(show: Callable[[Any], None]) -> Callable[[Any], None]:
    """The same, but that a terminal or a reader that is gone ends nothing."""

    def shown(what: Any) -> None:
        with suppress(OSError):
            show(what)

    return shown


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


# before the first turn ------------------------------------------------------------------------------------


def plan(run: Run) -> str:
    """What is going to be played, and how long it takes and how much memory, by a turn of a second game.

    The run's own game is not touched. Raises RecipeError where the turn cannot be played.
    """
    from zerosum import recipe as recipes
    from zerosum.run import autotune
    from zerosum.run.runtime import peak_memory

    recipe, source = run.recipe, run.source
    turns = recipe.turns - run.game.step
    if turns < 1:
        return _title(run)
    examples = f"{len(source):,} {_kind(run)}" if hasattr(source, "__len__") else f"endless {_kind(run)}"
    lines = [_title(run), f"{examples}, batch {recipe.batch:,}, {turns:,} turns to play"]
    if recipe.compile:  # which takes half a minute
        return "\n".join(lines)
    with autotune.restored():
        game, _ = recipes.build(recipe, source)
        seconds = autotune.warm(game, source)
    said = f"a turn takes {_duration(seconds)}, the process {peak_memory() / 1e9:.1f} GB"
    said += f": about {_duration(seconds * turns)} in all"
    shape = run.data.shape
    if len(shape) == 3 and name_of(recipe.data) in ("image_folder", "shards") and shape[1] >= 64:
        said += f" (with --data.size {shape[1] // 2}, about a quarter of that)"
    return "\n".join([*lines, said])


def _kind(run: Run) -> str:
    """An example in words, such as "images of 64 x 64 in 3 channels"."""
    shape = tuple(run.data.shape)
    if len(shape) == 3:
        depth = {1: "grey", 3: "colour"}.get(shape[0], f"{shape[0]}-channel")
        return f"{depth} images of {shape[1]} x {shape[2]} pixels"
    return f"examples of {' x '.join(map(str, shape))} numbers"


def _duration(seconds: float) -> str:
    """In the unit that suits.

    >>> [_duration(s) for s in (0.0031, 1.94, 95, 7500, 200_000)]
    ['3.1 ms', '1.9 s', '95 s', '2 h 5 min', '55 h 33 min']
    """
    if seconds < 120:
        value, unit = (1e3 * seconds, "ms") if seconds < 1 else (seconds, "s")
        return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _title(run: Run) -> str:
    recipe = run.recipe
    names = (recipe.name, name_of(recipe.objective), name_of(recipe.data), run.path)
    return "{}: {} on {}, in {}".format(*map(printable, names))


# while it plays -------------------------------------------------------------------------------------------


def _figures(run: Run, record: Record) -> list[tuple[str, str]]:
    """What is shown of a record, as (name, value): first how the game stands, equilibria beside values."""
    game = run.game
    shown = [("state", _state(run.findings))] if run.findings else []
    rate = record["steps_per_second"]
    speed = f"{rate:,.0f} steps/s" if rate >= 2 else f"{1 / max(rate, 1e-9):,.1f} s/step"
    what = "images" if len(run.data.shape) == 3 else "examples"
    shown += [("speed", f"{speed}, {rate * game.batch * game.k:,.0f} {what}/s")]
    if "value" in record:
        shown += [
            ("D(x), D(G(z))", f"{record['d_real']:.3f}, {record['d_fake']:.3f}  (equilibrium 0.5)"),
            ("V(D, G)", f"{record['value']:+.4f}  (-log 4 = {-log(4):.4f})"),
        ]
    elif "real_logit" in record:
        shown += [("logits", f"real {record['real_logit']:+.3f}, fake {record['fake_logit']:+.3f}")]
    shown += [
        ("D loss", f"{record['d_loss']:.4f}  (equilibrium {game.objective.equilibrium:.4f})"),
        ("G loss", f"{record['g_loss']:.4f}"),
    ]
    names = [str(penalty.name) for penalty in game.penalties]
    return shown + [(printable(name), f"{record[name]:.5f}") for name in names if name in record]


def _state(findings: Sequence[Finding]) -> str:
    """How the game stands in a line: what is wrong, or its state; modes and coverage; the first advice."""
    first, read = findings[0], {e.quantity: e for finding in findings for e in finding.evidence}
    modes, coverage = read.get("modes_covered"), read.get("coverage")
    shown = [f"{modes.value:.0f} of {modes.others['modes']} modes"] if modes else []
    shown += [f"coverage {coverage.value:.0%}"] if coverage else []
    figures = f" ({', '.join(shown)})" if shown else ""
    if first.level == "note":
        return first.name + figures
    advice = f": try {first.advice[0].option}" if first.advice else ""
    return f"{first.level}: {first.name}, since step {first.since:,}{figures}{advice}"


def _eta(run: Run, record: Record) -> str:
    left = (run.recipe.turns - record["step"]) / max(record["steps_per_second"], 1e-9)
    minutes, seconds = divmod(round(left), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def _plain(run: Run) -> Show:
    last = -_LINE_EVERY

    def show(record: Record) -> None:
        nonlocal last
        step, steps = record["step"], run.recipe.turns
        soon = time.monotonic() - last < _LINE_EVERY and step < steps and not run.stop_reason
        if soon or "steps_per_second" not in record:
            return
        last = time.monotonic()
        figures = "  ".join(f"{name} {value}" for name, value in _figures(run, record))
        print(f"step {step:,}/{steps:,}  ETA {_eta(run, record)}  {figures}", flush=True)

    return show


@contextmanager
def display_seeds(seeds: StackedSeeds, quiet: bool) -> Iterator[Callable[[Sequence[Record]], None]]:
    """A function that shows the records of all seeds in a line: means, and what stands between which."""
    last, steps, some = -_LINE_EVERY, seeds.recipe.turns, seeds.runs[0]
    if not quiet:
        with suppress(OSError):
            print(f"{_title(some)}, {len(seeds.runs)} seeds as one computation", flush=True)

    def show(records: Sequence[Record]) -> None:
        nonlocal last
        step = records[0]["step"]
        if quiet or "steps_per_second" not in records[0]:
            return
        if time.monotonic() - last < _LINE_EVERY and step < steps and not seeds.interrupted:
            return
        last = time.monotonic()
        faults = sum(bool(run.faults) for run in seeds.runs)
        figures = [f"faults in {faults} of {len(seeds.runs)}"] if faults else []
        names = [name for name in ("modes_covered", "high_quality", "d_loss", "g_loss") if name in records[0]]
        figures += [f"{name} {_range([r[name] for r in records if name in r])}" for name in names]
        print(f"step {step:,}/{steps:,}  ETA {_eta(some, records[0])}  {'  '.join(figures)}", flush=True)

    yield _while_seen(show)


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
        table.add_row("step", f"{step:,} of {run.recipe.turns:,}")
        table.add_row("ETA", _eta(run, record) if record else "...")
        for name, value in _figures(run, record) if record else []:
            table.add_row(Text(name), Text(value))
        table.add_row("checkpoint", f"step {run.saved:,}")
        sheet = Table.grid(expand=True)
        sheet.add_row(ProgressBar(total=run.recipe.turns, completed=step))
        sheet.add_row(table)
        return Panel(sheet, title=Text(_title(run)), title_align="left")

    with Live(panel(None), refresh_per_second=4) as live:
        yield lambda record: live.update(panel(record)) if "steps_per_second" in record else None


# how it stands --------------------------------------------------------------------------------------------


def format_diagnosis(run: Examined) -> str:
    """How a run stands, in words: each finding with the curves that its evidence is made of."""
    from zerosum.watch.diagnosis import STATES

    step = run.records[-1]["step"] if run.records else 0
    lines = [f"{printable(run.path)}, step {step:,}"]
    if not run.findings:
        lines.append("too early to say: train on")
    for finding in run.findings:
        mark = "state" if finding.name in STATES else finding.level
        lines += [
            "",
            f"{mark}: {finding.name}, since step {finding.since:,} (confidence {finding.confidence:.0%})",
        ]
        lines += [f"  {printable(evidence)}" for evidence in finding.evidence]
        curves = [name for name in finding.curves if any(name in record for record in run.records)]
        lines += [f"  {_curve_of(run, name)}" for name in curves]
        lines += [f"  try {printable(advice)}" for advice in finding.advice]
    past = [e for e in run.events if e["event"] == "fault" or e["event"] == "recovered"]
    lines += ["", "before:"] if past else []
    lines += [f"  step {e['step']:,}: {e['event']}: {printable(e['name'])}" for e in past[-10:]]
    return "\n".join(lines)


def format_best(best: Best) -> str:
    """Which checkpoint is the best, and what shows it."""
    distance = f"{best.value:.2g} [{best.low:.2g}, {best.high:.2g}]"
    return f"step {best.step:,}, at an energy distance of {distance} from the data"


def format_diagnoses(path: Path, seeds: Sequence[Examined]) -> str:
    """How the runs of several seeds stand: what how many of them have, then each in a line."""
    counts = Counter(finding.name for seed in seeds for finding in seed.findings)
    lines = [f"{printable(path)}, {len(seeds)} seeds"]
    lines += [f"  {count} of {len(seeds)}: {printable(name)}" for name, count in counts.most_common()]
    for seed in seeds:
        step = seed.records[-1]["step"] if seed.records else 0
        state = _state(seed.findings) if seed.findings else "too early to say"
        lines.append(f"{printable(seed.path.name)}, step {step:,}: {printable(state)}")
    return "\n".join([*lines, f"to see why: zerosum diagnose {printable(seeds[0].path)}"])


def format_outcome(outcome: Outcome) -> str:
    """What a trial came to, in a line."""
    drawn = "  ".join(f"{name} {_setting(value)}" for name, value in outcome.drawn.items())
    return f"trial {outcome.number}: {_came_to(outcome)}  {printable(drawn)}"


def _came_to(outcome: Outcome) -> str:
    if outcome.value is None:
        return f"{outcome.state}: {printable(outcome.reason)}" if outcome.reason else outcome.state
    ends = "" if outcome.low is None else f" [{outcome.low:.4g}, {outcome.high:.4g}]"
    return f"{outcome.value:.4g}{ends}"


def _setting(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def format_sweep(sweep: Sweep, most: int = 10) -> str:
    """The best trials of a sweep as a table, what became of the others, and what mattered."""
    names = [r.name for r in sweep.ranges]
    ranked, everything = sweep.ranked(), sweep.outcomes()
    rows = [["trial", sweep.goal.name, *map(printable, names)]]
    rows += [
        [str(o.number), _came_to(o), *(printable(_setting(o.drawn.get(n, ""))) for n in names)]
        for o in ranked[:most]
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    counts = Counter(outcome.state for outcome in everything)
    lines.append(f"{len(everything)} trials: " + ", ".join(f"{n} {state}" for state, n in counts.items()))
    if shares := sweep.importances():
        lines.append("what mattered: " + ", ".join(f"{printable(k)} {v:.0%}" for k, v in shares.items()))
    return "\n".join(lines)


def _curve_of(run: Examined, name: str) -> str:
    values = [record[name] for record in run.records if name in record]
    unit, rest = run.scales.get(name, ("", None))
    ends = f"{values[0]:.4g} -> {values[-1]:.4g} {printable(unit)}".rstrip()
    line = f"{name:16s} {curve(values, encoding=sys.stdout.encoding)}  {ends}"
    return line + (f" (equilibrium {rest:.4g})" if rest is not None else "")


def curve(values: Sequence[float], width: int = 40, encoding: str | None = "utf-8") -> str:
    """Values as a line of blocks, low to high; of many values the means of `width` equal pieces.

    Where the encoding has no blocks, plain signs.

    >>> curve([0, 1, 2, 3]), curve([0, 1, 2, 3], encoding="ascii")
    ('▁▃▆█', '_,*#')
    """
    pieces = [values[len(values) * i // width : len(values) * (i + 1) // width] for i in range(width)]
    means = [fmean(piece) for piece in pieces if piece] if len(values) > width else [*values]
    low, high = min(means), max(means)
    try:
        steps = _BLOCKS if _BLOCKS.encode(encoding or "ascii") else _PLAIN
    except UnicodeEncodeError:
        steps = _PLAIN
    return "".join(steps[round(7 * (x - low) / (high - low)) if high > low else 3] for x in means)
