"""The report of a run: one HTML file that can be handed on.

It is made from the run's files alone, at any time: while the run trains, after it was killed, with files
damaged or missing. What cannot be told is named in the page. The page asks nothing of a network: pictures are
data URIs, charts are inline SVG, and a content security policy admits no script but its own, which only moves
the slider and reads values off the charts.

Whatever comes from a file is text, not markup: all of the page is filled in by `_html`, which escapes.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import math
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from zerosum import __version__
from zerosum import recipe as recipes
from zerosum.data.arrays import to_bytes
from zerosum.run import files
from zerosum.run.examined import examine
from zerosum.run.run import Run, RunError
from zerosum.watch.diagnosis import STATES

if TYPE_CHECKING:
    from torch import Tensor

    from zerosum.watch.diagnosis import Finding

__all__ = ["page", "write"]

PICTURES = 40  # sample grids in the page, at most
BUDGET = 3_000_000  # bytes of sample grids, at most
HEAVY = 100_000  # bytes of a picture above which it is compressed
SIDE = 1024  # pixels of a compressed picture's side, at most
SHOWN = 200  # events in the page, at most: the last
TRAINING = 2**27  # numbers of training data searched for neighbours, at most: half a GiB

FILES = ("recipe.yaml", "metrics.jsonl", "events.jsonl", "samples", "checkpoints")
EVENTS = {
    "started": ("▸", "begun"),
    "resumed": ("↻", "resumed"),
    "fell_back": ("▼", "went back past a checkpoint that could not be read"),
    "fault": ("▲", "fault"),
    "recovered": ("△", "recovered"),
    "stopped": ("■", "stopped"),
    "finished": ("●", "finished"),
}
BAD = ("fault", "fell_back")
MACHINE = ("zerosum", "torch", "python", "device", "threads", "machine")
LOGGED = {"step", "d_loss", "g_loss", "real_logit", "fake_logit", "d_real", "d_fake", "value"}
LOGGED |= {"steps_per_second", "seconds"}

Record = dict[str, Any]
Points = list[tuple[float, float]]


def write(path: Path, out: Path | None = None) -> Path:
    """Write the report of the run in `path` to `out` (``path/report.html`` unless given); returns where.

    The file is written whole or not at all. Raises RunError if `path` is not a run or the disk refuses.
    """
    text = page(path)
    target = out or path / "report.html"
    try:
        files.write(target, text.encode(errors="replace"))  # lone surrogates are JSON, but not UTF-8
    except (OSError, ValueError) as error:  # ValueError: no name for a file, such as "."
        why = getattr(error, "strerror", None) or error
        raise RunError(f"cannot write {target}: {why}; give --out another file") from error
    return target


def page(path: Path) -> str:
    """The report of the run in `path`, as HTML. Raises RunError if none of a run's files is there."""
    facts = _read(path)
    sections = [
        ("samples", "Samples", _samples(facts)),
        ("diagnosis", "Diagnosis", _diagnosis(facts)),
        ("game", "The game", _game(facts)),
        ("metrics", "Metrics", _metrics(facts)),
        ("interpolations", "Interpolations", _interpolations(facts)),
        ("neighbours", "Neighbours", _neighbours(facts)),
        ("recipe", "Recipe", _recipe(facts)),
        ("repeat", "Repeat", _repeat(facts)),
    ]
    links = (_html('<li><a href="#{id}">{name}</a></li>', id=id, name=name) for id, name, _ in sections)
    parts = (_html('<section id="{id}">{body}</section>', id=id, body=body) for id, _, body in sections)
    return _html(
        _PAGE,
        digest=base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode(),
        style=_Html(_STYLE),
        script=_Html(_SCRIPT),
        title=facts.name,
        header=_header(facts),
        links=_join(links),
        sections=_join(parts),
        version=__version__,
        now=_date(datetime.datetime.now(datetime.UTC).timestamp()),
    )


# what the files say ---------------------------------------------------------------------------------------


@dataclass
class _Facts:
    """What could be read of a run; `missing` says, a line each, what could not."""

    path: Path
    name: str
    text: str = ""
    recipe: recipes.Recipe | None = None
    full: Mapping[str, Any] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    events: list[Record] = field(default_factory=list)
    judged: list[Record] = field(default_factory=list)
    run: Run | None = None
    missing: list[str] = field(default_factory=list)

    @property
    def step(self) -> int:
        """The last step that is known of."""
        opened = self.run.game.step if self.run else 0
        return max(opened, *(r["step"] for r in [*self.records, *self.events]), 0)

    @property
    def scales(self) -> Mapping[str, Any]:
        """The unit and the equilibrium of each reading, as the run began with them."""
        found = (event["scales"] for event in reversed(self.events) if isinstance(event.get("scales"), dict))
        return next(found, {})

    @property
    def images(self) -> bool:
        """Whether the run is known to make images."""
        return self.run is not None and len(self.run.facts["shape"]) == 3


def _read(path: Path) -> _Facts:
    if not any((path / name).exists() for name in FILES):
        raise RunError(f"{path} is not a run: it holds no recipe.yaml (a run is what `zerosum train` writes)")
    facts = _Facts(path, name=path.resolve().name)
    _read_recipe(facts)
    by_step = {record["step"]: record for record in _lines(facts, "metrics.jsonl")}
    facts.records = [by_step[step] for step in sorted(by_step)]
    facts.events = _lines(facts, "events.jsonl")
    if (path / "evaluation.jsonl").exists():
        facts.judged = _lines(facts, "evaluation.jsonl")
    if facts.recipe is None:
        return facts
    try:
        facts.run = Run.open(path)
    except Exception as error:  # whatever a damaged or foreign checkpoint raises, the page is made without it
        facts.missing.append(f"No checkpoint could be opened: {_line(error)}")
    return facts


def _read_recipe(facts: _Facts) -> None:
    file = facts.path / "recipe.yaml"
    try:
        facts.text = file.read_text(encoding="utf-8", errors="replace")
        facts.recipe = recipes.load(str(file))
        facts.name = facts.recipe.name or facts.name
        facts.full = recipes.resolved(facts.recipe)
    except Exception as error:  # a recipe may import a module of the user's own, which may raise anything
        facts.missing.append(f"The recipe could not be read: {_line(error)}")


def _lines(facts: _Facts, name: str) -> list[Record]:
    """The whole lines of a JSON-lines file, each with a step: 0 where it names none."""
    try:
        raw = (facts.path / name).read_bytes().splitlines()
    except OSError as error:
        facts.missing.append(f"{name} could not be read: {error.strerror}")
        return []
    records = [record for line in raw if (record := _parsed(line)) is not None]
    if lost := len(raw) - len(records):
        facts.missing.append(f"{name}: {lost:,} of {len(raw):,} lines could not be read and were left out")
    return records


def _parsed(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    step = record.get("step", 0) if isinstance(record, dict) else None
    return {**record, "step": step} if type(step) is int and 0 <= step < 10**15 else None


def _number(value: Any) -> float | None:
    """A finite number that can be drawn, or None for whatever else a file may hold."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1e100:
        return None
    return float(value) if abs(value) > 1e-100 else 0.0


def _points(records: Iterable[Record], key: str) -> Points:
    return [(float(r["step"]), y) for r in records if (y := _number(r.get(key))) is not None]


# header ---------------------------------------------------------------------------------------------------


def _header(facts: _Facts) -> _Html:
    items = _join(_html("<li>{text}</li>", text=text) for text in facts.missing)
    note = _html('<div class="note"><h2>What is missing</h2><ul>{items}</ul></div>', items=items)
    return _html(
        '<header><p class="soft">zerosum · report of a run</p><h1>{name}</h1><p class="about">{about}</p>'
        '<p>{state}</p><dl class="figures">{figures}</dl>{note}</header>',
        name=facts.name,
        about=facts.recipe.about if facts.recipe else "",
        state=_state(facts),
        figures=_join(_html("<div><dt>{k}</dt><dd>{v}</dd></div>", k=k, v=v) for k, v in _summary(facts)),
        note=note if facts.missing else "",
    )


def _state(facts: _Facts) -> str:
    """How far the run has come, in a sentence or two."""
    last = facts.events[-1] if facts.events else {}
    whole = f" of {facts.recipe.steps:,}" if facts.recipe else ""
    steps, when = f"{facts.step:,}{whole} steps", _date(last.get("time"))
    match last.get("event"):
        case "finished":
            return f"Finished: {steps}, {when}."
        case "stopped":
            why = _brief(last.get("reason") or "somebody")
            return f"Stopped by {why} after {steps}, {when}. The same command goes on from there."
        case "fault":
            return f"Ended by a fault after {steps}, {when}."
        case _:
            return f"{steps}. No end is recorded: the run is under way, or was killed."


def _summary(facts: _Facts) -> Iterator[tuple[str, str]]:
    if value := _points(facts.records, "value"):
        yield "V(D, G), nats; −1.39 at equilibrium", _show(_late(value), 3)
    if seconds := [s for r in facts.records if (s := _number(r.get("seconds"))) is not None]:
        yield "training time", _duration(_total(seconds))
    if speed := [y for _, y in _points(facts.records, "steps_per_second")]:
        yield "steps per second (median)", _show(median(speed), 3)
    if facts.recipe:
        yield "seed", str(facts.recipe.seed)


def _total(seconds: Sequence[float]) -> float:
    """Sum over the sittings of a run: the clock starts anew whenever it is resumed."""
    return sum(a for a, b in pairwise(seconds) if b < a) + seconds[-1]


# samples --------------------------------------------------------------------------------------------------


def _samples(facts: _Facts) -> _Html:
    found = sorted((int(p.stem), p) for p in (facts.path / "samples").glob("*.png") if p.stem.isdecimal())
    pictures = [(step, image) for step, file in _spread(found, PICTURES) if (image := _read_picture(file))]
    if not pictures:
        every = f": this run draws one every {facts.recipe.sample_every:,} steps" if facts.recipe else ""
        return _html("<h2>Samples</h2><p>There is no picture of samples yet{every}.</p>", every=every)
    while len(pictures) > 2 and sum(len(image.data) for _, image in pictures) > BUDGET:
        pictures = _spread(pictures, max(2, len(pictures) * 2 // 3))
    first, last = pictures[0][0], pictures[-1][0]
    whole = len(pictures) == len(found)
    return _html(
        _VIEWER,
        title=f"Samples, from step {first:,} to {last:,}" if first < last else f"Samples at step {last:,}",
        images=_join(_frame_of(step, image, step == last) for step, image in pictures),
        last=f"{last:,}",
        max=len(pictures) - 1,
        what="" if facts.images else "Points: generated ones in blue, real ones, where known, in grey.",
        thinned="" if whole else f"The page holds {len(pictures)} of the run's {len(found)} pictures.",
    )


@dataclass(frozen=True)
class _Image:
    """An encoded picture and the size to show it at: small ones are enlarged by whole factors."""

    data: bytes
    kind: str
    width: int
    height: int

    @property
    def uri(self) -> str:
        return f"data:image/{self.kind};base64,{base64.b64encode(self.data).decode()}"


def _frame_of(step: int, image: _Image, shown: bool) -> _Html:
    return _html(
        '<img{hidden} data-step="{step}" src="{uri}" width="{w}" height="{h}" alt="Samples at step {step}">',
        hidden="" if shown else " hidden",
        step=f"{step:,}",
        uri=image.uri,
        w=image.width,
        h=image.height,
    )


def _read_picture(file: Path) -> _Image | None:
    """None where there is no whole picture in the file."""
    from PIL import Image

    try:
        return _encoded(file.read_bytes())
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # so PIL calls a broken file
        return None


def _encoded(data: bytes) -> _Image:
    """A picture as it is, or made smaller where it is heavy."""
    from PIL import Image

    with Image.open(BytesIO(data)) as image:
        image.load()
        if len(data) <= HEAVY:
            zoom = max(1, 640 // image.width)
            return _Image(data, str(image.format).lower(), image.width * zoom, image.height * zoom)
        small, buffer = image.convert("RGB"), BytesIO()
        small.thumbnail((SIDE, SIDE))
        small.save(buffer, "JPEG", quality=85)
        return _Image(buffer.getvalue(), "jpeg", small.width, small.height)


def _drawn(pixels: Tensor, columns: int) -> _Image:
    """Images in bytes ``[N, C, H, W]`` side by side."""
    from zerosum.pictures import tiles

    buffer = BytesIO()
    tiles(pixels.numpy(), columns).save(buffer, format="PNG")
    return _encoded(buffer.getvalue())


def _spread(items: Sequence[Any], most: int) -> list[Any]:
    """At most `most` of the items, evenly spaced, the first and the last among them.

    >>> _spread(range(10), 4)
    [0, 3, 6, 9]
    """
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


# the game -------------------------------------------------------------------------------------------------


def _game(facts: _Facts) -> _Html:
    charts = _join(_charts(facts))
    return _html(
        "<h2>How the game went</h2>{charts}{marks}{table}{events}",
        charts=charts or _html("<p>No step has been logged yet, so there is no curve to show.</p>"),
        marks=_key_of_marks(facts.events) if charts else "",
        table=_table_of_figures([_own(record, facts.scales) for record in facts.records]),
        events=_timeline(facts.events),
    )


def _charts(facts: _Facts) -> Iterator[_Html]:
    """A chart for each kind of quantity that was logged, titled by where it ended."""
    lines = {key: _points(facts.records, key) for key in _keys(facts.records)}
    lines = {key: points for key, points in lines.items() if points}
    at = {key: _show(_late(points), 3) for key, points in lines.items()}
    balance, marks = _Balance.of(facts), facts.events[-SHOWN:]

    def chart(title: str, named: Mapping[str, str], unit: str, *levels: _Level, note: str = "") -> _Html:
        drawn = [_Line(name, lines[key]) for key, name in named.items() if key in lines]
        return _chart(title, drawn, unit, marks, [level for level in levels if level.y is not None], note)

    if "value" in lines:
        best = _Level("−log 4, the equilibrium", -math.log(4))
        yield chart(
            f"V(D, G) ends at {at['value']} nats", {"value": "V(D, G)"}, "nats", best, note=balance.note
        )
    if {"d_real", "d_fake"} <= lines.keys():
        title = f"D ends at {at['d_real']} for real examples and {at['d_fake']} for generated ones"
        named = {"d_real": "D(x), real", "d_fake": "D(G(z)), generated"}
        yield chart(title, named, "probability, mean", _Level("1/2, the equilibrium", 0.5))
    elif {"real_logit", "fake_logit"} <= lines.keys():
        title = (
            f"D's logits end at {at['real_logit']} for real examples, {at['fake_logit']} for generated ones"
        )
        named = {"real_logit": "a(x), real", "fake_logit": "a(G(z)), generated"}
        yield chart(title, named, "logit, mean", note="Here logits are no probabilities: their gap counts.")
    if named := {key: key[0].upper() for key in ("d_loss", "g_loss") if key in lines}:
        levels = _Level("D at equilibrium", balance.d, 0), _Level("G at equilibrium", balance.g, 1)
        note = "" if facts.run else "Where the equilibrium lies is not known without a checkpoint."
        title = f"Losses end at {_ends(named, at)}"
        yield chart(title, named, "loss without penalties", *levels, note=note)
    others = {key: key for key in lines if key not in LOGGED and key not in facts.scales}
    penalties = {key: key for key in others if facts.run is None or key in balance.penalties}
    if penalties:
        kind = "Penalties on D" if facts.run else "Penalties and readings"
        yield chart(f"{kind} end at {_ends(penalties, at)}", penalties, "added to D's loss")
    for key in [key for key in others if key not in penalties]:
        yield chart(f"{key} ends at {at[key]}", {key: key}, "")


def _own(record: Record, scales: Mapping[str, Any]) -> Record:
    """What the run logs of a turn, without the readings, of which there are too many for a table."""
    return {key: value for key, value in record.items() if key in LOGGED or key not in scales}


def _diagnosis(facts: _Facts) -> _Html:
    """What stands, in words, and below it every reading as a curve."""
    try:
        findings = examine(facts.path).findings
    except Exception as error:  # a run from before there were readings, or files that somebody wrote
        return _html("<h2>How the game stands</h2><p>It could not be judged: {why}.</p>", why=_line(error))
    said = _join(map(_finding, findings)) or _html("<p>It is too early to say.</p>")
    readings = _join(_reading_charts(facts))
    folded = _folded("What the instruments read", readings) if readings else ""
    return _html("<h2>How the game stands</h2>{said}{folded}", said=said, folded=folded)


def _finding(finding: Finding) -> _Html:
    lines = [*map(str, finding.evidence), *(f"Try {advice}" for advice in finding.advice)]
    return _html(
        "<h3>{name}</h3><p>Since step {since}, with a confidence of {sure}.</p><ul>{lines}</ul>",
        name=finding.name if finding.name in STATES else f"{finding.level.capitalize()}: {finding.name}",
        since=f"{finding.since:,}",
        sure=f"{finding.confidence:.0%}",
        lines=_join(_html("<li>{line}</li>", line=line) for line in lines),
    )


def _reading_charts(facts: _Facts) -> Iterator[_Html]:
    """A chart for each reading, with its quantiles, its unit and its value at the equilibrium."""
    for name, scale in facts.scales.items():
        own = [name, *(f"{name}_q{q}" for q in ("05", "50", "95"))]
        drawn = [_Line(key, points) for key in own if (points := _points(facts.records, key))]
        if name in LOGGED or re.search(r"_q\d\d$", name) or not drawn:
            continue
        unit, rest = scale if isinstance(scale, list) and len(scale) == 2 else ("", None)
        levels = [_Level("at the equilibrium", y)] if (y := _number(rest)) is not None else []
        ends = _show(_late(drawn[0].points), 3)
        yield _chart(f"{name} ends at {ends}", drawn, str(unit), facts.events[-SHOWN:], levels)


def _ends(named: Mapping[str, str], at: Mapping[str, str]) -> str:
    return ", ".join(f"{at[key]} ({name})" for key, name in named.items())


@dataclass(frozen=True)
class _Balance:
    """What the run's objective says of the equilibrium, p_g = p_data with the best D; None where unknown."""

    d: float | None = None
    g: float | None = None
    note: str = ""
    penalties: frozenset[str] = frozenset()

    @classmethod
    def of(cls, facts: _Facts) -> _Balance:
        """G's loss is known where the best D's logits are zero, and a constant added to them would show."""
        import torch

        if facts.run is None:
            return cls()
        objective, zero = facts.run.game.objective, torch.zeros(1, dtype=torch.float64)
        penalties = frozenset(p.name for p in facts.run.game.penalties)
        if abs(float(objective.d(zero, zero).mean()) - objective.equilibrium) > 1e-4:
            note = (
                "The labels are smoothed, which moves this game's own equilibrium away from −log 4 and 1/2."
            )
            return cls(objective.equilibrium, None, note, penalties)
        anchored = objective.needs_real_logits or objective.probability is not None
        g = (
            float(objective.g(zero if objective.needs_real_logits else None, zero).mean())
            if anchored
            else None
        )
        return cls(objective.equilibrium, g, "", penalties)


def _late(points: Points) -> float:
    """The mean over the last tenth: where a noisy curve ends."""
    return fmean(y for _, y in points[-max(1, len(points) // 10) :])


def _keys(records: Iterable[Record]) -> list[str]:
    return list({key: None for record in records for key in record})


def _table_of_figures(records: Sequence[Record]) -> _Html:
    """The curves as numbers, for those who cannot or would not look at charts."""
    if not records:
        return _Html()
    keys = [key for key in _keys(records) if key not in ("step", "intervals")]
    chosen = _spread(records, 20)
    rows = [[f"{r['step']:,}", *(_show(_number(r.get(key))) for key in keys)] for r in chosen]
    summary = f"The curves as numbers ({len(chosen)} of {len(records):,} logged steps)"
    return _folded(summary, _table("Logged figures", ["step", *keys], rows))


def _key_of_marks(events: Sequence[Record]) -> _Html:
    kinds = list({_kind(event): None for event in events})[:20]
    items = (_html("<li>{sign} {text}</li>", sign=_sign(kind), text=_words(kind)) for kind in kinds)
    return _html('<ul class="legend" aria-label="Marks under the charts">{items}</ul>', items=_join(items))


def _timeline(events: Sequence[Record]) -> _Html:
    if not events:
        return _html("<p>What happened when is not known: there is no readable event.</p>")
    rows = [[_date(e.get("time")), f"{e['step']:,}", _words(_kind(e)), _details(e)] for e in events[-SHOWN:]]
    older = f", here the last {SHOWN} of {len(events):,}" if len(events) > SHOWN else ""
    faults = sum(_kind(event) == "fault" for event in events)
    said = f"{faults} fault{'s' * (faults > 1)}" if faults else "no fault"
    table = _table("Events", ["time", "step", "event", "details"], rows)
    return _folded(f"What happened and when ({said}{older})", table, open=faults > 0)


def _kind(event: Record) -> str:
    return _brief(event.get("event", "event without a name"), 60)


def _bad(kind: str) -> str:
    return "bad" if kind in BAD else ""


def _details(event: Record) -> str:
    known = ("event", "time", "step", "judged", "scales", *MACHINE)
    told = {k: v for k, v in event.items() if k not in known and v not in ("", None)}
    return _brief(", ".join(f"{k}: {_brief(v)}" for k, v in told.items()))


# charts ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Line:
    """A curve: points (step, value), and a band (step, low, high) where its uncertainty is known."""

    name: str
    points: Points
    band: Sequence[tuple[float, float, float]] = ()


@dataclass(frozen=True)
class _Level:
    """A dotted horizontal line at y, in the colour of a curve where it belongs to one."""

    name: str
    y: float | None
    style: int | None = None

    @property
    def colour(self) -> str:
        return "" if self.style is None else f"s{self.style}"


@dataclass(frozen=True)
class _Axes:
    """From steps and values to the 1000 x 1000 units of the SVG, whose origin is at the top left."""

    end: float
    low: float
    high: float
    log: bool

    def x(self, step: float) -> float:
        return 1000 * step / self.end

    def y(self, value: float) -> float:
        low, at, high = (math.log10(v) if self.log else v for v in (self.low, value, self.high))
        return min(max(1000 * (high - at) / (high - low), 0), 1000)  # what lies beyond runs along the edge

    def path(self, points: Iterable[tuple[float, float]]) -> str:
        return "M" + " L".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)


def _chart(
    title: str,
    lines: Sequence[_Line],
    unit: str,
    events: Sequence[Record] = (),
    levels: Sequence[_Level] = (),
    note: str = "",
) -> _Html:
    """Curves over steps. The SVG is stretched to its frame, and text is HTML: legible at any width."""
    end = max([1, *(int(x) for line in lines for x, _ in line.points), *(e["step"] for e in events)])
    ys = sorted([y for line in lines for y in _heights(line)])
    heights = [level.y for level in levels if level.y is not None]
    log = not levels and ys[0] > 0 and ys[-1] > 50 * ys[0]
    axes = _Axes(end, *((ys[0] / 1.2, ys[-1] * 1.2) if log else _frame(ys, heights)), log)
    outside = [y for y in ys if not axes.low <= y <= axes.high]
    between = f"{_show(outside[0])} to {_show(outside[-1])}" if outside else ""
    beyond = f"{len(outside):,} values, from {between}, lie outside of this chart." if outside else ""
    caption = " ".join(filter(None, [note, "Logarithmic scale." if log else "", beyond]))
    return _html(
        _CHART,
        title=title,
        said=f"{title}; {end:,} steps",
        unit=unit,
        end=end,
        drawn=_join([*_verticals(axes, events), *_horizontals(axes, levels), *_curves(axes, lines)]),
        legend=_join([*map(_key_of_line, range(len(lines)), lines), *map(_key_of_level, levels)]),
        ys=_join(
            _html('<span style="top:{y}%">{label}</span>', y=f"{axes.y(y) / 10:.2f}", label=label)
            for y, label in (_decades if log else _ticks)(axes.low, axes.high)
        ),
        xs=_join(
            _html('<span style="left:{x}%">{label}</span>', x=f"{axes.x(x) / 10:.2f}", label=label)
            for x, label in _ticks(0, end)
        ),
        marks=_join(_marks(axes, events)),
        caption=_html("<figcaption>{text}</figcaption>", text=caption) if caption else "",
    )


def _heights(line: _Line) -> list[float]:
    return [y for _, y in line.points] + [y for _, *ends in line.band for y in ends]


def _frame(ys: Sequence[float], levels: Sequence[float]) -> tuple[float, float]:
    """The range of the axis for values in order: a few outliers must not flatten everything else."""
    low, high = min(ys[0], *levels, ys[0]), max(ys[-1], *levels, ys[-1])
    bottom, top = ys[len(ys) // 50], ys[-1 - len(ys) // 50]
    reach = 2 * (top - bottom)
    if high - low > 4 * reach > 0:
        low = max(low, min(bottom - reach, *levels, bottom))
        high = min(high, max(top + reach, *levels, top))
    room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return low - room, high + room


def _verticals(axes: _Axes, events: Sequence[Record]) -> Iterator[_Html]:
    for event in events:
        x, bad = f"{axes.x(event['step']):.1f}", _bad(_kind(event))
        yield _html('<line class="mark {bad}" x1="{x}" x2="{x}" y1="0" y2="1000"/>', bad=bad, x=x)


def _horizontals(axes: _Axes, levels: Sequence[_Level]) -> Iterator[_Html]:
    for level in levels:
        y, colour = f"{axes.y(level.y or 0):.1f}", level.colour
        yield _html('<line class="level {s}" x1="0" x2="1000" y1="{y}" y2="{y}"/>', s=colour, y=y)


def _curves(axes: _Axes, lines: Sequence[_Line]) -> Iterator[_Html]:
    for i, line in enumerate(lines):
        if line.band:
            outline = [(x, low) for x, low, _ in line.band] + [
                (x, high) for x, _, high in reversed(line.band)
            ]
            yield _html('<path class="band" d="{d}Z"/>', d=axes.path(outline))
        if len(line.points) == 1:
            (x, y), *_ = line.points
            dot = '<path class="line dot s{i}" d="M{x:.1f},{y:.1f} h0"/>'
            yield _Html(dot.format(i=i % 5, x=axes.x(x), y=axes.y(y)))
        yield _html('<path class="line s{i}" d="{d}"/>', i=i % 5, d=axes.path(_thinned(line.points)))


_KEY = '<svg class="key" viewBox="0 0 28 4" aria-hidden="true"><path class="{style}" d="M0,2 L28,2"/></svg>'


def _key_of_line(i: int, line: _Line) -> _Html:
    """In the legend: how a curve is drawn, its name and its last value."""
    points = [[int(x), float(f"{y:.6g}")] for x, y in _thinned(line.points)]
    return _html(
        '<li data-points="{points}">{key} {name} <b>{last}</b></li>',
        points=json.dumps(points, separators=(",", ":")),
        key=_html(_KEY, style=f"line s{i % 5}"),
        name=line.name,
        last=_show(line.points[-1][1]),
    )


def _key_of_level(level: _Level) -> _Html:
    key = _html(_KEY, style=f"level {level.colour}")
    return _html("<li>{key} {name}: {y}</li>", key=key, name=level.name, y=_show(level.y))


def _marks(axes: _Axes, events: Sequence[Record]) -> Iterator[_Html]:
    """Below the axis: a sign for each event, those of one step side by side."""
    by_step: dict[int, dict[str, Record]] = {}
    for event in events:
        by_step.setdefault(event["step"], {})[_kind(event)] = event
    for step, together in by_step.items():
        said = "; ".join(f"{_words(kind)} {_details(event)}".strip() for kind, event in together.items())
        yield _html(
            '<span style="left:{x}%" title="{title}">{signs}</span>',
            x=f"{axes.x(step) / 10:.2f}",
            title=f"step {step:,}: {said}",
            signs=_join(_sign(kind) for kind in together),
        )


def _words(kind: str) -> str:
    return EVENTS.get(kind, ("", kind))[1]


def _sign(kind: str) -> _Html:
    return _html('<i class="{bad}">{sign}</i>', bad=_bad(kind), sign=EVENTS.get(kind, ("◆", ""))[0])


def _thinned(points: Points, parts: int = 250) -> Points:
    """The lowest and highest point of each of `parts` stretches, and the first and last of all."""
    if len(points) <= 2 * parts:
        return points
    kept = {0, len(points) - 1}
    for i in range(parts):
        stretch = range(i * len(points) // parts, (i + 1) * len(points) // parts)
        kept |= {choose(stretch, key=lambda j: points[j][1]) for choose in (min, max)}
    return [points[j] for j in sorted(kept)]


def _ticks(low: float, high: float, about: int = 4) -> list[tuple[float, str]]:
    """Round numbers within [low, high], 1, 2 or 5 times a power of ten apart.

    >>> [label for _, label in _ticks(-0.3, 1.2)]
    ['0.0', '0.5', '1.0']
    """
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    gap = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    places = max(0, -math.floor(math.log10(gap) + 1e-9))
    plain = gap > 1e-6 and max(abs(low), abs(high)) < 1e9
    form = f",.{places}f" if plain else ".3g"
    numbers = range(math.ceil(low / gap - 1e-9), math.floor(high / gap + 1e-9) + 1)
    return [(i * gap, _signed(format(i * gap, form))) for i in numbers]


def _decades(low: float, high: float) -> list[tuple[float, str]]:
    """Powers of ten within [low, high]."""
    exponents = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
    return [(10.0**e, f"{10.0**e:g}") for e in _spread(exponents, 6)]


# metrics --------------------------------------------------------------------------------------------------


def _metrics(facts: _Facts) -> _Html:
    known = [record for record in facts.judged if _number(record.get("value")) is not None]
    if not known:
        return _html(
            "<h2>Metrics</h2><p>The samples have not been judged yet. This judges them:</p>"
            '<pre tabindex="0"><code>zerosum evaluate {path}</code></pre>',
            path=shlex.quote(str(facts.path)),
        )
    kinds: dict[tuple[str, ...], dict[int, Record]] = {}
    for record in sorted(known, key=lambda r: (r["step"], _number(r.get("time")) or 0)):
        kind = _metric_name(record), *list(_circumstances(record).values())[2:]
        kinds.setdefault(kind, {})[record["step"]] = record
    newest = [list(by_step.values())[-1] for by_step in kinds.values()]
    charts = [_metric_chart(list(by_step.values())) for by_step in kinds.values() if len(by_step) > 1]
    where = [_circumstances(record) for record in newest]
    differing = [key for key in where[0] if len({w[key] for w in where}) > 1]
    shared = ", ".join(
        f"{key} {text}" for key, text in where[0].items() if text != "–" and key not in differing
    )
    head = ["metric", "value", "95 % interval", "floor", "beside the floor", "p", *differing]
    rows = [[*_metric_row(r), *(w[key] for key in differing)] for r, w in zip(newest, where, strict=True)]
    return _html(
        '<h2>Metrics, each with its uncertainty and its floor</h2>{shared}<div class="numbers">{table}</div>'
        '<p class="soft">↓ lower is better, ↑ higher is better. The floor (grey) is what the same metric '
        "says of two halves of real data: no generator can be expected to do better. Whiskers are the "
        "intervals; each row has a scale of its own, and shows the newest step that was judged.</p>"
        '<div class="pair">{charts}</div>',
        shared=_html("<p>In every row: {text}.</p>", text=shared) if shared else "",
        table=_table("Metrics", head, rows),
        charts=_join(charts),
    )


def _circumstances(record: Record) -> dict[str, str]:
    """What was judged. All but step and n make two rows two different metrics."""
    n, average = _number(record.get("n")), record.get("average")
    return {
        "step": f"{record['step']:,}",
        "n": "–" if n is None else f"{n:,.0f}",
        "weights": {True: "averaged", False: "live"}[average] if isinstance(average, bool) else "–",
        **{key: _brief(record.get(key) or "–", 60) for key in ("space", "data", "split")},
    }


def _metric_row(record: Record) -> list[str]:
    low, high, floor = _number(record.get("low")), _number(record.get("high")), _floor(record)
    return [
        f"{_metric_name(record)} {_better(record)}",
        _show(record["value"]),
        "–" if low is None or high is None else f"{_show(low)} to {_show(high)}",
        _show(floor[0]) if floor else "–",
        _whisker(record["value"], low, high, floor),
        _show(_number(record.get("p_value")), 2),
    ]


def _metric_name(record: Record) -> str:
    return _brief(record.get("metric") or "unnamed", 60).replace("_", " ")


def _better(record: Record) -> str:
    higher = record.get("higher_is_better")
    return ("↑" if higher else "↓") if isinstance(higher, bool) else ""


def _floor(record: Record) -> tuple[float, float, float] | None:
    """The floor's value and interval; it comes as a mapping or as a bare number."""
    floor = record.get("floor")
    tree = floor if isinstance(floor, dict) else {"value": floor}
    value, low, high = (_number(tree.get(key)) for key in ("value", "low", "high"))
    if value is None:
        return None
    return value, value if low is None else low, value if high is None else high


def _whisker(
    value: float, low: float | None, high: float | None, floor: tuple[float, float, float] | None
) -> _Html:
    """A value and its interval beside the floor's, drawn 100 units wide."""
    low, high = value if low is None else low, value if high is None else high
    ends = sorted([value, low, high, *(floor or ())])
    room = 0.08 * (ends[-1] - ends[0]) or 1.0
    start, width = ends[0] - room, ends[-1] - ends[0] + 2 * room

    def at(y: float) -> float:
        return 100 * (y - start) / width

    band = '<rect class="floor" x="{x:.1f}" width="{w:.1f}" y="0" height="20"/>'
    grey = band.format(x=at(floor[1]) - 1, w=at(floor[2]) - at(floor[1]) + 2) if floor else ""
    said = f"{_show(value)}, interval {_show(low)} to {_show(high)}"
    return _html(
        '<svg class="whisker" viewBox="0 0 100 20" role="img" aria-label="{said}">{grey}'
        '<path d="M{a},10 L{b},10 M{a},6 L{a},14 M{b},6 L{b},14"/><circle cx="{v}" cy="10" r="3"/></svg>',
        said=said + (f", floor {_show(floor[0])}" if floor else ""),
        grey=_Html(grey),
        **{k: f"{at(y):.1f}" for k, y in {"a": low, "b": high, "v": value}.items()},
    )


def _metric_chart(records: Sequence[Record]) -> _Html:
    """A metric over the steps that were judged."""
    last = records[-1]
    bands = [(float(r["step"]), _number(r.get("low")), _number(r.get("high"))) for r in records]
    band = [(x, low, high) for x, low, high in bands if low is not None and high is not None]
    best = (max if last.get("higher_is_better") else min)(records, key=lambda r: r["value"])
    most = {"↓": ": lowest", "↑": ": highest"}.get(_better(last))
    title = _metric_name(last) + (f"{most} at step {best['step']:,}" if most else "")
    floor = _floor(last)
    line = _Line(_brief(last.get("space") or "value", 60), _points(records, "value"), band)
    return _chart(title, [line], "", levels=[_Level("floor", floor[0])] if floor else [])


# the generator --------------------------------------------------------------------------------------------

_NO_RUN = "<p>They need a checkpoint, and none could be opened.</p>"
_NO_IMAGES = "<p>Left out: this run makes vectors, which are not looked at one by one.</p>"


def _interpolations(facts: _Facts, rows: int = 5, columns: int = 9) -> _Html:
    """Walks through z between samples, by the newest checkpoint."""
    if facts.run is None or not facts.images:
        return _html("<h2>Interpolations</h2>") + _html(_NO_IMAGES if facts.run else _NO_RUN)
    import torch

    from zerosum.game import normal

    game = facts.run.game
    ends = game.noise(2 * rows, seed=1)
    pairs = zip(ends[:rows], ends[rows:], strict=True)
    walks = [_walk(a, b, columns, great_circle=game.prior is normal) for a, b in pairs]
    image = _drawn(_pixels(facts.run, torch.cat([game.generate(z) for z in walks])), columns)
    return _html(
        '<h2>Interpolations: from sample to sample through z</h2><figure><img src="{uri}" width="{w}" '
        'height="{h}" alt="{alt}"><figcaption>Each row goes from one sample (left) to another (right) in {n} '
        "equal steps along {way} between their z, at step {step}. A generator that only remembers examples "
        "jumps where one that generalises changes smoothly.</figcaption></figure>",
        uri=image.uri,
        w=image.width,
        h=image.height,
        alt=f"{rows} rows of {columns} generated images, changing from left to right",
        n=columns - 1,
        way="the great circle" if game.prior is normal else "the straight line",
        step=f"{game.step:,}",
    )


def _walk(a: Tensor, b: Tensor, n: int, great_circle: bool) -> Tensor:
    """n points from a to b, ``[n, *latent]``: on the great circle, or straight."""
    import torch

    from zerosum.sampling import lerp, slerp

    path = slerp if great_circle else lerp
    return path(a[None], b[None], torch.linspace(0, 1, n, dtype=a.dtype, device=a.device))[0]


def _neighbours(facts: _Facts, n: int = 12, k: int = 3) -> _Html:
    """Samples beside the training examples that are nearest to them."""
    from zerosum.sampling import mirrors, nearest

    heading = _html("<h2>Nearest training examples</h2>")
    if facts.run is None or facts.recipe is None or not facts.images:
        return heading + _html(_NO_IMAGES if facts.run else _NO_RUN)
    try:
        source = recipes.build_source(facts.recipe)
        number = len(source)
        train = source.batch(0, min(number, TRAINING // math.prod(source.shape)))[0]
    except Exception as error:  # the data lie elsewhere, or the user's own source fails
        return heading + _html("<p>They need the training data, which cannot be had: {e}</p>", e=_line(error))
    if len(train) <= k:
        return heading + _html("<p>Left out: there are only {n} training examples.</p>", n=len(train))
    low, high = facts.run.facts["range"] or (-1.0, 1.0)
    made = facts.run.game.sample(n).to(train)
    mirrored = mirrors(facts.recipe)
    distances, found = nearest(made, [train], k, mirrored)
    usual, _ = nearest(train[:500], [train], 2, mirrored)
    percent = 100 / (high - low)
    pixels, known = _pixels(facts.run, made), _pixels(facts.run, found.flatten(0, 1))
    cards = (
        _card(pixels[i : i + 1], known[i * k : (i + 1) * k], (distances[i] * percent).tolist())
        for i in range(n)
    )
    return _html(
        '<h2>{title}</h2><div class="cards">{cards}</div><p class="soft">Each sample (framed) beside its {k} '
        "nearest of {searched} training examples. Distances are root-mean-square differences of the "
        "pixels{mirror}, in percent of the way from black to white. A generator that copies has distances "
        "near zero; a training example is {usual} % (median) from the nearest other one.</p>",
        title=f"The nearest training examples are {float(distances[:, 0].median()) * percent:.1f} % away",
        cards=_join(cards),
        k=k,
        mirror=" (the smaller of those to the example and to its mirror image)" if mirrored else "",
        searched=f"{len(train):,}" + (f" of {number:,}" if len(train) < number else ""),
        usual=f"{float(usual[:, 1].median()) * percent:.1f}",  # the first is the example itself
    )


def _card(made: Tensor, near: Tensor, distances: Sequence[float]) -> _Html:
    return _html(
        '<figure class="card"><div><img class="made" src="{one}" alt="A sample"><img src="{others}" alt="Its '
        'nearest training examples"></div><figcaption>{text} %</figcaption></figure>',
        one=_drawn(made, 1).uri,
        others=_drawn(near, len(near)).uri,
        text=" · ".join(f"{distance:.1f}" for distance in distances),
    )


def _pixels(run: Run, x: Tensor) -> Tensor:
    return to_bytes(x.float().cpu(), *(run.facts["range"] or (-1.0, 1.0)))


# recipe and repetition ------------------------------------------------------------------------------------


def _recipe(facts: _Facts) -> _Html:
    if not facts.text:
        return _html("<h2>The recipe</h2><p>There is no recipe to show.</p>")
    text = _html('<pre tabindex="0"><code>{text}</code></pre>', text=facts.text)
    whole = _folded("The whole recipe, with every default written out (YAML)", text)
    if not facts.full:
        return _html("<h2>The recipe</h2><p>Only its text can be shown.</p>{whole}", whole=whole)
    rows = [[name, _code(mine), _code(usual)] for name, mine, usual in _choices(facts.full)]
    return _html(
        "<h2>The recipe: {n} choices differ from the defaults</h2>{table}{whole}",
        n=len(rows),
        table=_table("Choices that differ from the defaults", ["field", "this run", "default"], rows),
        whole=whole,
    )


def _choices(full: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Fields that differ from the defaults: name, value, default; of parts only the options that differ."""
    usual = recipes.resolved(recipes.Recipe())
    for name, value in full.items():
        if name not in ("name", "about") and value != usual[name]:
            yield name, _without_defaults(name, value), _without_defaults(name, usual[name])


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


def _code(value: Any) -> _Html:
    import yaml

    flow = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6)
    return _html("<code>{text}</code>", text=flow.removesuffix("...\n").strip())


def _repeat(facts: _Facts) -> _Html:
    sittings = [event for event in facts.events if any(key in event for key in MACHINE)]
    machines = list({tuple(_brief(e.get(key, "–"), 60) for key in MACHINE): None for e in sittings})
    table = _table("Versions and hardware", MACHINE, machines)
    several = "" if len(machines) < 2 else f"The run was resumed on other set-ups: there are {len(machines)}."
    return _html(
        "<h2>To repeat this run</h2>{command}<h3>Versions and hardware</h3>{table}<p>{several}</p>",
        command=_command(facts, sittings),
        table=table if machines else _html("<p>They are not recorded.</p>"),
        several=several,
    )


def _command(facts: _Facts, sittings: Sequence[Record]) -> _Html:
    if facts.recipe is None:
        return _html("<p>The command cannot be given, for the recipe could not be read.</p>")
    threads = sittings[0].get("threads") if sittings else None
    chosen = facts.recipe.threads == 0 and type(threads) is int  # by torch, for this machine
    return _html(
        '<p>Save <a download="recipe.yaml" href="data:application/yaml;base64,{data}">recipe.yaml</a>, which '
        'this page carries, then:</p><pre tabindex="0"><code>zerosum train recipe.yaml --seed {seed}{threads}'
        " --out again</code></pre><p>With the versions, device and threads below, it plays the same game "
        "again.</p>",
        data=base64.b64encode(facts.text.encode()).decode(),
        seed=facts.recipe.seed,
        threads=f" --threads {threads}" if chosen else "",
    )


# HTML -----------------------------------------------------------------------------------------------------


class _Html(str):
    """Text that is HTML already: `_html` escapes all other."""

    def __add__(self, other: str) -> _Html:
        return _Html(str(self) + (other if isinstance(other, _Html) else escape(other)))


def _html(template: str, /, **values: object) -> _Html:
    """Fill in a template; values are escaped unless they are `_Html`.

    >>> print(_html("<p>{x}</p>", x="<script>"))
    <p>&lt;script&gt;</p>
    """
    safe = {k: v if isinstance(v, _Html) else escape(str(v)) for k, v in values.items()}
    return _Html(template.format(**safe))


def _join(parts: Iterable[_Html]) -> _Html:
    return _Html("".join(parts))


def _table(name: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> _Html:
    """A table that scrolls by itself where it is wider than the page."""

    def line(cell: str, texts: Sequence[str]) -> _Html:
        return _html("<tr>{cells}</tr>", cells=_join(_html(cell, text=text) for text in texts))

    return _html(
        '<div class="scroll" role="region" aria-label="{name}" tabindex="0"><table><thead>{head}</thead>'
        "<tbody>{body}</tbody></table></div>",
        name=name,
        head=line('<th scope="col">{text}</th>', head),
        body=_join(line("<td>{text}</td>", row) for row in rows),
    )


def _folded(summary: str, body: _Html, open: bool = False) -> _Html:
    template = "<details{open}><summary>{summary}</summary>{body}</details>"
    return _html(template, open=" open" if open else "", summary=summary, body=body)


def _show(value: float | None, digits: int = 4) -> str:
    """A number for reading: a few digits that count, thousands set apart, a real minus sign."""
    if value is None:
        return "–"
    return _signed(f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.{digits}g}")


def _signed(text: str) -> str:
    return text.replace("-", "−")


def _brief(value: Any, most: int = 300) -> str:
    text = str(value)
    return text if len(text) <= most else f"{text[:most]} …"


def _line(error: BaseException) -> str:
    text = (str(error).splitlines() or [""])[0]
    return _brief(
        text if isinstance(error, RunError | recipes.RecipeError) else f"{type(error).__name__}: {text}"
    )


def _date(time: Any) -> str:
    try:
        when = datetime.datetime.fromtimestamp(_number(time) or math.nan, datetime.UTC)
    except (ValueError, OverflowError, OSError):
        return "at an unknown time"
    return f"{when.day} {when:%b %Y, %H:%M} UTC"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}: report of a run</title>
<style>{style}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the report</a>
<div class="column">
{header}
<nav aria-label="Sections"><ul>{links}</ul></nav>
<main id="main">{sections}</main>
<footer class="soft">Made by zerosum {version}, {now}.
One file that needs no network: keep it, hand it on.</footer>
</div>
<script>{script}</script>
</body>
</html>
"""

_VIEWER = """\
<h2>{title}</h2>
<figure data-viewer><div class="pictures">{images}</div>
<div class="controls" hidden><label for="when">Step <output for="when">{last}</output></label>
<input id="when" type="range" min="0" max="{max}" value="{max}" step="1"></div>
<figcaption>The same noise at every step: only the generator changes. {what} {thinned}</figcaption></figure>
"""

_CHART = """\
<figure class="chart"><h3>{title}</h3>
<ul class="legend">{legend}</ul>
<div class="plot"><div class="unit soft">{unit}</div><div class="ys" aria-hidden="true">{ys}</div>
<div class="area" data-end="{end}"><svg viewBox="0 0 1000 1000" preserveAspectRatio="none" role="img" \
aria-label="{said}">{drawn}</svg><div class="cursor" hidden></div></div>
<div class="marks">{marks}</div><div class="xs" aria-hidden="true">{xs}</div>
<div class="axis soft"><output></output>step</div></div>
{caption}</figure>
"""

# Colours after Okabe and Ito (2008), made to stand out from the page by 3:1; curves differ by dashes as well.
_STYLE = """
:root {
  color-scheme: light dark;
  --page: #fcfcfa; --text: #1b2024; --soft: #565f67; --rule: #d9dee1; --panel: #f2f4f4;
  --link: #00629b; --bad: #b84300; --floor: #b9c1c6;
  --c0: #0072b2; --c1: #c44f00; --c2: #00805c; --c3: #a8487f; --c4: #6a5acd;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #14181b; --text: #e3e7ea; --soft: #a3aeb6; --rule: #333b41; --panel: #1d2327;
    --link: #7cc4ef; --bad: #ff9a57; --floor: #56626a;
    --c0: #56b4e9; --c1: #e69f00; --c2: #2fc598; --c3: #e19cc4; --c4: #a9a0f0;
  }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
.column { max-width: 46rem; margin: 0 auto; padding: 2.5rem 1rem 4rem; }
h1, h2, h3 { line-height: 1.25; text-wrap: balance; overflow-wrap: anywhere; }
h1 { font-size: 2.1rem; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 1.35rem; margin: 0 0 1rem; }
h3 { font-size: 1rem; margin: 0 0 0.4rem; }
p { margin: 0 0 1rem; overflow-wrap: anywhere; }
a { color: var(--link); }
.soft, figcaption { color: var(--soft); font-size: 0.875rem; }
header .soft { margin: 0 0 0.4rem; }
.about { font-size: 1.1rem; color: var(--soft); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: 1rem;
  margin: 1.5rem 0; }
.figures div { border-top: 1px solid var(--rule); padding-top: 0.5rem; display: flex;
  flex-direction: column-reverse; justify-content: flex-end; }
dt { color: var(--soft); font-size: 0.875rem; line-height: 1.35; }
dd { margin: 0; font-size: 1.3rem; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.note { border-left: 4px solid var(--bad); background: var(--panel); padding: 0.8rem 1rem; margin: 1rem 0;
  overflow-wrap: anywhere; }
.note h2 { font-size: 1rem; margin: 0; }
.note ul { margin: 0.3rem 0 0; padding-left: 1.2rem; }
nav { padding: 0.7rem 0; border: solid var(--rule); border-width: 1px 0; }
nav ul { display: flex; flex-wrap: wrap; gap: 0.3rem 1.2rem; margin: 0; padding: 0; list-style: none; }
section { padding-top: 2.5rem; }
footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--rule); }
.skip { position: absolute; left: -99rem; background: var(--page); padding: 0.3rem; }
.skip:focus { left: 1rem; top: 0.5rem; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 2px; }
figure { margin: 0 0 2.2rem; break-inside: avoid; }
figcaption { margin-top: 0.5rem; overflow-wrap: anywhere; }
img { display: block; max-width: 100%; height: auto; image-rendering: pixelated; border-radius: 3px; }
[hidden] { display: none !important; }
figure > img, .pictures img { margin: 0 auto; }
.controls { display: flex; flex-wrap: wrap; align-items: center; gap: 0.3rem 1rem; margin-top: 0.8rem; }
.controls label { min-width: 7rem; font-variant-numeric: tabular-nums; }
.controls input { flex: 1 1 12rem; min-width: 0; height: 2rem; accent-color: var(--link); }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 0.1rem 1.4rem; margin: 0 0 0.4rem;
  padding: 0; font-size: 0.9rem; overflow-wrap: anywhere; }
.legend b { font-weight: 600; font-variant-numeric: tabular-nums; display: inline-block; min-width: 4em; }
.key { width: 28px; height: 4px; vertical-align: middle; overflow: visible; }
.plot { display: grid; grid-template-columns: 3.6rem minmax(0, 1fr); padding-right: 1.6rem; }
.unit { grid-column: 1 / 3; margin-bottom: 0.4rem; }
.ys, .xs, .marks { position: relative; font-size: 0.8rem; color: var(--soft);
  font-variant-numeric: tabular-nums; }
.ys span { position: absolute; right: 0.5rem; transform: translateY(-50%); white-space: nowrap; }
.xs, .marks { grid-column: 2; height: 1.2rem; }
.xs span, .marks span { position: absolute; transform: translateX(-50%); white-space: nowrap; }
.marks span { font-size: 0.7rem; line-height: 1.3rem; cursor: default; }
i { font-style: normal; }
.bad { color: var(--bad); }
.axis { grid-column: 2; text-align: right; min-height: 1.4rem; }
.axis output { float: left; }
.area { position: relative; height: 13rem; border: solid var(--rule); border-width: 0 0 1px 1px; }
.area svg { display: block; width: 100%; height: 100%; overflow: visible; }
.area path, .area line { vector-effect: non-scaling-stroke; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.dot { stroke-width: 7; stroke-linecap: round; }
.band { stroke: none; fill: var(--c0); opacity: 0.2; }
.level { fill: none; stroke: var(--soft); stroke-width: 1.5; stroke-dasharray: 1.5 3; }
.line.s0, .level.s0 { stroke: var(--c0); }
.line.s1, .level.s1 { stroke: var(--c1); }
.line.s1 { stroke-dasharray: 7 3; }
.line.s2 { stroke: var(--c2); stroke-dasharray: 3 2; }
.line.s3 { stroke: var(--c3); stroke-dasharray: 9 3 2 3; }
.line.s4 { stroke: var(--c4); stroke-dasharray: 14 4; }
.mark { stroke: var(--rule); stroke-width: 1; }
.mark.bad { stroke: var(--bad); stroke-width: 2; }
.cursor { position: absolute; top: 0; bottom: 0; width: 1px; background: var(--soft); pointer-events: none; }
.pair { display: grid; gap: 0 1.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(19rem, 100%), 1fr)); }
.pair .area { height: 9rem; }
.scroll { overflow-x: auto; margin: 0 0 1rem; }
table { border-collapse: collapse; font-size: 0.875rem; font-variant-numeric: tabular-nums; min-width: 100%; }
th, td { text-align: left; padding: 0.35rem 0.9rem 0.35rem 0; border-bottom: 1px solid var(--rule);
  vertical-align: top; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
td { overflow-wrap: break-word; max-width: 24rem; }
.numbers td { white-space: nowrap; }
.whisker { display: block; width: 100px; height: 20px; }
.whisker path { stroke: var(--c0); stroke-width: 1.5; fill: none; }
.whisker circle { fill: var(--c0); }
.floor { fill: var(--floor); }
code { font: 0.9em ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
pre { background: var(--panel); padding: 0.8rem 1rem; overflow-x: auto; border-radius: 4px; font-size: 0.9rem;
  margin: 0 0 1rem; }
details { margin: 0 0 0.6rem; }
summary { cursor: pointer; padding: 0.3rem 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.4rem, 1fr)); gap: 1.2rem 1rem;
  margin-bottom: 1rem; }
.card { margin: 0; }
.card div { display: grid; grid-template-columns: 1fr 3fr; gap: 0.6rem; align-items: center; padding: 3px; }
.card img { width: 100%; }
.card .made { outline: 2px solid var(--c0); outline-offset: 1px; }
.card figcaption { font-size: 0.8rem; margin-top: 0.2rem; font-variant-numeric: tabular-nums; }
@media print {
  .column { max-width: none; padding: 0; }
  .controls, nav, .skip { display: none; }
  .scroll { overflow: visible; }
  body { font-size: 10pt; }
  section { padding-top: 1.5rem; }
  pre { white-space: pre-wrap; }
}
"""

_SCRIPT = r"""
"use strict";
for (const viewer of document.querySelectorAll("[data-viewer]")) {
  const input = viewer.querySelector("input"), output = viewer.querySelector("output");
  const pictures = [...viewer.querySelectorAll("img")];
  const show = () => {
    pictures.forEach((picture, i) => { picture.hidden = i !== Number(input.value); });
    output.value = pictures[input.value].dataset.step;
    input.setAttribute("aria-valuetext", "step " + output.value);
  };
  input.addEventListener("input", show);
  viewer.querySelector(".controls").hidden = pictures.length < 2;
  show();
}
for (const chart of document.querySelectorAll(".chart")) {
  const area = chart.querySelector(".area"), end = Number(area.dataset.end);
  const cursor = chart.querySelector(".cursor"), output = chart.querySelector("output");
  const curves = [...chart.querySelectorAll("[data-points]")].map(item => {
    const figure = item.querySelector("b");
    return {figure, last: figure.textContent, points: JSON.parse(item.dataset.points)};
  });
  area.addEventListener("pointermove", event => {
    const frame = area.getBoundingClientRect();
    const at = (event.clientX - frame.left) / frame.width * end;
    let step = 0;
    for (const {figure, points} of curves) {
      const near = points.reduce((a, b) => Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a);
      figure.textContent = String(Number(near[1].toPrecision(4))).replace("-", "\u2212");
      step = near[0];
    }
    cursor.hidden = false;
    cursor.style.left = step / end * 100 + "%";
    output.value = "at step " + step.toLocaleString("en");
  });
  area.addEventListener("pointerleave", () => {
    cursor.hidden = true;
    output.value = "";
    for (const {figure, last} of curves) figure.textContent = last;
  });
}
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  for (const part of folded) part.open = true;
});
addEventListener("afterprint", () => { for (const part of folded) part.open = false; });
"""
