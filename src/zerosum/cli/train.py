"""Train a recipe: a preset (`zerosum recipes` lists them) or a .yaml file. The same command again resumes
the run, exactly. Any field of the recipe is set by its dotted name; `zerosum recipes NAME` shows them all.

  zerosum train ring
  zerosum train photos --data FOLDER --hours 0.5 --size 32 --out runs/mine
  zerosum train digits --data mnist --watch thorough --on-fault stop
  zerosum train ring --G.width 64 --penalties.0.weight 0.5 --objective hinge
  zerosum train photos --data FOLDER --log tensorboard        into the run's directory, as it plays
  zerosum train photos --data SMALL_FOLDER --from runs/played       begin with what another run has learnt
  zerosum train ring --seeds 16
  zerosum train runs/played/ring-1/recipe.yaml --changes runs/played/ring-1 --out runs/again
  zerosum train digits --steps 20000 --stop-when-done         then: zerosum sample RUN --step best
  torchrun --nproc-per-node 2 -m zerosum train photos --data FOLDER        one game on several processes
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from zerosum.cli.output import say, say_error, say_notes
from zerosum.cli.parsing import (
    TRACKERS,
    Parser,
    UsageError,
    recipe_of,
    some_hours,
    some_path,
    some_text,
    stopping,
    whole,
)
from zerosum.text import printable

if TYPE_CHECKING:
    from zerosum.recipe import Recipe
    from zerosum.run.run import Run, RunError
    from zerosum.watch.diagnosis import Advice

__all__ = ["parser", "run"]


def parser() -> Parser:
    usage = "zerosum train RECIPE [options] [--any.recipe.field VALUE ...]"
    p = Parser("train", __doc__, fields=True, usage=usage)
    p.add_argument("recipe", help="a preset or a .yaml file")
    p.add_argument(
        "--data",
        type=some_text,
        help="ring, digits, mnist, ..., a folder of images, of IDX or Parquet files, a file (x.csv, x.npy, "
        "x.npz, x.parquet), hf://name, an address of Parquet files (s3://bucket/photos), "
        "package.module:function",
    )
    p.add_argument("--out", type=some_path, help="directory of the run (default: runs/RECIPE-seedN)")
    p.add_argument("--steps", help="turns to play, or a time (45m); a finished run given more turns goes on")
    p.add_argument(
        "--hours",
        type=some_hours,
        help="the same as --steps with so many hours: as many turns as fit in them",
    )
    p.add_argument("--size", help="the same as --data.size: the side of images, in pixels")
    p.add_argument("--seed", help="where all randomness starts (default: 0)")
    p.add_argument("--seeds", type=whole(1, 2**16), metavar="N", help="train N seeds, from --seed on")
    p.add_argument(
        "--from",
        dest="source",
        type=some_path,
        metavar="RUN",
        help="begin with the weights of this run, as far as they fit; what does not fit begins anew",
    )
    p.add_argument("--override", action="store_true", help="resume although the recipe has changed")
    p.add_argument(
        "--changes", type=some_path, metavar="RUN", help="play the changes of this run again, at their steps"
    )
    p.add_argument(
        "--stop-when-done",
        action="store_true",
        help="when the samples no longer get better, let the schedules come to their end, and end",
    )
    p.add_argument("--on-fault", choices=["continue", "stop"], default="continue", help="(default: continue)")
    p.add_argument(
        "--follow-advice",
        action="store_true",
        help="at a fault, train again beside the run with what is advised, and say whether it helped",
    )
    p.add_argument(
        "--log",
        choices=TRACKERS,
        action="append",
        default=[],
        help="send what is logged there too, while it plays; may be given several times",
    )
    p.add_argument("--quiet", action="store_true", help="print nothing but warnings and errors")
    return p


def run(args: argparse.Namespace) -> int:
    own = {"steps": args.steps, "seed": args.seed, "data.size": args.size}
    if args.hours is not None:
        if args.steps is not None:
            raise UsageError("--hours and --steps say the same thing: give one of them")
        own["steps"] = args.hours
    args.fields |= {name: text for name, text in own.items() if text is not None}
    recipe = recipe_of(args, args.recipe)
    if args.source is not None:
        recipe = replace(recipe, start={"run": str(args.source)})
    from zerosum.run.ranks import several, together

    if args.log:
        from zerosum import trackers

        trackers.check(args.log)

    if args.changes is not None and args.follow_advice:
        raise UsageError("--changes plays again what was, --follow-advice something else: leave one out")
    if args.seeds is None:
        return together(lambda: _train(recipe, args))
    if several():
        raise UsageError("--seeds is for one process: leave it out, or torchrun")
    if args.changes is not None:
        raise UsageError("--changes is for one seed: leave out --seeds")
    return _train_seeds(recipe, args)


def _train(recipe: Recipe, args: argparse.Namespace) -> int:
    out = args.out or Path("runs") / printable(f"{recipe.name}-seed{recipe.seed}")
    first, before, error = _play(out, recipe, args, args.override)
    last = first
    if args.follow_advice:
        last, error = _follow(first, error, args)
    if error is not None:
        raise error
    again = args.words if last is first else [str(last.path / "recipe.yaml"), "--out", str(last.path)]
    return _say_how_it_ended(last, before, args.quiet, again)


def _play(
    out: Path, recipe: Recipe, args: argparse.Namespace, override: bool
) -> tuple[Run, int, RunError | None]:
    """Train to the end: the run, the step it began from, and what stopped it."""
    from zerosum.display import display, loading, plan
    from zerosum.run.changes import replayed
    from zerosum.run.log import keep_apart
    from zerosum.run.run import Run, RunError
    from zerosum.trackers import keeping_up

    keep_apart(out, "run")
    steered = [] if args.changes is None else replayed(args.changes, out)
    with loading(args.quiet), Run.start(out, recipe, override, steered=steered) as run:
        before = run.game.step
        planned = [] if args.quiet else [plan(run)]
        with suppress(OSError):  # where nobody reads any more, the run is played all the same
            say_notes(run.notes, args.quiet)
            for line in planned:
                say(line)
        logs = keeping_up(run.path, args.log, say_error)
        with logs as keep_up, display(run, args.quiet) as show, stopping(run):
            try:
                for record in run.play(args.on_fault == "stop" or args.follow_advice, args.stop_when_done):
                    show(record)
                    keep_up()
            except RunError as error:
                return run, before, error
    return run, before, None


def _follow(
    run: Run, error: RunError | None, args: argparse.Namespace, tries: int = 3
) -> tuple[Run, RunError | None]:
    """At a fault, up to so many runs, each with one more advice followed than the one before, told of and
    judged."""
    from zerosum.run.remedies import remedy, verdict

    tried: list[Advice] = []
    while run.stopped_by_fault and len(tried) < tries and (cure := remedy(run, tried)):
        say(f"\n{cure.fault}\n{cure}")
        tried.append(cure.advice)
        before, (run, _, error) = run, _play(cure.path, cure.recipe, args, override=True)
        if run.interrupted:  # too early to say
            break
        say(verdict(before, run, cure.fault))
    return run, error


def _train_seeds(recipe: Recipe, args: argparse.Namespace) -> int:
    """Train a recipe on many seeds: as one computation where that can be, otherwise in processes."""
    from zerosum.display import display_seeds, loading
    from zerosum.recipe import RecipeError
    from zerosum.run import seeds

    if args.follow_advice or args.log:
        name = "--follow-advice" if args.follow_advice else "--log"
        raise UsageError(f"{name} is for one seed: leave out --seeds (`zerosum log` takes those afterwards)")
    if recipe.seconds:
        raise UsageError(f"steps: {recipe.steps} is for one run: give --seeds a number of turns, --steps N")
    numbers = seeds.numbered(recipe, args.seeds)
    out = args.out or Path("runs") / printable(f"{recipe.name}-seeds{numbers[0]}-{numbers[-1]}")
    try:
        if args.stop_when_done:
            raise ValueError("each ends when it is done")
        with loading(args.quiet):
            runs = seeds.StackedSeeds(out, recipe, args.seeds, args.override)
    except RecipeError:
        raise
    except ValueError as error:
        code, reason = _train_in_processes(out, recipe, args, str(error))
    else:
        say_notes([note for run in (runs, *runs.runs) for note in run.notes], args.quiet)
        before = len(runs.notes)
        with runs, loading(args.quiet), stopping(runs), display_seeds(runs, args.quiet) as show:
            for records in runs.play(args.on_fault == "stop"):
                show(records)
        say_notes(runs.notes[before:], quiet=False)
        code, reason = int(any(run.stopped_by_fault for run in runs.runs)), runs.interrupted
    if reason:
        _say_how_to_go_on(f"stopped by {reason}, saved in {out}", args.words)
        return 128 + signal.Signals[reason]
    result = seeds.summary(out, numbers)
    if not args.quiet:
        say(f"{seeds.table(result)}\nevery seed, and all that was read: {out / 'seeds.json'}")
    return code


def _train_in_processes(out: Path, recipe: Recipe, args: argparse.Namespace, why: str) -> tuple[int, str]:
    """Each seed in a process: the worst exit code, and what interrupted them."""
    from zerosum.run.seeds import SubprocessSeeds

    options = ["--on-fault", args.on_fault]
    options += [
        f"--{name}" for name in ("override", "stop-when-done") if getattr(args, name.replace("-", "_"))
    ]
    runs = SubprocessSeeds(out, recipe, args.seeds, options)
    worst = 0
    if not args.quiet:
        say(f"each seed in a process of its own: {why}")
    with stopping(runs):
        for seed, code in runs.play():
            worst = max(worst, code)
            if not args.quiet:
                say(f"seed {seed}: " + (f"ended with exit code {code}" if code else "finished"))
    return worst, runs.interrupted


def _say_how_it_ended(run: Run, before: int, quiet: bool, again: list[str]) -> int:
    from zerosum.data.columns import Columns
    from zerosum.display import format_best

    step, place = run.game.step, shlex.quote(str(run.path))
    if run.stopped_by_fault:
        say(
            f"stopped by {run.stop_reason} after step {step:,}, saved in {run.path}\n"
            f"to see why: zerosum diagnose {place}",
            sys.stderr,
        )
        return 1
    if run.interrupted:
        _say_how_to_go_on(f"stopped by {run.interrupted} after step {step:,}, saved in {run.path}", again)
        return 128 + signal.Signals[run.interrupted]
    if not quiet:
        pictures = sorted((run.path / "samples").glob("[0-9]*.png"))
        nothing_new = " (it was before; give more --steps to go on)" if step == before else ""
        done = f"; {run.done}" if run.done else ""
        say(f"finished: {step:,} steps, in {run.path}{nothing_new}{done}")
        if run.best is not None:
            say(f"best:     {format_best(run.best)}")
        if pictures:
            real = pictures[-1].with_name("real.png")
            say(f"samples:  {pictures[-1]}" + (f" (real ones: {real})" if real.exists() else ""))
        best = " --step best" if run.best is not None and run.best.step < step else ""
        ending = "csv" if isinstance(getattr(run.source, "codec", None), Columns) else "png"
        say(f"next:     zerosum sample {place}{best} --n 64 --out samples.{ending}")
    return 0


def _say_how_to_go_on(what: str, words: list[str]) -> None:
    say(f"{what}\nto go on: zerosum train {shlex.join(words)}", sys.stderr)
