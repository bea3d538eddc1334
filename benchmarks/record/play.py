"""One try at the record, in a process of its own, whose clock began with the command: `mnist.py` starts it.

Nothing is imported on the clock that an entry does not need.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SAMPLES = 10_000
Moment = tuple[int, Callable[[int], Any]]
"""The turn, and a function of n that gives n samples, uint8 ``[n, H, W]``."""


def entries() -> dict[str, dict[str, Any]]:
    import yaml

    return yaml.safe_load((HERE / "entries.yaml").read_text())


def play(entry: Mapping[str, Any], seed: int) -> Iterator[Moment]:
    """An entry of entries.yaml: its game, which stands still at the turns at which it is to be judged."""
    from zerosum import recipe as recipes
    from zerosum.run import runtime

    runtime.keep_memory()
    recipe = recipes.load("mnist-dcgan", {**entry["recipe"], "seed": seed})
    game, source = recipes.build(recipe)
    turns = recipe.turns

    def sample(n: int) -> Any:
        return source.codec.decode(game.sample(n, seed=1))

    for _ in game.play(source, turns):
        if game.step == turns or game.step in range(entry["first"], turns, entry["every"]):
            yield game.step, sample


def moments(name: str, seed: int) -> tuple[float, Iterator[Moment]]:
    """The distance that an entry is after, and when it wants to be judged."""
    if (HERE / f"{name}.py").exists():
        module = import_module(name)
        return module.TARGET, module.play(seed)
    entry = entries()[name]
    return entry["target"], play(entry, seed)


def main(name: str, seed: str, begun: str, log: str) -> None:
    """Play until the entry's target or its end; begun: time.monotonic() when the command was given. log: is
    written anew at each look. The clock stands still while samples are drawn and judged.
    """
    clock = float(begun)
    looks: list[tuple[int, float, float]] = []
    target, playing = moments(name, int(seed))
    for turn, sample in playing:
        stopped = time.monotonic()
        from mnist import distance, write_log

        looks.append((turn, round(stopped - clock, 2), distance(sample(SAMPLES))))
        write_log(Path(log), name, int(seed), target, looks)
        print(f"{name}, seed {seed}: turn {turn:,}, {stopped - clock:.1f} s, {looks[-1][2]}", flush=True)
        if looks[-1][2] <= target:
            return
        clock += time.monotonic() - stopped


if __name__ == "__main__":
    main(*sys.argv[1:])
