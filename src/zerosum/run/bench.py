"""How fast a game is played here: turns a second, where a turn's time goes, and which settings are faster.

What is timed is the game itself, by the hooks that torch has for networks and optimizers, so that a clocked
game takes the path of any other. Work is counted by torch (two operations for a
multiplication and an addition, in matrix products and convolutions alone) and set against the largest rate
that this machine shows in square matrix products at the same precision, on as many threads.
Settings are compared by `zerosum.run.autotune`.
"""

from __future__ import annotations

import os
import platform
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from zerosum import recipe as recipes
from zerosum.data.download import kept_in
from zerosum.data.idx import _complete
from zerosum.data.source import Source
from zerosum.game import Game
from zerosum.recipe import Recipe
from zerosum.run.autotune import (
    ROUNDS,
    Setting,
    alternate,
    best_of,
    cores,
    restored,
    seconds_of,
    set_to,
    settings_of,
    settled,
    timed_product,
    turns_within,
    wait,
    warm,
)
from zerosum.run.runtime import peak_memory

__all__ = [
    "Clock",
    "Measured",
    "Phase",
    "Setting",
    "Speed",
    "clocked",
    "default",
    "flops",
    "format_speed",
    "measure",
    "peak",
    "play",
]


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


class Clock:
    """Seconds and calls by phase; each moment belongs to one phase, so that they add up to the whole."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()
        self.phase = REST
        self.since = perf_counter()

    def go(self, phase: str, calls: int = 1) -> None:
        """What has passed belongs to the phase we were in; this one begins."""
        wait(self.device)
        now = perf_counter()
        self.seconds[self.phase] += now - self.since
        self.calls[phase] += calls
        self.phase, self.since = phase, now

    def phases(self, turns: int) -> tuple[Phase, ...]:
        """The phases of one of so many turns, the rest at the end; they sum to all the time that was clocked.

        "the rest" is what has no name: checks, joining parts, the average, the loop.
        """
        calls = {name: self.calls[BACKWARD.get(name, name)] / turns for name in PHASES}
        timed = [Phase(name, self.seconds[name] / turns, calls[name]) for name in PHASES if calls[name]]
        return (*timed, Phase(REST, self.seconds[REST] / turns, 1.0))


REST = "the rest"
PHASES = (
    "data and noise",
    *("G forward, for D", "D forward", "penalties", "D loss and backward", "D optimizer"),
    *("G forward", "D forward, for G", "penalties of G", "G loss and backward", "G optimizer"),
)
BACKWARD = {"D loss and backward": "G forward, for D", "G loss and backward": "G forward"}
"""For each part of a batch there are one forward pass of G and one backward pass."""


@contextmanager
def clocked(game: Game) -> Iterator[Clock]:
    """Within, the phases of the game's turns are timed, by hooks that torch calls; after, no hook is left.

    >>> from zerosum import data
    >>> source = data.ring()
    >>> game = recipes.build_game(recipes.load("ring"), source.shape)
    >>> with clocked(game) as clock:
    ...     play(game, source, turns=2, clock=clock)
    >>> [phase.name for phase in clock.phases(2)][:3]
    ['data and noise', 'G forward, for D', 'D forward']
    """
    clock = Clock(game.device)
    within_penalty = False

    def of_g() -> bool:
        """Whether G's step is played, in which D is frozen."""
        return not game.D.parameters[0].requires_grad

    def enter(of_d: str, for_g: str, penalty: bool = False) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            nonlocal within_penalty
            if not within_penalty:  # what a penalty asks of the players is the penalty's
                clock.go(for_g if of_g() else of_d)
            within_penalty = within_penalty or penalty

        return hook

    def leave(penalty: bool = False) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            nonlocal within_penalty
            within_penalty = within_penalty and not penalty
            if not within_penalty:
                clock.go("G loss and backward" if of_g() else "D loss and backward", calls=0)

        return hook

    def before_step(optimizer: Any, *_: Any) -> None:
        moved = {id(p) for group in optimizer.param_groups for p in group["params"]}
        clock.go("D optimizer" if id(game.D.parameters[0]) in moved else "G optimizer")

    modules = [(game.G.network, "G forward, for D", "G forward", False)]
    modules += [(game.D.network, "D forward", "D forward, for G", False)]
    modules += [(p, "penalties", "penalties of G", True) for p in game.penalties]
    with ExitStack() as stack:
        handles: list[Any] = [register_optimizer_step_pre_hook(before_step)]
        handles.append(register_optimizer_step_post_hook(lambda *_: clock.go(REST, calls=0)))
        for module, of_d, for_g, penalty in modules:
            handles.append(module.register_forward_pre_hook(enter(of_d, for_g, penalty)))
            handles.append(module.register_forward_hook(leave(penalty), always_call=True))
        for handle in handles:
            stack.callback(handle.remove)
        clock.since = perf_counter()
        try:
            yield clock
        finally:
            clock.go(REST, calls=0)


def play(game: Game, source: Source, turns: int, clock: Clock) -> None:
    """Turns of a clocked game, whose inputs are timed as "data and noise"."""
    for _ in range(turns):
        clock.go("data and noise")
        inputs = game.inputs(source)
        clock.go(REST, calls=0)
        game.advance(inputs)


# work and how fast it can be done -----------------------------------------------------------------------


def flops(game: Game, source: Source) -> float:
    """Floating-point operations of a turn, backward passes included; the game plays on to count them.

    Two for each multiplication and addition of a matrix product or a convolution, nothing for the rest. Turns
    differ by the penalties that are due: one of each kind is counted, and the mean of a cycle returned.
    """
    from torch.utils.flop_counter import FlopCounterMode

    def due(turn: int) -> tuple[bool, ...]:
        return tuple(
            p.due(turn * game.k + i) for p in game.penalties if p.of == "D" for i in range(game.k)
        ) + tuple(p.due(turn) for p in game.penalties if p.of == "G")

    kinds = [due(turn) for turn in range(game.cycle)]
    total = 0
    for kind, times in Counter(kinds).items():
        counter: Any = FlopCounterMode(display=False)
        counter.mod_tracker = _Everywhere()
        with counter:
            seconds_of(game, source, turns=1, first=kinds.index(kind))
        total += times * counter.get_total_flops()
    return total / len(kinds)


class _Everywhere(nullcontext[None]):
    """Stands where the counter asks which module it is in, for whose answer `autograd.grad` has no room."""

    parents = ("Global",)


def peak(setting: Setting, device: torch.device | str = "cpu", seconds: float = 1.0) -> float:
    """Floating-point operations a second in a product of square matrices: the most of three sizes.

    Of 1024, 2048 and 4096 rows, the larger ones where there is time; each size by the median of five.
    """
    place = torch.device(device)
    dtype = torch.bfloat16 if setting.precision == "bf16" else torch.float32
    end, most = perf_counter() + seconds, 0.0
    with restored():
        torch.set_num_threads(setting.threads)
        for n in (1024, 2048, 4096):
            product = timed_product(n, dtype, place)
            product()  # what is done once
            lasts = median(product() for _ in range(5))
            most = max(most, 2 * n**3 / lasts)
            if perf_counter() + 6 * 8 * lasts > end:  # twice the rows, eight times the work
                break
    return most


# all of it ----------------------------------------------------------------------------------------------


def default() -> str:
    """The recipe that is measured unless one is named: mnist-dcgan where its data are there, or digits."""
    own = os.environ.get("ZEROSUM_DATA")
    folders = [*([Path(own) / "mnist"] if own else []), kept_in("mnist")]
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
    game, _ = recipes.build(recipe, source)
    end = perf_counter() + seconds
    own = Setting(recipe.threads or torch.get_num_threads(), game.precision)
    with restored():
        set_to(game, own)
        say("phases of a turn")
        phases = _phases(game, source, seconds / 5)
        memory, device_memory = peak_memory(), _device_memory(game.device)
        say("counting the operations of a turn")
        work = flops(game, source)
        settings = settings_of(game, own.threads, 1, cores())
        say("matrix products")
        peaks = {setting: peak(setting, game.device, seconds / 5 / len(settings)) for setting in settings}
        rates = alternate(game, source, settings, end - perf_counter(), say)
    images = game.batch * game.k
    speeds = [_speed(s, rates[s], images, work, peaks[s]) for s in settings]
    return Measured(
        recipe=recipe.name,
        device=str(game.device),
        machine=platform.machine(),
        torch=torch.__version__,
        cores=cores(),
        load=load,
        batch=game.batch,
        k=game.k,
        setting=own,
        phases=phases,
        flops=work,
        memory=memory,
        device_memory=device_memory,
        speeds=tuple(speeds),
        best=best_of(rates),
    )


def _phases(game: Game, source: Source, seconds: float) -> tuple[Phase, ...]:
    """The phases of a turn, of the median of the windows that there is time for."""
    end = perf_counter() + seconds
    a_turn = warm(game, source)
    turns = turns_within(game, (end - perf_counter()) / ROUNDS, a_turn)
    windows: list[tuple[Phase, ...]] = []
    while not windows or (len(windows) < ROUNDS and perf_counter() + turns * a_turn < end):
        game.step = 1
        with clocked(game) as clock:
            play(game, source, turns, clock)
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


def format_speed(found: Measured) -> str:
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
