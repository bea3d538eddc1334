"""One recipe on many seeds, to tell luck from method.

    runs/ring-seeds0-15/seed0/ ... seed15/     a run for each seed, as `zerosum train --seed N` would leave it
    runs/ring-seeds0-15/seeds.json             what each came to, the means and their intervals

Where the networks allow it the games are played as one computation (`zerosum.game.ensemble`), otherwise each
in a process of its own. Every run can be examined, sampled and reported alone.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from torch import nn

from zerosum import recipe as recipes
from zerosum.game import Ensemble, Turn
from zerosum.metrics.estimate import student
from zerosum.recipe import Recipe
from zerosum.run import checkpoints, files
from zerosum.run.log import Log, NotFinite, Record, RunError, disk, keep_apart
from zerosum.run.run import Run
from zerosum.run.session import Session
from zerosum.text import printable

__all__ = [
    "StackedSeeds",
    "SubprocessSeeds",
    "ending_fault",
    "folder",
    "last_values",
    "members",
    "numbered",
    "over_seeds",
    "summary",
    "table",
]

TABLE = ("modes_covered", "high_quality", "coverage", "spread", "d_loss", "g_loss")
"""What the table on the terminal has, of what there is; seeds.json has everything."""


class StackedSeeds:
    """The runs of one recipe on the seeds first, first + 1, ..., played together.

    A seed that a fault has ended before is left as it is, and noted, unless `override`. The first seed
    decides for all what is `auto`.

    Raises RunError and RecipeError as `Run.start` does, and ValueError where the games cannot be played so.
    """

    def __init__(self, path: Path, recipe: Recipe, count: int, override: bool = False) -> None:
        numbers = numbered(recipe, count)
        keep_apart(path, "seeds")
        self.path = path
        self.recipe = recipe
        self.runs: list[Run] = []
        self.notes: list[str] = []
        self.broken: list[Run] = []
        self.interrupted = ""
        left = [] if override else [seed for seed in numbers if ending_fault(folder(path, seed))]
        for seed in left:
            self.notes.append(f"warning: seed {seed} was ended by a fault, and is left as it is")
        playing = [seed for seed in numbers if seed not in left]
        if not playing:
            raise RunError(
                f"{printable(path)}: every seed was ended by a fault: change the recipe and add --override"
            )
        _refuse_apart(recipe, playing)
        try:
            self._start(playing, override, _common([folder(path, seed) for seed in playing]))
            while len(steps := {run.game.step for run in self.runs}) > 1:  # of one, some could not be read
                self.close()
                self._start(playing, override, min(steps))
            self.ensemble = Ensemble([run.game for run in self.runs])
        except BaseException:
            self.close()
            raise

    def _start(self, numbers: Sequence[int], override: bool, at_most: int) -> None:
        self.runs = []
        recipe = self.recipe
        for seed in numbers:
            run = Run.start(folder(self.path, seed), replace(recipe, seed=seed), override, at_most)
            self.runs.append(run)
            chosen = {name: getattr(run.recipe, name) for name in ("precision", "compile", "threads")}
            recipe = replace(recipe, **chosen)

    @property
    def step(self) -> int:
        return self.ensemble.step

    def stop(self, reason: str) -> None:
        """Finish a turn, save, and end `play`."""
        self.interrupted = reason

    def play(self, stop_at_fault: bool = False) -> Iterator[list[Record]]:
        """Train to the recipe's last step, giving the records of all seeds at each turn that has any.

        A seed whose loss or weights are not finite ends, with a note; the others go on. Raises RunError at
        whatever else goes wrong.
        """
        sessions = [Session(run, stop_at_fault, steered=False) for run in self.runs]
        sources = [run.source for run in self.runs]
        try:
            for turn in self.ensemble.play(sources, self.recipe.turns - self.step):
                if reason := self.interrupted:  # read once: all seeds save at the same turn, or none does
                    for session in sessions:
                        if not session.over:  # which keeps the reason of its own
                            session.run.stop(reason)
                pairs = zip(sessions, self.ensemble.each(turn), strict=True)
                written = [self._after(session, its) for session, its in pairs]
                for session in sessions:  # none goes before every seed has the newer one
                    session.prune()
                if any(written):
                    yield [record for record in written if record is not None]
                if all(session.over for session in sessions):
                    break
        except RunError:
            raise
        except Exception as error:
            raise self.runs[0].failed(error) from error
        for session in sessions:
            if session.run not in self.broken:
                session.end()

    def _after(self, session: Session, turn: Turn) -> Record | None:
        """See to a turn, unless the seed has ended."""
        if session.over:
            return None
        try:
            return session.after(turn)
        except NotFinite as error:
            session.over = True
            self.broken.append(session.run)
            self.notes.append(f"seed {session.run.recipe.seed}: {error}")
            return None

    def close(self) -> None:
        """Leave the directories to others."""
        for run in self.runs:
            run.close()

    def __enter__(self) -> StackedSeeds:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def numbered(recipe: Recipe, count: int) -> range:
    """The seeds of so many runs. Raises RecipeError where the last of them is no seed."""
    recipes.changed(recipe, {"seed": recipe.seed + count - 1})
    return range(recipe.seed, recipe.seed + count)


def ending_fault(place: Path) -> str:
    """The fault that ended a run, with its step, if that is the last thing that happened to it; else ""."""
    for last in reversed(Log(place).events()):
        name = last.get("name", "") if last["event"] == "fault" else ""
        if last["event"] == "stopped" and (reason := last.get("reason", "")).startswith(_FAULT):
            return f"{reason.removeprefix(_FAULT).strip(chr(39))} at step {last['step']:,}"
        return f"{name} at step {last['step']:,}" if name == "non-finite" else ""
    return ""


_FAULT = "the fault "
"""How the reason begins that a run gives for ending at a fault."""


def _refuse_apart(recipe: Recipe, numbers: Sequence[int]) -> None:
    """Raise ValueError for games that cannot be played together, and for networks that are faster alone:
    grouped convolutions are slow. Nothing is on disk by then that a seed by itself would have to go on with.
    """
    plain = recipes.changed(recipe, {"precision": "fp32", "compile": False, "device": "cpu"})
    source = recipes.build_source(plain)
    games = [recipes.build(replace(plain, seed=seed), source)[0] for seed in numbers[:2]]
    networks = (games[0].G.network, games[0].D.network)
    if any(isinstance(m, nn.modules.conv._ConvNd) for network in networks for m in network.modules()):
        raise ValueError("convolutions are faster one by one")
    Ensemble(games)


def _common(folders: Sequence[Path]) -> int:
    """The last step of which all runs have a checkpoint: an interruption may come between their writes."""
    kept = [set(checkpoints.steps(place / "checkpoints")) or {0} for place in folders]
    if not set.intersection(*kept):
        raise RunError(
            f"{printable(folders[0].parent)}: there is no step of which every seed has a checkpoint; new "
            "seeds cannot join those that have gone on: train them one by one with --seed and --out, "
            "or give another --out"
        )
    return max(set.intersection(*kept))


def folder(path: Path, seed: int) -> Path:
    """Where the run of a seed lies."""
    return path / f"seed{seed}"


def members(path: Path) -> list[Path]:
    """The runs of a directory of seeds, by their seeds; none where it is not one."""
    runs = [p for p in path.glob("seed*") if re.fullmatch(r"seed\d+", p.name)]
    return sorted((p for p in runs if (p / "recipe.yaml").is_file()), key=lambda p: int(p.name[4:]))


# in processes -------------------------------------------------------------------------------------------


_CHILD = """
import sys
from zerosum.run.runtime import end_with_parent
end_with_parent(int(sys.argv.pop(1)))
from zerosum.cli import main
sys.exit(main())
"""


class SubprocessSeeds:
    """The same, each seed in a process of its own on one thread, as many at once as there are cores.

    A child ends with its parent, however that ends: it holds the reading end of a pipe that only the parent
    can write to.
    """

    def __init__(self, path: Path, recipe: Recipe, count: int, options: Sequence[str] = ()) -> None:
        self.numbers = numbered(recipe, count)
        keep_apart(path, "seeds")
        self.path = path
        self.recipe = replace(recipe, threads=recipe.threads or 1)
        self.options = options
        self.interrupted = ""
        self._running: set[subprocess.Popen[bytes]] = set()
        with disk(path, "before the first step"):
            path.mkdir(parents=True, exist_ok=True)
            files.write(path / "seeds.yaml", recipes.dump(self.recipe).encode(), within=path)

    def stop(self, reason: str) -> None:
        """Ask those that train to save and end; no other is begun."""
        self.interrupted = reason
        for process in list(self._running):
            process.send_signal(signal.Signals[reason])

    def play(self) -> Iterator[tuple[int, int]]:
        """(seed, exit code) of each as it ends; a child killed by signal s gives 128 + s."""
        reading, writing = os.pipe()
        try:
            with ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // self.recipe.threads)) as pool:
                train = partial(self._train, reading)
                yield from zip(self.numbers, pool.map(train, self.numbers), strict=True)
        finally:
            os.close(reading)
            os.close(writing)

    def _train(self, pipe: int, seed: int) -> int:
        if self.interrupted:
            return 128 + signal.Signals[self.interrupted]
        words = ["train", str(self.path / "seeds.yaml"), "--seed", str(seed), "--quiet", *self.options]
        command = [sys.executable, "-c", _CHILD, str(pipe), *words, "--out", str(folder(self.path, seed))]
        # in a session of its own: it hears of Ctrl-C from us, once
        process = subprocess.Popen(command, start_new_session=True, pass_fds=[pipe])
        self._running.add(process)
        code = process.wait()
        self._running.discard(process)
        return code if code >= 0 else 128 - code


# what came out ------------------------------------------------------------------------------------------


def summary(path: Path, seeds: Sequence[int]) -> dict[str, Any]:
    """What each seed's run came to, and means over the seeds that came as far as any; also as seeds.json.

    Of each reading its last value. The 95 % interval of a mean is Student's, over seeds. Raises RunError
    where no seed has a record, and where the disk refuses.
    """
    rows = {seed: last_values(Log(folder(path, seed)).records()) for seed in seeds}
    last = max(row.get("step", 0) for row in rows.values())
    whole = [row for row in rows.values() if row.get("step") == last]
    if not whole:
        raise RunError(
            f"no seed in {printable(path)} came to a first record: see zerosum diagnose "
            f"{shlex.quote(str(folder(path, seeds[0])))}"
        )
    names = [name for name in whole[0] if name not in ("step", "seconds", "steps_per_second")]
    means = {name: over_seeds([row[name] for row in whole if name in row]) for name in names}
    result = {"step": last, "seeds": {str(seed): row for seed, row in rows.items()}, "means": means}
    with disk(path, "after the last step"):
        files.write(path / "seeds.json", (json.dumps(result, indent=1) + "\n").encode(), within=path)
    return result


def last_values(lines: Sequence[Record]) -> Record:
    """Of a run's records the last value of each reading, and of each term, that is a finite number."""
    latest: Record = {}
    for line in lines:
        latest |= {name: x for name, x in line.items() if name != "intervals"}
    return latest


def over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """The mean, and its 95 % interval from two seeds on (Student)."""
    value = fmean(values)
    if len(values) < 2:
        return {"mean": value, "low": None, "high": None, "n": len(values)}
    low, high = student(value, stdev(values) / len(values) ** 0.5, len(values))
    return {"mean": value, "low": low, "high": high, "n": len(values)}


def table(result: dict[str, Any]) -> str:
    """Every seed in a line, then the means with their 95 % intervals."""
    names = [name for name in TABLE if name in result["means"]]
    rows = [["seed", "step", *names]]
    rows += [
        [seed, str(row.get("step", 0)), *(f"{row[name]:.4g}" if name in row else "-" for name in names)]
        for seed, row in result["seeds"].items()
    ]
    means = [result["means"][name] for name in names]
    rows += [["mean", str(result["step"]), *(f"{m['mean']:.4g}" for m in means)]]
    rows += [
        ["95 %", "", *("-" if m["low"] is None else f"{m['low']:.4g} to {m['high']:.4g}" for m in means)]
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)
