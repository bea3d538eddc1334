"""Sweeps: many trials of one recipe, each a directory of seeds, in search of what serves a goal.

As `zerosum sweep` does ::

    recipe = recipes.load("ring")
    ranges, _ = divided({"G.width": "32,64,128"})
    goal = Goal.of(recipes.build_source(recipe))
    sweep = Sweep.begin(Path("runs/mine"), recipe, ranges, goal, seeds=3)
    for outcome in Worker(sweep).work(trials=20):
        print(outcome.value, outcome.drawn)
"""

from zerosum.sweep.goal import Goal
from zerosum.sweep.ranges import Range, divided
from zerosum.sweep.study import Outcome, Sweep
from zerosum.sweep.worker import Worker

__all__ = ["Goal", "Outcome", "Range", "Sweep", "Worker", "divided"]
