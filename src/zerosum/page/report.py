"""The report of a run, or of the seeds of one: a single HTML file that can be handed on.

It is made from the files alone, at any time: while the run trains, after it was killed, with files damaged or
missing. What cannot be told is named in the page.
"""

from __future__ import annotations

import base64
import datetime
import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from zerosum import recipe as recipes
from zerosum.page import columns, curves, events, samples
from zerosum.page.document import render
from zerosum.page.figure import Curve, Figure, Level, spread
from zerosum.page.formats import brief, date, duration, finite, flow, number, wrong
from zerosum.page.judged import judged
from zerosum.page.watched import again
from zerosum.run import files
from zerosum.run.examined import examine
from zerosum.run.log import Log, RunError, not_a_run
from zerosum.run.run import Run
from zerosum.text import printable

if TYPE_CHECKING:
    from zerosum.watch.best import Best
    from zerosum.watch.diagnosis import Finding

__all__ = ["page", "write"]

SHOWN = 200  # events in the page, at most: the last
FILES = ("recipe.yaml", "metrics.jsonl", "events.jsonl", "samples", "checkpoints")
IMAGES_ONLY = "Left out: this run makes vectors, which are not looked at one by one."
NEEDS_CHECKPOINT = "They need a checkpoint, and none could be opened."

Rows = Sequence[Mapping[str, Any]]


def write(path: Path, out: Path | None = None) -> Path:
    """Write the report of the run, or of the directory of seeds, in `path`; returns where.

    To `out`, or to ``path/report.html``, whole or not at all. Raises RunError if `path` is neither, or if the
    disk refuses.
    """
    text = page(path)
    target = out or path / "report.html"
    try:
        files.write(target, text.encode(errors="backslashreplace"), within=None if out else path)
    except (OSError, ValueError) as error:  # ValueError: no name for a file, such as "."
        why = getattr(error, "strerror", None) or error
        raise RunError(f"cannot write {printable(target)}: {why}; give --out another file") from error
    return target


def page(path: Path) -> str:
    """The report as HTML. Raises RunError if there are neither a run's files nor runs of seeds."""
    if any(os.path.lexists(path / name) for name in FILES):
        return _of_run(_read(path))
    if seeds := _seeds(path):
        return _of_seeds(path, seeds)
    raise not_a_run(path)


# what the files say ---------------------------------------------------------------------------------------


@dataclass
class RunFiles:
    """What could be read of a run; `missing` says, a line each, what could not.

    text: of its recipe; full: the recipe with every default. pictures: (step, picture). run: its game as the
    newest checkpoint has it.
    """

    path: Path
    name: str
    text: str = ""
    recipe: recipes.Recipe | None = None
    full: Mapping[str, Any] = field(default_factory=dict)
    records: Rows = ()
    events: Rows = ()
    evaluations: Rows = ()
    pictures: Sequence[tuple[int, samples.Image]] = ()
    findings: Sequence[Finding] = ()
    best: Best | None = None
    unjudged: str = ""
    run: Run | None = None
    missing: list[str] = field(default_factory=list)

    @property
    def step(self) -> int:
        """The last step that there is a trace of."""
        opened = self.run.game.step if self.run else 0
        return max(opened, *(r["step"] for r in [*self.records, *self.events]), 0)

    @property
    def scales(self) -> Mapping[str, Any]:
        """The unit and the equilibrium of each reading, as the run began with them."""
        declared = (event["scales"] for event in reversed(self.events) if "scales" in event)
        return next(declared, {})

    @property
    def changes(self) -> int:
        """How often the game was changed while it was played."""
        return sum(event.get("event") == "changed" for event in self.events)

    @property
    def images(self) -> bool:
        """Whether the run makes images, as far as can be told."""
        return self.run is not None and len(self.run.data.shape) == 3

    def attempt(self, what: str, read: Callable[[], Any], default: Any) -> Any:
        """What `read` returns, or the default and a line in `missing`: a file may hold anything, and a recipe
        may import a module that raises anything."""
        try:
            return read()
        except Exception as error:
            self.missing.append(f"{what} could not be read: {wrong(error)}")
            return default


def _read(path: Path) -> RunFiles:
    run, log = RunFiles(path, name=path.resolve().name), Log(path)
    content = run.attempt("recipe.yaml", lambda: files.read(path / "recipe.yaml", within=path), b"")
    run.text = content.decode(errors="replace")
    run.recipe = run.attempt("The recipe", log.recipe, None) if content else None
    if recipe := run.recipe:
        run.name = recipe.name or run.name
        run.full = run.attempt("The recipe", lambda: recipes.resolved(recipe), {})
    run.records = run.attempt("metrics.jsonl", log.records, [])
    run.events = run.attempt("events.jsonl", log.events, [])
    run.evaluations = run.attempt("evaluation.jsonl", log.evaluations, [])
    run.pictures = run.attempt("samples", lambda: _pictures(log), [])
    for name, lost in log.skipped.items():
        if lost:
            run.missing.append(f"{name}: {lost:,} lines could not be read and were left out")
    for name in ("metrics.jsonl", "events.jsonl"):
        if not os.path.lexists(path / name):
            run.missing.append(f"{name} is not there")
    try:
        examined = examine(path)
        run.findings, run.best = examined.findings, examined.best
    except Exception as error:  # a run from before there were readings, or files that somebody wrote
        run.unjudged = wrong(error)
    if run.recipe:
        run.run = run.attempt("A checkpoint", lambda: Run.open(path), None)
    return run


def _pictures(log: Log) -> list[tuple[int, samples.Image]]:
    chosen = spread(list(log.pictures().items()), samples.PICTURES)
    drawn = ((step, samples.png(files.read(file, within=log.path))) for step, file in chosen)
    return [(step, image) for step, image in drawn if image is not None]


# one run --------------------------------------------------------------------------------------------------


def _of_run(run: RunFiles) -> str:
    objective = run.run.game.objective if run.run else None
    penalties = [penalty.name for penalty in run.run.game.penalties] if run.run else []
    charts = curves.charts(run.records, run.scales, events.marks(run.events), objective, penalties)
    source, no_source = _source(run)
    return render(
        "report.html",
        name=run.name,
        about=run.recipe.about if run.recipe else "",
        missing=run.missing,
        state=_state(run),
        summary=list(_summary(run)),
        findings=run.findings,
        unjudged=run.unjudged,
        pictures=samples.thinned(run.pictures),
        drawn=len(run.pictures),
        sample_every=run.recipe.sample_every if run.recipe else 0,
        real=_unless_it_fails(lambda: samples.real(run.run, source) if run.run and source else None),
        images=run.images,
        columns=_unless_it_fails(lambda: columns.of_run(run.run, source) if run.run and source else None),
        charts=charts,
        table_of_figures=_table(run),
        marked=list(dict.fromkeys((*events.sign(e), events.kind(e)) for e in run.events))[:20],
        events=[_happened(event) for event in run.events[-SHOWN:]],
        older=len(run.events) - SHOWN,
        faults=sum(event.get("event") == "fault" for event in run.events),
        judged=judged(run.evaluations),
        path=shlex.quote(printable(run.path)),
        walks=_unless_it_fails(lambda: samples.walks(run.run) if run.run and run.images else None),
        nearest=_unless_it_fails(
            lambda: samples.nearest(run.run, source) if run.run and source and run.images else None
        ),
        why_none=no_source if run.images else IMAGES_ONLY if run.run else NEEDS_CHECKPOINT,
        recipe_text=run.text,
        choices=list(_choices(run.full)) if run.full else None,
        changes=run.changes,
        command=_command(run),
        carried=base64.b64encode(run.text.encode()).decode(),
        machine=events.MACHINE,
        machines=_machines(run),
        now=date(datetime.datetime.now(datetime.UTC).timestamp()),
    )


def _source(run: RunFiles) -> tuple[Any, str]:
    """The data, or why there are none: they may lie elsewhere, and a user's own source may raise anything."""
    try:
        return (recipes.build_source(run.recipe), "") if run.recipe and run.run else (None, NEEDS_CHECKPOINT)
    except Exception as error:
        return None, f"The training data cannot be had: {wrong(error)}"


def _unless_it_fails(make: Callable[[], Any]) -> Any:
    """What `make` returns, or the reason in words in its place."""
    try:
        return make()
    except Exception as error:
        return wrong(error)


def _state(run: RunFiles) -> str:
    """How far the run has come, in a sentence or two."""
    last = run.events[-1] if run.events else {}
    whole = f" of {run.recipe.turns:,}" if run.recipe else ""
    steps, when = f"{run.step:,}{whole} steps", date(last.get("time"))
    match last.get("event"):
        case "finished":
            done = [
                f"; {brief(e['reason'])}" for e in run.events if e["event"] == "changed" and e.get("reason")
            ]
            return f"Finished: {steps}, {when}{''.join(done[-1:])}."
        case "stopped":
            why = brief(last.get("reason") or "somebody")
            if why.startswith("no longer"):
                return f"Done: {why}; {steps}, {when}."
            return f"Stopped by {why} after {steps}, {when}. The same command goes on from there."
        case "fault":
            return f"Ended by a fault after {steps}, {when}."
        case _:
            return f"{steps}. No end is recorded: the run is under way, or was killed."


def _summary(run: RunFiles) -> Iterator[tuple[str, str]]:
    """How the game stands, modes and coverage, the best checkpoint, then V, time and speed."""
    for first in run.findings[:1]:
        yield "state", first.name if first.level == "note" else f"{first.level}: {first.name}"
    for key in curves.QUALITY[:3]:
        if line := curves.points(run.records, key):
            unit = run.scales.get(key, ["", None])[0]
            share = unit == "share"
            text = f"{100 * curves.late(line):.0f} %" if share else number(curves.late(line), 3)
            yield curves.words(key) + (f", {unit}" if unit and not share else ""), text
    if run.best:
        yield "best checkpoint", f"step {run.best.step:,}"
    if value := curves.points(run.records, "value"):
        yield "V(D, G), nats; −1.39 at equilibrium", number(curves.late(value), 3)
    if seconds := [s for r in run.records if (s := finite(r.get("seconds"))) is not None]:
        yield "training time", duration(sum(a for a, b in pairwise(seconds) if b < a) + seconds[-1])
    if speed := [y for _, y in curves.points(run.records, "steps_per_second")]:
        yield "steps per second (median)", number(median(speed), 3)
    if run.recipe:
        yield "seed", str(run.recipe.seed)


def _happened(event: Mapping[str, Any]) -> list[str]:
    return [date(event.get("time")), f"{event['step']:,}", events.kind(event), events.sentence(event)]


def _table(run: RunFiles) -> dict[str, Any]:
    """The curves as numbers, for those who cannot or would not look at charts."""
    keys = list(dict.fromkeys(key for record in run.records for key in record))
    keys = [key for key in keys if key != "step" and (key in curves.LOGGED or key not in run.scales)]
    rows = [
        [f"{r['step']:,}", *(number(finite(r.get(key))) for key in keys)] for r in spread(run.records, 20)
    ]
    return {"head": ["step", *keys], "rows": rows, "of": len(run.records)}


# recipe and repetition ------------------------------------------------------------------------------------


def _choices(full: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Fields that differ from the defaults: name, value, default; of parts only the options that differ."""
    usual = recipes.resolved(recipes.Recipe())
    for name, value in full.items():
        if name not in ("name", "about") and value != usual[name]:
            yield name, flow(_without_defaults(name, value)), flow(_without_defaults(name, usual[name]))


def _without_defaults(field: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_without_defaults(field, item) for item in value]
    if not isinstance(value, dict):
        return value
    try:
        lone = [value["name"]] if field == "penalties" else value["name"]
        bare = recipes.resolved(replace(recipes.Recipe(), **{field: lone}))[field]
    except recipes.RecipeError:  # a part of this part, with a home elsewhere
        return value
    bare = bare[0] if field == "penalties" else bare
    usual = bare if isinstance(bare, dict) else {}
    own = {k: v for k, v in value.items() if k == "name" or k not in usual or usual[k] != v}
    return {k: _without_defaults(field, v) for k, v in own.items()} if len(own) > 1 else value["name"]


def _machines(run: RunFiles) -> list[list[str]]:
    sittings = [event for event in run.events if any(key in event for key in events.MACHINE)]
    return [list(row) for row in dict.fromkeys(
        tuple(brief(event.get(key, "–"), 60) for key in events.MACHINE) for event in sittings
    )]  # fmt: skip


def _command(run: RunFiles) -> str:
    """The command that plays the same game again, "" where that cannot be said."""
    if run.recipe is None:
        return ""
    threads = next((e["threads"] for e in run.events if "threads" in e), None)
    chosen = run.recipe.threads == 0 and type(threads) is int  # by torch, for this machine
    more = f" --threads {threads}" if chosen else ""
    if run.changes:
        return again(run.path) + more
    return f"zerosum train recipe.yaml --seed {run.recipe.seed}{more} --out again"


# seeds ----------------------------------------------------------------------------------------------------


def _seeds(path: Path) -> list[Path]:
    """The runs of the seeds in a directory, by number."""
    try:
        names = [name for name in files.listing(path) if name.startswith("seed") and name[4:].isdecimal()]
    except OSError:
        return []
    return [path / name for name in sorted(names, key=lambda name: int(name[4:])) if (path / name).is_dir()]


def _of_seeds(path: Path, seeds: Sequence[Path]) -> str:
    runs = [_read(seed) for seed in seeds]
    keys = dict.fromkeys(key for run in runs for record in run.records for key in record)
    shown = [key for key in (*curves.QUALITY, "value", "d_real", "d_fake", "d_loss", "g_loss") if key in keys]
    return render(
        "seeds.html",
        name=next((run.name for run in runs if run.recipe), path.resolve().name),
        about=next((run.recipe.about for run in runs if run.recipe), ""),
        missing=[f"{run.path.name}: {line}" for run in runs for line in run.missing],
        figures=[_of_all(runs, key) for key in shown],
        rows=[_row(run, shown) for run in runs],
        head=["seed", "state", *map(curves.words, shown), "findings"],
        pictures=[(run.path.name, *run.pictures[-1]) for run in runs if run.pictures],
        now=date(datetime.datetime.now(datetime.UTC).timestamp()),
    )


def _row(run: RunFiles, keys: Sequence[str]) -> list[str]:
    lines = [curves.points(run.records, key) for key in keys]
    names = ", ".join(finding.name for finding in run.findings) or "–"
    return [run.path.name, _state(run), *(number(curves.late(x) if x else None) for x in lines), names]


def _of_all(runs: Sequence[RunFiles], key: str) -> Figure:
    """A quantity on every seed, and its mean where all have it."""
    lines = {run.path.name: curves.points(run.records, key) for run in runs}
    lines = {name: line for name, line in lines.items() if line}
    shared = sorted(set.intersection(*(({x for x, _ in line}) for line in lines.values())))
    values = [dict(line) for line in lines.values()]
    mean = [(x, sum(value[x] for value in values) / len(values)) for x in shared]
    every = [Curve(name, line, 1 + i % 5, faint=True, value=curves.late(line))
             for i, (name, line) in enumerate(lines.items())]  # fmt: skip
    scale = next((run.scales[key] for run in runs if key in run.scales), None)
    rest = finite(scale[1]) if scale else None
    levels = [] if rest is None else [Level("at the equilibrium", rest)]
    whole = [Curve("mean", mean, 0, value=curves.late(mean))] if len(mean) > 1 and len(lines) > 1 else []
    ends = [curves.late(line) for line in lines.values()]
    title = f"{curves.words(key)}: {number(min(ends), 3)} to {number(max(ends), 3)}"
    return Figure(title, [*every, *whole], "step", str(scale[0]) if scale else "", levels)
