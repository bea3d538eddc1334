"""The command line: a verb a file. An error is one line; 2 means usage, 1 failure."""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from zerosum.cli.output import explain, prepare, say, say_error
from zerosum.cli.parsing import HelpShown, UsageError

__all__ = ["VERBS", "main"]

VERBS = {
    "train": "play the game of a recipe; the same command again resumes it",
    "sweep": "search for the settings that serve a goal best, over many trials and seeds",
    "sample": "draw samples from a run: a picture, a folder, an array or a table",
    "evaluate": "judge a run, seeds, or anybody's samples against held-out real data",
    "export": "write a generator to a folder, with its card, for others to use",
    "log": "send what a run has logged to TensorBoard or another tracker",
    "diagnose": "say how a run stands: its faults, the curves that show them, and what to try",
    "report": "write the report of a run: one HTML file to look at and to hand on",
    "watch": "show runs in a browser while they are played, or play a game there",
    "theory": "show the theory on the engine: every claim predicted beside measured",
    "bench": "measure speed here: steps a second, the phases of a turn, and the best settings",
    "recipes": "list the presets, or print one in full as YAML",
    "completion": "print what makes bash, zsh or fish complete verbs, options and fields",
}
"""Each is the module of its name here, with a `parser()` and a `run(args)`; its docstring is its help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code."""
    if "" not in sys.path:
        sys.path.append("")  # my_module:network stands where the command is given
    prepare()
    warnings.showwarning, before = _say_warning, warnings.showwarning
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return code
    except HelpShown:
        return 0
    except KeyboardInterrupt:
        say_error("interrupted")
        return 128 + signal.SIGINT
    except (Exception, SystemExit) as error:
        return explain(error)
    finally:
        warnings.showwarning = before


def _say_warning(message: object, *where: object) -> None:
    """A warning in a line, without the place in the code that Python names."""
    say_error(f"warning: {message}")


def _run(words: list[str]) -> int:
    verb, *rest = words or ["--help"]
    if verb in ("-h", "--help"):
        say(_help())
        return 0
    if verb == "--version":
        from zerosum import __version__

        say(f"zerosum {__version__}")
        return 0
    module = _module(verb)
    args = module.parser().parsed(rest)
    args.words, args.verbs = rest, [*VERBS]
    return module.run(args)


def _module(verb: str) -> Any:
    """The module of a verb: ours, or one that an installed package offers in its group ``zerosum.verbs``."""
    if verb in VERBS:
        return import_module(f"zerosum.cli.{verb}")
    offered = {point.name: point for point in entry_points(group="zerosum.verbs")}
    if verb in offered:
        return offered[verb].load()
    from zerosum.recipe import suggest

    raise UsageError(f"there is no verb {verb!r}{suggest(verb, [*VERBS, *offered])}")


def _help() -> str:
    return "\n".join(
        [
            "zerosum trains generative adversarial networks as a measured two-player game.",
            "",
            *(f"  {verb:10s} {what}" for verb, what in VERBS.items()),
            "",
            "Begin with:   zerosum train digits",
            "Learn more:   zerosum VERB --help",
        ]
    )
