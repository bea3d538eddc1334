"""The files of a run, but for its weights: the one reader and writer of them.

    recipe.yaml            the recipe, fully resolved
    metrics.jsonl          a `Record` for each logged step
    events.jsonl           an `Event` for each thing that happened
    samples/NNNNNN.png     what one fixed grid of noise has become; real.png: real images to see beside them
    evaluation.jsonl       a `Row` for each metric that `zerosum evaluate` has computed
    changes/*.json         wishes, to be taken up between two turns: see `zerosum.run.changes`

Whoever reads gets what fits the schema below, and is told how much did not: files may be cut short, come from
a stranger, or be of a later version. docs/runs.md has the schema in words.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypeVar
from weakref import finalize

from annotated_types import Ge, Len, Lt
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from zerosum import recipe as recipes
from zerosum.recipe import Recipe
from zerosum.run import files
from zerosum.text import printable

__all__ = [
    "FORMAT",
    "Event",
    "Log",
    "NotFinite",
    "Record",
    "Row",
    "RunError",
    "circumstances",
    "disk",
    "keep_apart",
    "not_a_run",
    "refuse_format",
    "thinned",
]

FORMAT = 2
"""The format of a run's files that is written; those of 1 named none. Others are refused."""

Record = dict[str, Any]
"""The numbers of one turn: ``step``, a finite number for each term and reading, and under ``intervals`` the
two ends ``[low, high]`` of those that have any."""
Row = dict[str, Any]
"""A metric: ``metric``, ``value``, ``low``, ``high`` and what `zerosum.evaluation` says of it."""
_CIRCUMSTANCES = "metric", "space", "data", "split", "average", "where", "n"

T = TypeVar("T")
STEP = re.compile(rb'"step": ?(\d{1,19})')
BESIDE = frozenset({"step", "intervals"})  # of a record: what is no quantity
DEEPEST = 32  # levels of a line; what we write has half of them at most
Step = Annotated[int, Ge(0), Lt(2**63)]
Pair = Annotated[list[Any], Len(2, 2)]


class RunError(Exception):
    """A run that cannot go on: what is wrong, where, and what to do, in one line."""

    exit_code = 1


class NotFinite(RunError):
    """A loss, a weight or a moment that is no finite number."""


# what a directory holds ---------------------------------------------------------------------------------

KINDS = {"run": "a run", "sweep": "a sweep", "seeds": "a directory of seeds"}


def _kind(path: Path) -> str:
    if any(os.path.lexists(path / name) for name in ("recipe.yaml", "checkpoints")):
        return "run"
    inside = {"sweep": "sweep.yaml", "seeds": "seed*/recipe.yaml"}
    return next((kind for kind, pattern in inside.items() if any(path.glob(pattern))), "")


def keep_apart(path: Path, kind: Literal["run", "seeds", "sweep"]) -> None:
    """Raise RunError where a directory holds something else than what is to be written there."""
    if (held := _kind(path)) not in ("", kind):
        raise RunError(
            f"{printable(path)} holds {KINDS[held]}, and not {KINDS[kind]}: give --out another directory"
        )


def not_a_run(path: Path) -> RunError:
    """The error of whoever needs a run, and finds something else in this directory."""
    what, kind = "not a run: it holds no recipe.yaml (a run is what `zerosum train` writes)", _kind(path)
    part, pattern = {"seeds": ("seed", "seed*"), "sweep": ("trial", "trials/*")}.get(kind, ("", ""))
    if pattern and (inside := sorted(path.glob(pattern))):
        what = f"{KINDS[kind]}: name one {part}, such as {printable(inside[0])}"
    return RunError(f"{printable(path)} is {what}")


# the schema of events -----------------------------------------------------------------------------------


@with_config(ConfigDict(extra="allow"))
class Happened(TypedDict):
    """What every event has."""

    step: Step
    time: NotRequired[float]


class Begun(Happened):
    """A sitting begins. judged: the facts of the game that a diagnosis needs. scales: of each reading its
    unit and its value at the equilibrium."""

    event: Literal["started", "resumed"]
    format: NotRequired[int]
    judged: NotRequired[dict[str, Any]]
    scales: NotRequired[dict[str, Pair]]


class FellBack(Happened):
    """A newer checkpoint could not be used."""

    event: Literal["fell_back"]
    cause: str


class DataChanged(Happened):
    """The run went on with other data than it had."""

    event: Literal["data_changed"]


class Changed(Happened):
    """From this step on the recipe has other values at these dotted paths. wish: the file that asked; reason:
    why the run itself did."""

    event: Literal["changed"]
    fields: dict[str, Any]
    wish: NotRequired[str]
    reason: NotRequired[str]
    judged: NotRequired[dict[str, Any]]
    scales: NotRequired[dict[str, Pair]]


class Refused(Happened):
    """A wish that could not be granted."""

    event: Literal["refused"]
    cause: str
    wish: NotRequired[str]


class AdviceGiven(TypedDict):
    field: str
    value: Any
    also: NotRequired[dict[str, Any]]
    why: NotRequired[str]


class Fault(Happened):
    """A fault was raised, by the diagnosis or by what broke a turn (then with a traceback or the term)."""

    event: Literal["fault"]
    name: str
    since: NotRequired[Step]
    confidence: NotRequired[float]
    evidence: NotRequired[list[Any]]
    advice: NotRequired[list[AdviceGiven]]
    term: NotRequired[str]
    traceback: NotRequired[str]


class Recovered(Happened):
    """A fault no longer stands."""

    event: Literal["recovered"]
    name: str


class Ended(Happened):
    """A sitting ended. best: the step of the best checkpoint."""

    event: Literal["stopped", "finished"]
    reason: NotRequired[str]
    best: NotRequired[Step]


Event = Begun | FellBack | DataChanged | Changed | Refused | Fault | Recovered | Ended


@cache
def _events() -> TypeAdapter[Event]:
    return TypeAdapter(Annotated[Event, Field(discriminator="event")])


def _event(line: Mapping[str, Any]) -> Event | None:
    try:
        return _events().validate_python(line, strict=True)
    except (ValidationError, RecursionError):
        return None


def _record(line: Mapping[str, Any]) -> Record | None:
    """What fits of a record; None where not even the step does."""
    step = line.get("step")
    if type(step) is not int or not 0 <= step < 2**63:
        return None
    numbers = {name: x for name, x in line.items() if _is_number(x)}
    intervals = line.get("intervals")
    pairs = intervals.items() if isinstance(intervals, dict) else ()
    ends = {name: pair for name, pair in pairs if _is_pair(pair)}
    return {"step": step, **numbers} | ({"intervals": ends} if ends else {})


def _row(line: Mapping[str, Any]) -> Row | None:
    """A metric, or a difference of two runs in it."""
    numbers = (line.get("value", line.get("difference")), line.get("low"), line.get("high"))
    whole = isinstance(line.get("metric"), str) and type(line.get("step", 0)) is int
    return {"step": 0, **line} if whole and all(map(_is_number, numbers)) else None


def circumstances(row: Mapping[str, Any]) -> dict[str, str]:
    """What rows of one run must share to be compared: the same figure of other steps has the same. What an
    older run did not write is what a row without a condition has.

    >>> circumstances({"metric": "coverage"}) == circumstances({"metric": "coverage", "where": None})
    True
    """
    return {name: "" if row.get(name) is None else str(row[name]) for name in _CIRCUMSTANCES}


def _is_number(x: Any) -> bool:
    return type(x) in (int, float) and abs(x) < 2**1023 and math.isfinite(x)


def _is_pair(x: Any) -> bool:
    return isinstance(x, list) and len(x) == 2 and all(map(_is_number, x))


# the files ----------------------------------------------------------------------------------------------


class Log:
    """The files of the run in a directory. To look at them nothing is needed; who trains holds the `lock`.

    skipped: of each file that was read, how many lines did not fit.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.skipped: dict[str, int] = {}
        self._changes = f"{self.path}/changes"
        self._holds: int | None = None
        self._release: Callable[[], object] = lambda: None

    # read

    def recipe(self) -> Recipe:
        """The recipe that the run was begun with. Raises RunError where there is none, RecipeError for one
        that cannot be."""
        file = self.path / "recipe.yaml"
        if not os.path.lexists(file):
            raise not_a_run(self.path)
        self._read("recipe.yaml")
        return recipes.load(str(file))

    def records(self) -> list[Record]:
        """The records, one for each step, in their order."""
        by_step = {record["step"]: record for record in self._lines("metrics.jsonl", _record)}
        return [by_step[step] for step in sorted(by_step)]

    def follow(self, start: int, most: int) -> tuple[list[Record], int]:
        """The records from a byte of metrics.jsonl on, and the byte where the next begins: for who reads on
        while they are written. More than `most` are `thinned`."""
        content = self._read("metrics.jsonl", start)
        whole = content[: content.rfind(b"\n") + 1]
        lines = whole.splitlines(keepends=True)
        return _records(lines) if len(lines) <= most else _thinned(lines, most), start + len(whole)

    def events(self) -> list[Event]:
        """What happened. Raises RunError for a run of a format that is not known here."""
        events = list(self._lines("events.jsonl", _event))
        for event in events:
            refuse_format(event.get("format", 1), self.path)
        return events

    def evaluations(self) -> list[Row]:
        """What `zerosum evaluate` has computed, without its comparisons."""
        return [row for row in self._lines("evaluation.jsonl", _row) if "value" in row]

    def pictures(self) -> dict[int, Path]:
        """The pictures by their steps, in order: plain files in a plain folder."""
        return {int(path.stem): path for path in self._plain_files("samples", r"[0-9]{6,}\.png")}

    def wishes(self) -> list[Path]:
        """Plain files that ask for a change, in the order of their names; asked after every turn."""
        if not os.path.lexists(self._changes):
            return []
        return self._plain_files("changes", r"[^.].*\.json")

    # write

    def lock(self) -> None:
        """Hold the run for this process; the lock is on the directory itself, and ends with the process.

        Raises RunError if another process holds it.
        """
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if not isinstance(error, BlockingIOError):
                raise
            raise RunError(
                f"another process is training in {printable(self.path)}: wait for it, "
                "or give --out another directory"
            ) from None
        self._holds = descriptor
        self._release = finalize(self, os.close, descriptor)

    def unlock(self) -> None:
        self._holds = None
        self._release()

    def write_recipe(self, recipe: Recipe) -> None:
        self._write("recipe.yaml", recipes.dump(recipe).encode())

    def write_picture(self, step: int, png: bytes) -> None:
        (self.path / "samples").mkdir(exist_ok=True)
        self._write(f"samples/{step:06d}.png", png)

    def write_real_picture(self, png: bytes) -> None:
        self._write("samples/real.png", png)

    def add_record(self, record: Mapping[str, Any]) -> None:
        self._add("metrics.jsonl", record)

    def add_event(self, event: str, step: int, **facts: Any) -> None:
        self._add("events.jsonl", {"event": event, "time": round(time.time(), 3), "step": step, **facts})

    def add_evaluation(self, row: Mapping[str, Any]) -> None:
        self._add("evaluation.jsonl", row)

    def keep_until(self, step: int) -> None:
        """Take out of metrics.jsonl what came after a step, and out of both logs what does not belong."""
        self._filter("metrics.jsonl", lambda line: (one := _record(line)) is not None and one["step"] <= step)
        self._filter("events.jsonl", lambda line: "event" in line)

    def _filter(self, name: str, wanted: Callable[[Mapping[str, Any]], bool]) -> None:
        content = self._read(name)
        good = b"".join(line for line in content.splitlines(keepends=True) if wanted(_parsed(line)))
        if good != content or not content:
            self._write(name, good)

    def sweep(self) -> None:
        """Remove what interrupted writes left behind."""
        for folder in (self.path, self.path / "samples", self.path / "checkpoints"):
            files.sweep(folder)

    def _write(self, name: str, content: bytes) -> None:
        self.check_held()
        files.write(self.path / name, content, within=self.path)

    def _add(self, name: str, record: Mapping[str, Any]) -> None:
        self.check_held()
        files.append(self.path / name, record, within=self.path)

    def check_held(self) -> None:
        """Raise OSError if the directory that this process holds no longer stands at its path."""
        if self._holds is not None and not os.path.samestat(os.fstat(self._holds), self.path.stat()):
            raise OSError(None, "another directory has taken its place")

    def _read(self, name: str, start: int = 0) -> bytes:
        """The content of a file from a byte on, b"" where there is none."""
        try:
            return files.read(self.path / name, within=self.path, start=start)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise RunError(f"{printable(self.path / name)}: {error.strerror or error}") from error

    def _lines(self, name: str, fits: Callable[[Mapping[str, Any]], T | None]) -> Iterator[T]:
        lines = self._read(name).splitlines(keepends=True)
        good = [one for line in lines if (one := _fitting(line, fits)) is not None]
        self.skipped[name] = len(lines) - len(good)
        return iter(good)

    def _plain_files(self, folder: str, form: str) -> list[Path]:
        try:
            names = files.listing(self.path / folder, within=self.path)
        except OSError as error:
            raise RunError(f"{printable(self.path / folder)}: {error.strerror or error}") from error
        paths = (self.path / folder / name for name in names if re.fullmatch(form, name))
        return [path for path in paths if path.is_file() and not path.is_symlink()]


def thinned(records: Sequence[Record], most: int) -> list[Record]:
    """Of each quantity the newest value in each stretch of steps; at most `most` stretches hold any.

    Each quantity by itself: they are read on clocks of their own. A stretch is as long as a power of two, so
    that of two runs of one recipe the shorter has a value wherever the longer has one.
    """
    return _in_stretches(records, _stretch([one["step"] for one in records], most))


def _thinned(lines: Sequence[bytes], most: int) -> list[Record]:
    """The same of lines, most of which are not read: what they hold is told by the names in quotes."""
    steps = [int(found[1]) if (found := STEP.search(line)) else -1 for line in lines]
    length = _stretch(steps, most)
    names = (set(line.split(b'"')[1::2]) for line in reversed(lines))
    told = zip(reversed(lines), _newest(steps[::-1], names, length), strict=True)
    return _in_stretches(_records([line for line, own in told if own][::-1]), length)


def _records(lines: Iterable[bytes]) -> list[Record]:
    return [one for line in lines if (one := _fitting(line, _record)) is not None]


def _stretch(steps: Iterable[int], most: int) -> int:
    """How long the stretches are of which at most `most` hold a step."""
    held, length = set(steps), 1
    while len(held) > most:
        held, length = {step // 2 for step in held}, 2 * length
    return length


def _in_stretches(records: Sequence[Record], length: int) -> list[Record]:
    last_first = records[::-1]
    names = (one.keys() - BESIDE for one in last_first)
    told = zip(last_first, _newest([one["step"] for one in last_first], names, length), strict=True)
    return [{k: v for k, v in one.items() if k in own or k in BESIDE} for one, own in told if own][::-1]


def _newest(steps: Sequence[int], names: Iterable[Set[T]], length: int) -> Iterator[Set[T]]:
    """Of each line, the last first, those of its names that no later one in its stretch has."""
    seen = defaultdict[int, set[T]](set)
    for step, own in zip(steps, names, strict=True):
        later = seen[step // length]
        yield own - later
        later |= own


def refuse_format(number: Any, path: Path) -> None:
    """Raise RunError for files of a format that is not read here."""
    if number not in (1, FORMAT):
        raise RunError(
            f"{printable(path)} is of format {printable(number)}, and this version of zerosum reads the "
            f"formats 1 and {FORMAT}: use the version that wrote it, or a newer one"
        )


@contextmanager
def disk(path: Path, when: str) -> Iterator[None]:
    """Turn what the disk refuses into one line that says where and when."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot write to {printable(path)}: {error.strerror or error} ({when}); "
            "free the disk or mend the directory, then give the same command again"
        ) from error


def _parsed(line: bytes) -> dict[str, Any]:
    """A line of a file of JSON lines; nothing in place of one that was cut short, or is something else."""
    try:
        tree = json.loads(line) if line.endswith(b"\n") else {}
    except (ValueError, RecursionError):
        return {}
    deep = line.count(b"[") + line.count(b"{") > DEEPEST and _is_deep(tree)
    return tree if isinstance(tree, dict) and not deep else {}


def _is_deep(tree: Any) -> bool:
    """Whether it is nested so deep that who goes through it could come to no end of it."""
    level = [tree]
    for _ in range(DEEPEST):
        inside = [one.values() if isinstance(one, dict) else one for one in level]
        level = [x for items in inside for x in items if isinstance(x, dict | list)]
    return bool(level)


def _fitting(line: bytes, fits: Callable[[Mapping[str, Any]], T | None]) -> T | None:
    tree = _parsed(line)
    return fits(tree) if tree else None
