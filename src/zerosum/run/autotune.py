"""Settings chosen for speed alone: which precision and number of threads, and whether to compile.

Settings are compared in turn, round by round, over the same turns of the game, so that whatever else the
machine does meets them all; a figure is a median over rounds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from shutil import which
from statistics import median
from time import perf_counter
from typing import cast

import torch
from torch import nn

from zerosum import recipe as recipes
from zerosum.data.source import Source
from zerosum.game import Game, Precision
from zerosum.randomness import stream
from zerosum.recipe import Recipe

__all__ = [
    "ROUNDS",
    "Setting",
    "alternate",
    "best_of",
    "cores",
    "left_open",
    "restored",
    "seconds_of",
    "set_to",
    "settings_of",
    "settled",
    "timed_product",
    "turns_within",
    "wait",
    "warm",
]

ROUNDS = 5
LONG = 20_000
"""Turns from which compilation is sure to be won back."""
WORTH = 1.15
"""bfloat16 keeps 8 bits of a number: it is taken where it is so many times as fast."""


@dataclass(frozen=True, order=True)
class Setting:
    """What may be chosen for speed alone.

    >>> print(Setting(2, "bf16"), Setting(2, "bf16").options, sep=": ")
    bf16 on 2 threads: --threads 2 --precision bf16
    """

    threads: int
    precision: Precision

    def __str__(self) -> str:
        return f"{self.precision} on {self.threads} thread{'s' if self.threads > 1 else ''}"

    @property
    def options(self) -> str:
        return f"--threads {self.threads} --precision {self.precision}"


@contextmanager
def restored() -> Iterator[None]:
    """After, torch has as many threads, and draws the same numbers, as before."""
    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)


def seconds_of(game: Game, source: Source, turns: int, first: int = 1) -> float:
    """The seconds that the turns take which the game would play from its step `first`."""
    game.step = first
    begun = perf_counter()
    for _ in game.play(source, turns):
        pass
    wait(game.device)
    return perf_counter() - begun


def set_to(game: Game, setting: Setting) -> None:
    """Play on with these threads and this precision."""
    torch.set_num_threads(setting.threads)
    game.precision = setting.precision


def warm(game: Game, source: Source) -> float:
    """The seconds of a turn, after one in which what is done once is done; its error is one line."""
    recipes.call(lambda: seconds_of(game, source, turns=1, first=0), "a turn of the game")
    return seconds_of(game, source, turns=1)


def turns_within(game: Game, seconds: float, a_turn: float) -> int:
    """As many turns as there is time for: one at least, and whole cycles of lazy penalties where one fits."""
    n, whole = max(1, int(seconds / a_turn)), game.cycle
    return n - n % whole if n >= whole else n


def alternate(
    game: Game,
    source: Source,
    settings: Sequence[Setting],
    seconds: float,
    say: Callable[[str], None] = lambda line: None,
) -> dict[Setting, list[float]]:
    """Turns a second of each setting, in rounds there and back; one round at least, whatever it takes."""
    end = perf_counter() + seconds
    say("settings, each for the first time")
    lasts: dict[Setting, float] = {}
    for setting in settings:
        set_to(game, setting)
        lasts[setting] = warm(game, source)
    slot = (end - perf_counter()) / len(settings) / ROUNDS
    turns = {setting: turns_within(game, slot, lasts[setting]) for setting in settings}
    rates: dict[Setting, list[float]] = {setting: [] for setting in settings}
    for i in range(ROUNDS):
        say(f"settings in turn, round {i + 1} of {ROUNDS}")
        for setting in settings if i % 2 == 0 else settings[::-1]:
            if rates[setting] and perf_counter() + turns[setting] * lasts[setting] > end:
                return rates
            set_to(game, setting)
            rates[setting].append(turns[setting] / seconds_of(game, source, turns[setting]))
    return rates


def settings_of(game: Game, *threads: int) -> list[Setting]:
    """Both precisions, on a processor with each of these numbers of threads, elsewhere with the first."""
    numbers = sorted(set(threads)) if game.device.type == "cpu" else threads[:1]
    precisions: tuple[Precision, ...] = "fp32", "bf16"
    return [Setting(n, precision) for n in numbers for precision in precisions]


def best_of(rates: Mapping[Setting, Sequence[float]]) -> Setting:
    """The fastest in fp32, unless the fastest in bf16 is worth it."""
    rate = {setting: median(found) for setting, found in rates.items()}
    plain, short = (
        max((s for s in rate if s.precision == p), key=rate.__getitem__) for p in ("fp32", "bf16")
    )
    return short if rate[short] >= WORTH * rate[plain] else plain


def left_open(recipe: Recipe) -> set[str]:
    """The fields of a recipe that this machine has to settle."""
    auto = {name for name in ("precision", "compile") if getattr(recipe, name) == "auto"}
    return auto | ({"steps"} if recipe.seconds else set())


def settled(recipe: Recipe, source: Source) -> tuple[Recipe, str]:
    """The recipe with choices in place of `precision` and `compile` auto, and of `steps` in hours; and why.

    precision, on a processor: a trial of some three seconds decides. The turns of a game of this recipe are
    played in both precisions in turn, and where `threads` is 0 on one and on all cores, the faster of which
    takes its place. bf16 is chosen where it is 1.15 times as fast. On cuda bf16 is chosen where the device
    computes in it, on any other device fp32. Neither threads nor random states are other than before.

    compile: on for players without convolutions, on a processor with a C++ compiler, from 20,000 turns on. A
    trial would take the time that it is to save: compilation costs some fifteen seconds of a core, and saves
    one or two thousandths of a second a turn (`docs/performance.md`).

    steps: as many turns as a trial of some three seconds says that there is time for, less a tenth of it, for
    the watch, the pictures and the checkpoints.

    Another choice is left as it is, with an empty line.
    """
    if not left_open(recipe):
        return recipe, ""
    precision = "fp32" if recipe.precision == "auto" else recipe.precision
    game, _ = recipes.build(replace(recipe, precision=precision, compile=False), source)
    said: list[str] = []
    if recipe.precision == "auto":
        recipe = _precise(recipe, game, source, said)
    if recipe.seconds:
        recipe = _timed(recipe, game, source, said)
    if recipe.compile == "auto":
        recipe = _compiling(recipe, game, said)
    return recipe, "; ".join(said)


def _precise(recipe: Recipe, game: Game, source: Source, said: list[str]) -> Recipe:
    if game.device.type != "cpu":
        fit = game.device.type == "cuda" and torch.cuda.is_bf16_supported()
        said.append(f"{game.device} {'computes' if fit else 'is not known to compute'} in bf16")
        return replace(recipe, precision="bf16" if fit else "fp32")
    threads = [recipe.threads] if recipe.threads else [1, torch.get_num_threads(), cores()]
    with restored():
        rates = alternate(game, source, settings_of(game, *threads), seconds=3.0)
    best = best_of(rates)
    found = ", ".join(f"{setting} {median(found):.3g}" for setting, found in rates.items())
    said.append(f"{best}, after a trial (turns a second: {found})")
    return replace(recipe, precision=best.precision, threads=best.threads)


def _timed(recipe: Recipe, game: Game, source: Source, said: list[str]) -> Recipe:
    with restored():
        set_to(game, Setting(recipe.threads or torch.get_num_threads(), cast(Precision, recipe.precision)))
        a_turn = warm(game, source)
        turns = turns_within(game, 3.0, a_turn)
        a_turn = seconds_of(game, source, turns) / turns
    steps = turns_within(game, 0.9 * recipe.seconds, a_turn)
    said.append(f"{recipe.steps} is time for {steps:,} turns, after a trial of {turns}")
    return replace(recipe, steps=steps)


def _compiling(recipe: Recipe, game: Game, said: list[str]) -> Recipe:
    modules = [*game.G.network.modules(), *game.D.network.modules()]
    dense = game.device.type == "cpu" and not any(isinstance(m, nn.modules.conv._ConvNd) for m in modules)
    found = any(which(name) for name in (os.environ.get("CXX", ""), "g++", "clang++") if name)
    gains = dense and found and recipe.turns >= LONG
    said.append("compiled: the run is long enough to gain" if gains else "not compiled")
    return replace(recipe, compile=gains)


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def wait(device: torch.device) -> None:
    """An accelerator works on while Python goes ahead: its time counts when it is done."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def timed_product(n: int, dtype: torch.dtype, device: torch.device) -> Callable[[], float]:
    """A product of two matrices of n rows, as a function that gives the seconds it takes."""
    a = torch.randn(n, n, generator=stream(0, "bench", device=device), device=device).to(dtype)
    b = torch.empty_like(a)

    def product() -> float:
        wait(device)
        begun = perf_counter()
        torch.mm(a, a, out=b)
        wait(device)
        return perf_counter() - begun

    return product
