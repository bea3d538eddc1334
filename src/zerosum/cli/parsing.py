"""Words of the command line become values: options of a verb, and fields of a recipe."""

from __future__ import annotations

import argparse
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from zerosum.cli.output import say_in_pages

if TYPE_CHECKING:
    from zerosum.recipe import Recipe

__all__ = [
    "TRACKERS",
    "HelpShown",
    "Parser",
    "UsageError",
    "recipe_of",
    "some_hours",
    "some_names",
    "some_path",
    "some_text",
    "step_of",
    "stopping",
    "whole",
]

TRACKERS = ["tensorboard", "wandb", "mlflow", "trackio"]
"""Those of `zerosum.trackers`, which takes time to import."""
_WIDTH = 100


class UsageError(Exception):
    """A command that cannot be understood."""

    exit_code = 2


class HelpShown(Exception):
    """A parser has printed its help, and there is nothing more to do."""


class Parser(argparse.ArgumentParser):
    """The parser of a verb, whose errors are one line.

    fields: the verb takes fields of a recipe, as ``--G.width 64``, ``--G.width=64`` or ``G.width 64``; they
    come out as `fields`, texts by dotted paths.
    """

    def __init__(self, verb: str, about: str | None, fields: bool = False, **settings: Any) -> None:
        super().__init__(
            prog=f"zerosum {verb}",
            description=about,
            allow_abbrev=False,
            formatter_class=_formatter,
            **settings,
        )
        self.fields = fields

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")

    def print_help(self, file: Any = None) -> None:
        say_in_pages(self.format_help().rstrip("\n"))

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        raise HelpShown

    def parsed(self, words: Sequence[str]) -> argparse.Namespace:
        """The options and fields of a command. Raises UsageError for what cannot be understood."""
        if not self.fields:
            return self.parse_args(words)
        own, pairs = self._divided(words)
        result, bare = self.parse_known_args(own)
        result.fields = dict(zip(bare[::2], bare[1::2], strict=False)) | pairs
        if len(bare) % 2:
            raise UsageError(f"{bare[-1]!r} has no value{self._how}")
        return result

    def _divided(self, args: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """The words for the verb's own options, and the fields."""
        own: list[str] = []
        pairs: dict[str, str] = {}
        rest = iter(args)
        for word in rest:
            name, equals, text = word.partition("=")
            if not name.startswith("--") or name in self._option_string_actions:
                own.append(word)
                continue
            values = [text] if equals else list(islice(rest, 1))
            if not values or (not equals and values[0].startswith("--")):
                raise UsageError(f"{name} has no value{self._how}")
            pairs[name.removeprefix("--")] = values[0]
        return own, pairs

    @property
    def _how(self) -> str:
        return f": set recipe fields as --field VALUE (see {self.prog} --help)"


def _formatter(prog: str) -> argparse.HelpFormatter:
    width = min(_WIDTH, shutil.get_terminal_size().columns) - 2
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=24, width=width)


def recipe_of(args: argparse.Namespace, name: str) -> Recipe:
    """The recipe that a command names, with its data and its fields."""
    from zerosum import recipe as recipes

    data = {"data": recipes.data_component(args.data)} if args.data is not None else {}
    return recipes.load(name, data | {path: recipes.value(text) for path, text in args.fields.items()})


def some_text(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty")
    return text


def some_names(text: str) -> tuple[str, ...]:
    """Names between commas, none of them empty."""
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"names are wanted, separated by commas: got {text!r}")
    return names


def some_hours(text: str) -> str:
    """So many hours, as a recipe has them in `steps`."""
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not 0 < hours < 10_000:
        raise argparse.ArgumentTypeError(f"a number above 0 and below 10,000 is needed, got {text!r}")
    return f"{hours:.6f}h"


def some_path(text: str) -> Path:
    """A path that is not empty: an empty one would be the working directory."""
    return Path(some_text(text))


def step_of(text: str) -> int | str:
    """A checkpoint by its step, or the best one."""
    return text if text == "best" else whole(0)(text)


class whole:
    """A type of option: whole numbers between two limits."""

    def __init__(self, low: int, high: int = 2**63 - 1) -> None:
        self.low, self.high = low, high

    def __call__(self, text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if not self.low <= value <= self.high:
            raise argparse.ArgumentTypeError(f"{text} is not between {self.low:,} and {self.high:,}")
        return value


class Stoppable(Protocol):
    def stop(self, reason: str) -> None: ...


@contextmanager
def stopping(run: Stoppable) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal (SIGHUP, unless it is ignored, as under nohup) end the run after
    the present turn; a second one at once."""

    def stop(number: int, frame: object) -> None:
        run.stop(signal.Signals(number).name)
        signal.signal(number, signal.SIG_DFL)

    ends = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        ends.append(signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in ends}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
