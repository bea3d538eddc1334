"""One recipe on many seeds, to tell luck from method.

    runs/ring-seeds0-15/seed0/ ... seed15/     a run for each seed, as `zerosum train --seed N` would leave it
    runs/ring-seeds0-15/seeds.json             what each came to, the means and their intervals

Where the networks allow it the games are played as one computation (`zerosum.ensemble`), otherwise each in a
process of its own. Every run can be examined, sampled and reported alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import isfinite
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from torch import nn

from zerosum import checkpoints, recipes
from zerosum.ensemble import Ensemble
from zerosum.metrics.estimate import student
from zerosum.recipes import Recipe
from zerosum.runs import Record, Run, RunError, Session, records

__all__ = ["Seeds", "apart", "summary", "table"]

TOLD = ("modes_covered", "high_quality", "coverage", "spread", "d_loss", "g_loss")
"""What the table on the terminal has, of what there is; seeds.json has everything."""


class Seeds:
    """The runs of one recipe on the seeds first, first + 1, ..., played together.

    Raises RunError and RecipeError as `Run.start` does, and ValueError where the games cannot be played so.
    """

    def __init__(self, path: Path, recipe: Recipe, count: int, override: bool = False) -> None:
        self.path = path
        self.recipe = recipe
        self.runs: list[Run] = []
        self.interrupted = ""
        folders = [folder(path, seed) for seed in range(recipe.seed, recipe.seed + count)]
        common = _common(folders)
        try:
            for seed, place in enumerate(folders, recipe.seed):
                self.runs.append(Run.start(place, replace(recipe, seed=seed), override, common))
                _refuse_convolutions(self.runs[0])
                settled = self.runs[0].recipe  # the first decides for all what `auto` is
                chosen = {name: getattr(settled, name) for name in ("precision", "compile", "threads")}
                recipe = replace(recipe, **chosen)
            self.ensemble = Ensemble([run.game for run in self.runs])
        except BaseException:
            self.close()
            raise

    @property
    def step(self) -> int:
        return self.ensemble.step

    def stop(self, reason: str) -> None:
        """Finish the present turn, save, and end `play`."""
        self.interrupted = reason
        for run in self.runs:
            run.stop(reason)

    def play(self, stop_at_fault: bool = False) -> Iterator[list[Record]]:
        """Train to the recipe's last step, giving the records of all seeds every `log_every` turns.

        A seed that meets a fault which ends it leaves its run as it stands, and a note; the others go on.
        """
        sessions = [Session(run, stop_at_fault) for run in self.runs]
        sources = [run.source for run in self.runs]
        for turn in self.ensemble.play(sources, self.recipe.steps - self.step):
            found = [
                _after(session, its) for session, its in zip(sessions, self.ensemble.each(turn), strict=True)
            ]
            if any(found):
                yield [record for record in found if record is not None]
            if all(session.over for session in sessions):
                break
        for session in sessions:
            if not session.run.stopped_by_fault:
                session.end()

    def close(self) -> None:
        """Leave the directories to others."""
        for run in self.runs:
            run.close()

    def __enter__(self) -> Seeds:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _after(session: Session, turn: Any) -> Record | None:
    """See to a turn, unless the seed has ended; a fault that ends it stays with it."""
    if session.over:
        return None
    try:
        return session.after(turn)
    except RunError as error:
        session.over = True
        session.run.notes.append(f"seed {session.run.recipe.seed}: {error}")
        return None


def _refuse_convolutions(run: Run) -> None:
    """Raise ValueError for networks that are faster alone: grouped convolutions are slow."""
    networks = (run.game.G.network, run.game.D.network)
    if any(isinstance(m, nn.modules.conv._ConvNd) for network in networks for m in network.modules()):
        raise ValueError("convolutions are faster one by one")


def _common(folders: Sequence[Path]) -> int | None:
    """The last step of which all runs have a checkpoint: an interruption may come between their writes."""
    kept = [set(checkpoints.steps(place / "checkpoints")) for place in folders]
    if not any(kept):
        return None
    if not set.intersection(*kept):
        raise RunError(
            f"{folders[0].parent}: there is no step of which every seed has a checkpoint; "
            "train them one by one (--seed N --out that seed's directory), or give another --out"
        )
    return max(set.intersection(*kept))


def folder(path: Path, seed: int) -> Path:
    """Where the run of a seed lies."""
    return path / f"seed{seed}"


# in processes -------------------------------------------------------------------------------------------


def apart(path: Path, recipe: Recipe, count: int, options: Sequence[str], say: Callable[[str], None]) -> int:
    """Train the seeds in processes, one for each core, on one thread each: the worst of their exit codes."""
    path.mkdir(parents=True, exist_ok=True)
    alone = replace(recipe, threads=recipe.threads or 1)
    checkpoints.write(path / "recipe.yaml", recipes.dump(alone).encode())

    def train(seed: int) -> int:
        words = ["train", str(path / "recipe.yaml"), "--seed", str(seed), "--out", str(folder(path, seed))]
        code = subprocess.run([sys.executable, "-m", "zerosum", *words, "--quiet", *options]).returncode
        say(f"seed {seed}: " + ("finished" if code == 0 else f"ended with exit code {code}"))
        return code

    with ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // alone.threads)) as pool:
        return max(pool.map(train, range(recipe.seed, recipe.seed + count)))


# what came out ------------------------------------------------------------------------------------------


def summary(path: Path, seeds: Sequence[int]) -> dict[str, Any]:
    """What each seed's run came to, and means over seeds; also written to seeds.json.

    Of each reading its last value. The 95 % interval of a mean is Student's, over seeds.
    """
    rows = {seed: _last(records(folder(path, seed))) for seed in seeds}
    names = [name for name in rows[seeds[0]] if name not in ("step", "seconds", "steps_per_second")]
    found = {name: [row[name] for row in rows.values() if name in row] for name in names}
    means = {name: _mean(values) for name, values in found.items() if values}
    result = {"seeds": {str(seed): row for seed, row in rows.items()}, "means": means}
    checkpoints.write(path / "seeds.json", (json.dumps(result, indent=1) + "\n").encode())
    return result


def _last(lines: Sequence[Record]) -> Record:
    """The last value of each reading, and of each term, that is a finite number."""
    latest: Record = {}
    for line in lines:
        latest |= {k: v for k, v in line.items() if isinstance(v, int | float) and isfinite(v)}
    return latest


def _mean(values: Sequence[float]) -> dict[str, Any]:
    value = fmean(values)
    if len(values) < 2:
        return {"mean": value, "low": None, "high": None, "n": len(values)}
    low, high = student(value, stdev(values) / len(values) ** 0.5, len(values))
    return {"mean": value, "low": low, "high": high, "n": len(values)}


def table(result: dict[str, Any]) -> str:
    """Every seed in a line, then the means with their 95 % intervals."""
    names = [name for name in TOLD if name in result["means"]]
    rows = [["seed", *names]]
    rows += [
        [seed, *(f"{row[name]:.4g}" if name in row else "-" for name in names)]
        for seed, row in result["seeds"].items()
    ]
    means = [result["means"][name] for name in names]
    rows += [["mean", *(f"{m['mean']:.4g}" for m in means)]]
    rows += [["95 %", *("-" if m["low"] is None else f"{m['low']:.4g} to {m['high']:.4g}" for m in means)]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)
