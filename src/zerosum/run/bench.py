"""How fast a game is played here: turns a second, where a turn's time goes, and which settings are faster.

What is timed is `Game.play` itself: `clocked` puts a clock round the parts of one game and takes it away
again, so that a clocked game takes the path of any other. Work is counted by torch (two operations for a
multiplication and an addition, in matrix products and convolutions alone) and set against the largest rate
that this machine shows in square matrix products at the same precision, on as many threads.

Settings are compared in turn, round by round, over the same turns of the game, so that whatever else the
machine does meets them all; a figure is a median over rounds.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from math import lcm
from pathlib import Path
from shutil import which
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from zerosum.data.idx import _complete
from zerosum.data.source import Source
from zerosum.game.play import Game, Precision
from zerosum.randomness import stream
from zerosum.recipe import recipes
from zerosum.recipe.recipes import Recipe

__all__ = [
    "Clock",
    "Measured",
    "Phase",
    "Setting",
    "Speed",
    "clocked",
    "default",
    "flops",
    "measure",
    "peak",
    "settled",
    "told",
]

ROUNDS = 5
LONG = 30_000
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


@dataclass(frozen=True)
class Phase:
    """A part of a turn: seconds, and how many times it is entered, a turn."""

    name: str
    seconds: float
    calls: float


@dataclass(frozen=True)
class Speed:
    """How fast a setting is: steps (turns) a second, the median of the windows and their ends.

    images_per_second: real examples that D is shown. peak: operations a second in matrix products; share:
    what part of it the game reaches.
    """

    setting: Setting
    steps_per_second: float
    low: float
    high: float
    windows: int
    images_per_second: float
    flops_per_second: float
    peak: float
    share: float


@dataclass(frozen=True)
class Measured:
    """What `measure` found: phases of a turn at the recipe's own setting, and the speed of each setting.

    flops: operations a turn. memory: bytes, the most that the process held until the phases were timed, with
    torch and the data. device_memory: bytes, the most on an accelerator, 0 without. load: how many programs
    wanted a core in the minute before. best: see `measure`.
    """

    recipe: str
    device: str
    machine: str
    torch: str
    cores: int
    load: float
    batch: int
    k: int
    setting: Setting
    phases: tuple[Phase, ...]
    flops: float
    memory: int
    device_memory: int
    speeds: tuple[Speed, ...]
    best: Setting

    @property
    def own(self) -> Speed:
        """The speed at the recipe's own setting."""
        return self.of(self.setting)

    def of(self, setting: Setting) -> Speed:
        return next(speed for speed in self.speeds if speed.setting == setting)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


# the clock ----------------------------------------------------------------------------------------------

# a phase, and the places of a turn that belong to it: inside D's gradient or G's, or beside them
_PLACES: dict[str, tuple[tuple[str, ...], ...]] = {
    "data and noise": (("D", "data"), ("G", "data")),
    "G forward, for D": (("D", "G forward"),),
    "D forward": (("D", "D forward"),),
    "penalties": (("D", "penalty"),),
    "D backward": (("D", "backward"),),
    "D optimizer": (("D optimizer",),),
    "G forward": (("G", "G forward"),),
    "D forward, for G": (("G", "D forward"),),
    "G backward": (("G", "backward"),),
    "G optimizer": (("G optimizer",),),
    "average": (("average",),),
}


class Clock:
    """Seconds and calls by place; each moment belongs to one place, so that they add up to the whole.

    A place is a path of nested names, of which two count: what a penalty asks of D is the penalty's.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: defaultdict[tuple[str, ...], float] = defaultdict(float)
        self.calls: Counter[tuple[str, ...]] = Counter()
        self.place: tuple[str, ...] = ()
        self.since = perf_counter()

    def go(self, place: tuple[str, ...]) -> None:
        """What has passed belongs to where we were."""
        _wait(self.device)
        now = perf_counter()
        self.seconds[self.place[:2]] += now - self.since
        self.place, self.since = place, now

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, at a place of this name."""

        def call(*args: Any, **given: Any) -> Any:
            before = self.place
            self.go((*before, name))
            self.calls[self.place] += 1
            try:
                return function(*args, **given)
            finally:
                self.go(before)

        return call

    def phases(self, turns: int) -> tuple[Phase, ...]:
        """The phases of one of so many turns; they sum to all the time that was clocked.

        "the rest" is what has no name: losses, checks, joining batches, the loop.
        """
        found = [
            Phase(name, sum(self.seconds[p] for p in places) / turns, calls / turns)
            for name, places in _PLACES.items()
            if (calls := sum(self.calls[p] for p in places))
        ]
        rest = sum(self.seconds.values()) / turns - sum(phase.seconds for phase in found)
        return (*found, Phase("the rest", rest, 1.0))


def _wait(device: torch.device) -> None:
    """An accelerator works on while Python goes ahead: its time counts when it is done."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


@contextmanager
def clocked(game: Game) -> Iterator[Clock]:
    """Within, the parts of the game's turns are timed; after, everything is as it was.

    The game's methods are replaced for this one game, and `Tensor.backward` for all.

    >>> from zerosum import data
    >>> source = data.ring()
    >>> game = recipes.build_game(recipes.load("ring"), source.shape)
    >>> with clocked(game) as clock:
    ...     turns = [turn.step for turn in game.play(source, steps=2)]
    >>> [phase.name for phase in clock.phases(len(turns))][:3]
    ['data and noise', 'G forward, for D', 'D forward']
    """
    clock = Clock(game.device)
    asked = {p: clock.timed(f"{n} forward", game._ask) for n, p in (("G", game.G), ("D", game.D))}
    parts = [
        (game, "_real", "data"),
        (game, "_noise", "data"),
        (game, "_d_gradient", "D"),
        (game, "_g_gradient", "G"),
        (game.D, "step", "D optimizer"),
        (game.G, "step", "G optimizer"),
        (game.D, "end_turn", "average"),
        (game.G, "end_turn", "average"),
        *((penalty, "forward", "penalty") for penalty in game.penalties),
        (Tensor, "backward", "backward"),
    ]
    with ExitStack() as stack:
        for owner, name, place in parts:
            stack.enter_context(_replaced(owner, name, clock.timed(place, getattr(owner, name))))
        stack.enter_context(_replaced(game, "_ask", lambda player, *x, **y: asked[player](player, *x, **y)))
        clock.since = perf_counter()
        try:
            yield clock
        finally:
            clock.go(())


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """An attribute has another value; after, its own again, or again none of its own."""
    before, own = vars(owner).get(name), name in vars(owner)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)


# work and how fast it can be done -----------------------------------------------------------------------


def flops(game: Game, source: Source) -> float:
    """Floating-point operations of a turn, backward passes included; the game plays on to count them.

    Two for each multiplication and addition of a matrix product or a convolution, nothing for the rest. Turns
    differ by the penalties that are due: one of each kind is counted, and the mean of a cycle returned.
    """
    from torch.utils.flop_counter import FlopCounterMode

    def due(turn: int) -> tuple[bool, ...]:
        return tuple(p.due(turn * game.k + i) for p in game.penalties for i in range(game.k))

    kinds = [due(turn) for turn in range(_cycle(game))]
    total = 0
    for kind, times in Counter(kinds).items():
        counter: Any = FlopCounterMode(display=False)
        counter.mod_tracker = _Everywhere()
        with counter:
            _played(game, source, turns=1, first=kinds.index(kind))
        total += times * counter.get_total_flops()
    return total / len(kinds)


class _Everywhere(nullcontext[None]):
    """Stands where the counter asks which module it is in, for whose answer `autograd.grad` has no room."""

    parents = ("Global",)


def _cycle(game: Game) -> int:
    """After so many turns the same penalties are due again."""
    return lcm(*(p.every for p in game.penalties))


def peak(setting: Setting, device: torch.device | str = "cpu", seconds: float = 1.0) -> float:
    """Floating-point operations a second in a product of square matrices: the most of three sizes.

    Of 1024, 2048 and 4096 rows, the larger ones where there is time; each size by the median of five.
    """
    place = torch.device(device)
    dtype = torch.bfloat16 if setting.precision == "bf16" else torch.float32
    end, most = perf_counter() + seconds, 0.0
    with _kept():
        torch.set_num_threads(setting.threads)
        for n in (1024, 2048, 4096):
            product = _product(n, dtype, place)
            product()  # what is done once
            lasts = median(product() for _ in range(5))
            most = max(most, 2 * n**3 / lasts)
            if perf_counter() + 6 * 8 * lasts > end:  # twice the rows, eight times the work
                break
    return most


def _product(n: int, dtype: torch.dtype, device: torch.device) -> Callable[[], float]:
    """A product of two matrices of n rows, as a function that gives the seconds it takes."""
    a = torch.randn(n, n, generator=stream(0, "bench", device=device), device=device).to(dtype)
    b = torch.empty_like(a)

    def product() -> float:
        _wait(device)
        begun = perf_counter()
        torch.mm(a, a, out=b)
        _wait(device)
        return perf_counter() - begun

    return product


def _memory() -> int:
    """The most memory that this process has held, in bytes.

    Linux says it of the program; getrusage may count what the process was before it became this program.
    """
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return 1024 * int(found[1])
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# settings in turn ---------------------------------------------------------------------------------------


@contextmanager
def _kept() -> Iterator[None]:
    """After, torch has as many threads, and draws the same numbers, as before."""
    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)


def _played(game: Game, source: Source, turns: int, first: int = 1) -> float:
    """The seconds that the turns take which the game would play from its step `first`."""
    game.step = first
    begun = perf_counter()
    for _ in game.play(source, turns):
        pass
    _wait(game.device)
    return perf_counter() - begun


def _at(game: Game, setting: Setting) -> None:
    torch.set_num_threads(setting.threads)
    game.precision = setting.precision


def _warm(game: Game, source: Source) -> float:
    """The seconds of a turn, after one in which what is done once is done; its error is one line."""
    recipes.call(lambda: _played(game, source, turns=1, first=0), "a turn of the game")
    return _played(game, source, turns=1)


def _turns(game: Game, seconds: float, a_turn: float) -> int:
    """As many turns as there is time for: one at least, and whole cycles of lazy penalties where one fits."""
    n, cycle = max(1, int(seconds / a_turn)), _cycle(game)
    return n - n % cycle if n >= cycle else n


def _alternate(
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
        _at(game, setting)
        lasts[setting] = _warm(game, source)
    slot = (end - perf_counter()) / len(settings) / ROUNDS
    turns = {setting: _turns(game, slot, lasts[setting]) for setting in settings}
    rates: dict[Setting, list[float]] = {setting: [] for setting in settings}
    for i in range(ROUNDS):
        say(f"settings in turn, round {i + 1} of {ROUNDS}")
        for setting in settings if i % 2 == 0 else settings[::-1]:
            if rates[setting] and perf_counter() + turns[setting] * lasts[setting] > end:
                return rates
            _at(game, setting)
            rates[setting].append(turns[setting] / _played(game, source, turns[setting]))
    return rates


def _settings(game: Game, *threads: int) -> list[Setting]:
    """Both precisions, on a processor with each of these numbers of threads, elsewhere with the first."""
    numbers = sorted(set(threads)) if game.device.type == "cpu" else threads[:1]
    precisions: tuple[Precision, ...] = "fp32", "bf16"
    return [Setting(n, precision) for n in numbers for precision in precisions]


def _best(rates: Mapping[Setting, Sequence[float]]) -> Setting:
    """The fastest in fp32, unless the fastest in bf16 is worth it."""
    rate = {setting: median(found) for setting, found in rates.items()}
    plain, short = (
        max((s for s in rate if s.precision == p), key=rate.__getitem__) for p in ("fp32", "bf16")
    )
    return short if rate[short] >= WORTH * rate[plain] else plain


def settled(recipe: Recipe, source: Source) -> tuple[Recipe, str]:
    """The recipe with choices in place of ``precision: auto`` and ``compile: auto``; and why.

    precision, on a processor: a trial of some three seconds decides. The turns of a game of this recipe are
    played in both precisions in turn, and where `threads` is 0 on one and on all cores, the faster of which
    takes its place. bf16 is chosen where it is 1.15 times as fast. On cuda bf16 is chosen where the device
    computes in it, on any other device fp32. Neither threads nor random states are other than before.

    compile: on for players without convolutions, on a processor with a C++ compiler, from 30,000 turns on. A
    trial would take the time that it is to save: compilation costs some 25 seconds of a core, and saves one
    or two thousandths of a second a turn (`docs/performance.md`).

    Another choice is left as it is, with an empty line.
    """
    if "auto" not in (recipe.precision, recipe.compile):
        return recipe, ""
    precision = "fp32" if recipe.precision == "auto" else recipe.precision
    game = recipes.build(replace(recipe, precision=precision, compile=False), source)
    said: list[str] = []
    if recipe.precision == "auto":
        recipe = _precise(recipe, game, source, said)
    if recipe.compile == "auto":
        recipe = _compiling(recipe, game, said)
    return recipe, "; ".join(said)


def _precise(recipe: Recipe, game: Game, source: Source, said: list[str]) -> Recipe:
    if game.device.type != "cpu":
        fit = game.device.type == "cuda" and torch.cuda.is_bf16_supported()
        said.append(f"{game.device} {'computes' if fit else 'is not known to compute'} in bf16")
        return replace(recipe, precision="bf16" if fit else "fp32")
    threads = [recipe.threads] if recipe.threads else [1, torch.get_num_threads(), _cores()]
    with _kept():
        rates = _alternate(game, source, _settings(game, *threads), seconds=3.0)
    best = _best(rates)
    found = ", ".join(f"{setting} {median(found):.3g}" for setting, found in rates.items())
    said.append(f"{best}, after a trial (turns a second: {found})")
    return replace(recipe, precision=best.precision, threads=best.threads)


def _compiling(recipe: Recipe, game: Game, said: list[str]) -> Recipe:
    modules = [*game.G.network.modules(), *game.D.network.modules()]
    dense = game.device.type == "cpu" and not any(isinstance(m, nn.modules.conv._ConvNd) for m in modules)
    found = any(which(name) for name in (os.environ.get("CXX", ""), "g++", "clang++") if name)
    gains = dense and found and recipe.steps >= LONG
    said.append("compiled: the run is long enough to gain" if gains else "not compiled")
    return replace(recipe, compile=gains)


# all of it ----------------------------------------------------------------------------------------------


def default() -> str:
    """The recipe that is measured unless one is named: mnist-dcgan where its data are there, or digits."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zerosum"
    own = os.environ.get("ZEROSUM_DATA")
    folders = [Path(place) / "mnist" for place in (own, cache) if place]
    return "mnist-dcgan" if any(_complete(folder, "train") for folder in folders) else "digits"


def measure(
    recipe: Recipe, seconds: float = 20.0, say: Callable[[str], None] = lambda line: None
) -> Measured:
    """Measure the game of a recipe for about so many seconds; `say` is told what is being done.

    One game is played in all settings: the recipe's own, one thread and all cores, fp32 and bf16. The best is
    the fastest, but bf16 only where it is 1.15 times as fast. Instruments, pictures and checkpoints are left
    out, and nothing is compiled. Few seconds mean few windows: one at least of each setting.

    Raises RecipeError if the recipe cannot be built or a turn of it cannot be played.
    """
    load = os.getloadavg()[0]
    say(f"building the game of {recipe.name}")
    source = recipes.build_source(recipe)
    recipe = replace(recipe, compile=False)
    if recipe.precision == "auto":
        say("settling the precision")
        recipe, _ = settled(recipe, source)
    game = recipes.build(recipe, source)
    end = perf_counter() + seconds
    own = Setting(recipe.threads or torch.get_num_threads(), game.precision)
    with _kept():
        _at(game, own)
        say("phases of a turn")
        phases = _phases(game, source, seconds / 5)
        memory, device_memory = _memory(), _device_memory(game.device)
        say("counting the operations of a turn")
        work = flops(game, source)
        settings = _settings(game, own.threads, 1, _cores())
        say("matrix products")
        peaks = {setting: peak(setting, game.device, seconds / 5 / len(settings)) for setting in settings}
        rates = _alternate(game, source, settings, end - perf_counter(), say)
    images = game.batch * game.k
    speeds = [_speed(s, rates[s], images, work, peaks[s]) for s in settings]
    return Measured(
        recipe=recipe.name,
        device=str(game.device),
        machine=platform.machine(),
        torch=torch.__version__,
        cores=_cores(),
        load=load,
        batch=game.batch,
        k=game.k,
        setting=own,
        phases=phases,
        flops=work,
        memory=memory,
        device_memory=device_memory,
        speeds=tuple(speeds),
        best=_best(rates),
    )


def _phases(game: Game, source: Source, seconds: float) -> tuple[Phase, ...]:
    """The phases of a turn, of the median of the windows that there is time for."""
    end = perf_counter() + seconds
    a_turn = _warm(game, source)
    turns = _turns(game, (end - perf_counter()) / ROUNDS, a_turn)
    windows: list[tuple[Phase, ...]] = []
    while not windows or (len(windows) < ROUNDS and perf_counter() + turns * a_turn < end):
        with clocked(game) as clock:
            _played(game, source, turns)
        windows.append(clock.phases(turns))
    return sorted(windows, key=_total)[len(windows) // 2]


def _total(phases: Sequence[Phase]) -> float:
    return sum(phase.seconds for phase in phases)


def _device_memory(device: torch.device) -> int:
    return torch.accelerator.max_memory_allocated(device) if device.type != "cpu" else 0


def _speed(setting: Setting, rates: Sequence[float], images: int, work: float, peak: float) -> Speed:
    rate = median(rates)
    return Speed(
        setting=setting,
        steps_per_second=rate,
        low=min(rates),
        high=max(rates),
        windows=len(rates),
        images_per_second=rate * images,
        flops_per_second=rate * work,
        peak=peak,
        share=rate * work / peak,
    )


def told(found: Measured) -> str:
    """What was measured, as tables for people; the last line names the best setting and its options."""
    own, turn = found.own, _total(found.phases)
    cores = f"{found.cores} core{'s' if found.cores > 1 else ''}"
    lines = [
        f"{found.recipe}, batch {found.batch}, k {found.k}, on {found.device} ({found.machine}, {cores})",
        "",
        f"{found.setting!s:20s} {'ms a turn':>10s} {'share':>8s} {'calls':>7s}",
        *(_row(phase, turn) for phase in found.phases),
        f"  {'together':18s} {1e3 * turn:10.3f} {1:8.1%}",
        "",
        f"speed   {own.steps_per_second:,.4g} steps/s, {own.images_per_second:,.0f} images/s",
        f"work    {_giga(found.flops)} GFLOP a turn, {_giga(own.flops_per_second)} GFLOP/s, "
        f"{own.share:.1%} of the {_giga(own.peak)} GFLOP/s of matrix products here",
        f"memory  {found.memory / 1e6:,.0f} MB at most, with torch and the data",
    ]
    if found.device_memory:
        lines.append(f"        {found.device_memory / 1e6:,.0f} MB at most on {found.device}")
    head = ("steps/s", "min", "max", "images/s", "GFLOP/s", "peak", "share", "windows")
    lines += ["", f"{'setting':20s} " + " ".join(f"{name:>9s}" for name in head)]
    for x in found.speeds:
        rates = " ".join(f"{rate:9.4g}" for rate in (x.steps_per_second, x.low, x.high))
        lines.append(
            f"  {x.setting!s:18s} {rates} {x.images_per_second:9,.0f} {_giga(x.flops_per_second):>9s} "
            f"{_giga(x.peak):>9s} {x.share:9.1%} {x.windows:9d}"
        )
    lines += ["", *_cautions(found)]
    return "\n".join([*lines, f"best: {found.best.options} ({_against(found)})"])


def _row(phase: Phase, turn: float) -> str:
    calls = "" if phase.name == "the rest" else f"{phase.calls:7.3g}"
    return f"  {phase.name:18s} {1e3 * phase.seconds:10.3f} {phase.seconds / turn:8.1%} {calls}".rstrip()


def _cautions(found: Measured) -> Iterator[str]:
    """What makes these figures less certain than they look."""
    if found.load > found.cores / 2:
        yield f"note: other programs were at work (load {found.load:.2g}): measure again when they are not"
    if (fewest := min(speed.windows for speed in found.speeds)) < 3:
        yield f"note: only {fewest} of {ROUNDS} windows of some settings: more --seconds are surer"


def _giga(x: float) -> str:
    return f"{x / 1e9:,.4g}"


def _against(found: Measured) -> str:
    best = found.of(found.best)
    if best is found.own:
        return f"{best.steps_per_second:,.4g} steps/s, as the recipe has it"
    times = best.steps_per_second / found.own.steps_per_second
    return f"{best.steps_per_second:,.4g} steps/s, {times:.2f} times {found.setting}"
