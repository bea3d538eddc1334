"""Search for the settings that serve a goal best: many trials of a recipe, each on several seeds. The same
command again goes on with what was interrupted; given in other terminals as well, or on other machines that
share the folder, it is played by several workers.

  zerosum sweep ring --G.width 32,64,128 --penalties.0.weight.start 1e-3:1:log --seeds 3 --trials 40
  zerosum sweep digits --g_optimizer.lr.start,d_optimizer.lr.start 1e-4:1e-2:log --minutes 60
  zerosum sweep ring --objective hinge,nonsaturating --k 1:3 --goal modes_covered --trials 20

A range is 32,64,128 (one of these), 0.0:0.9 (a number between; whole numbers where both are), or
1e-4:1e-2:log (evenly by its logarithm); several fields with commas between them always have the same value.
A field with one value is set for all trials. The first trial is the recipe as it is, where that lies within
the ranges.

A trial ends as soon as the diagnosis finds a fault in one of its seeds: it is ill, and counts as worse than
all that are well. OUT/trials/0007 is a directory of seeds, which every verb takes; OUT/best.yaml is the
recipe that won, which `train` takes; OUT/sweep.html shows the search. The winner was chosen on these seeds:
judge it on others.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from zerosum.cli.output import Failure, say
from zerosum.cli.parsing import Parser, UsageError, recipe_of, some_path, some_text, stopping, whole
from zerosum.text import printable

if TYPE_CHECKING:
    from zerosum.recipe import Recipe
    from zerosum.sweep import Range, Sweep

__all__ = ["parser", "run"]


def parser() -> Parser:
    usage = "zerosum sweep RECIPE --field RANGE [--field RANGE ...] [options]"
    p = Parser("sweep", __doc__, fields=True, usage=usage)
    p.add_argument("recipe", help="a preset or a .yaml file")
    p.add_argument("--data", type=some_text, help="as `zerosum train` takes it")
    p.add_argument("--out", type=some_path, help="directory of the sweep (default: runs/RECIPE-sweep)")
    p.add_argument("--trials", type=whole(1, 10**6), help="end when so many have begun, of all workers")
    p.add_argument("--minutes", type=float, help="end after so many minutes; a trial goes on next time")
    p.add_argument(
        "--seeds", type=whole(1, 2**10), default=1, metavar="N", help="seeds of each trial (default: 1)"
    )
    p.add_argument("--seed", help="the first of them (default: 0)")
    p.add_argument("--steps", help="turns of each trial")
    p.add_argument(
        "--goal",
        type=some_text,
        help="a metric of `zerosum evaluate`, or a reading of the log, at its last value (default: "
        "frechet_distance of images, sliced_wasserstein of anything else)",
    )
    p.add_argument("--best", choices=["lowest", "highest"], help="which value of the goal is best")
    p.add_argument("--n", type=whole(2, 2**25), default=5000, help="samples that are judged (default: 5000)")
    p.add_argument(
        "--storage",
        type=some_text,
        help="the address of a database for the trials, such as postgresql://host/name (default: a journal "
        "in the directory)",
    )
    p.add_argument("--quiet", action="store_true", help="print nothing but warnings and errors")
    return p


def run(args: argparse.Namespace) -> int:
    try:
        import optuna as optuna
    except ImportError as error:
        raise UsageError("a sweep needs optuna: pip install 'zerosum[sweep]'") from error
    from zerosum.display import format_outcome, format_sweep
    from zerosum.page import sweep as page
    from zerosum.sweep import Worker

    if args.trials is None and args.minutes is None:
        args.trials = 20
    if args.minutes is not None and not 0 < args.minutes < 10**6:
        raise UsageError(f"--minutes {args.minutes}: give a number above 0")
    sweep = _sweep(args)
    if not args.quiet:
        name, best = sweep.goal.name, sweep.goal.best
        over = f"over {sweep.seeds} seeds" if sweep.seeds > 1 else "of one seed"
        say(f"{sweep.recipe.name}: {name}, the {best} is best, {over}; in {printable(sweep.path)}")
    worker = Worker(sweep)
    with stopping(worker):
        for outcome in worker.work(args.trials, args.minutes):
            if not args.quiet:
                say(format_outcome(outcome))
            sweep.write_best()
            page.write(sweep)
    if reason := worker.interrupted:
        say(f"stopped: {reason}\nto go on: zerosum sweep {shlex.join(args.words)}", sys.stderr)
    best = sweep.write_best()
    if not args.quiet and sweep.outcomes():
        say(format_sweep(sweep))
    if reason in signal.Signals.__members__:
        return 128 + signal.Signals[reason]
    if best is None:
        raise Failure(f"no trial in {printable(sweep.path)} has come to an end without a fault")
    if not args.quiet:
        say(f"the search:  {page.write(sweep)}\nthe winner:  {best}")
        first = sweep.recipe.seed + sweep.seeds
        say(f"judge it on other seeds:  zerosum train {shlex.quote(str(best))} --seed {first} --seeds 8")
    return 0


def _sweep(args: argparse.Namespace) -> Sweep:
    """The sweep that a command describes. Raises for ranges that cannot be before anything is written."""
    from zerosum import recipe as recipes
    from zerosum.sweep import Goal, Sweep, divided

    args.fields |= {name: text for name in ("steps", "seed") if (text := getattr(args, name)) is not None}
    ranges, args.fields = divided(args.fields)
    if any(field in ("seed", "device", "threads") for r in ranges for field in r.fields):
        raise UsageError("seed, device and threads are nothing to search: --seeds 3 plays every trial thrice")
    if not ranges:
        raise UsageError("nothing to search: give a field a range, such as --G.width 32,64,128")
    recipe = recipe_of(args, args.recipe)
    source = recipes.build_source(recipe)
    _try(recipe, ranges, source)
    goal = Goal.of(source, args.goal or "", args.best or "", args.n)
    out = args.out or Path("runs") / printable(f"{recipe.name}-sweep")
    return Sweep.begin(out, recipe, ranges, goal, args.seeds, args.storage or "")


def _try(recipe: Recipe, ranges: list[Range], source: object) -> None:
    """Build the game of the recipe, and those at the ends of each range. Raises RecipeError."""
    from zerosum import recipe as recipes

    recipes.build(recipe, source)
    for r in ranges:
        for settings in r.extremes():
            try:
                changed = recipes.changed(recipe, settings)
                other = any(field.split(".")[0] in ("data", "conditional") for field in r.fields)
                recipes.build(changed, None if other else source)
            except recipes.RecipeError as error:
                (value,) = {str(value) for value in settings.values()}
                raise recipes.RecipeError(f"--{r.name} {r.text}: {value} cannot be: {error}") from error
