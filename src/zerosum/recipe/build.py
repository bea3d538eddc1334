"""A recipe becomes a game and its source."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from zerosum.recipe.components import HOMES, argument, bound, call, product
from zerosum.recipe.files import validated
from zerosum.recipe.schema import Component, Recipe, RecipeError

if TYPE_CHECKING:
    from zerosum.game import Game

__all__ = [
    "build",
    "build_data",
    "build_faults",
    "build_game",
    "build_instruments",
    "build_network",
    "build_source",
    "settled",
]

SCHEDULED = {key for key, home in HOMES.items() if home == "zerosum.schedules"}
"""Arguments that a schedule may stand for."""


def build(recipe: Recipe, source: Any = None, rank: int = 0, world: int = 1) -> tuple[Game, Any]:
    """The game of a recipe, and the source of its data, unless that is given.

    rank, world: this process plays the rank-th of `world` shares of each batch, and as many parts of it as
    are left of the recipe's `accumulate`.

    Raises RecipeError, naming the field, for whatever cannot be built.
    """
    source = build_source(recipe) if source is None else source
    mean = source.batch(0, 4096)[0].double().mean(0) if recipe.centre else None
    about = {name: getattr(source, name) for name in ("classes", "class_shares", "codec")}
    return build_game(recipe, source.shape, mean, rank=rank, world=world, **about), source


def settled(recipe: Recipe, begun: Recipe | None = None) -> Recipe:
    """The recipe with turns in place of the shares of `steps` that its schedules are given in.

    A schedule's length may be a share of the run, such as ``steps: 70%``, so that a longer run stretches it.
    A run that has begun keeps the lengths that it began with, `begun`: it has played by them.
    """
    tree, before = asdict(recipe), asdict(begun) if begun else {}
    for name in HOMES.keys() & tree.keys():
        tree[name] = _in_turns(tree[name], before.get(name), recipe.turns, name in SCHEDULED)
    return validated(tree)


def _in_turns(value: Any, before: Any, steps: int, scheduled: bool) -> Any:
    if isinstance(value, dict):
        old = before if isinstance(before, dict) else {}
        return {k: _in_turns(v, old.get(k), steps, scheduled or k in SCHEDULED) for k, v in value.items()}
    if isinstance(value, list | tuple):
        same = isinstance(before, list | tuple) and len(before) == len(value)
        pairs = zip(value, before if same else [None] * len(value), strict=True)
        return [_in_turns(v, old, steps, scheduled) for v, old in pairs]
    if not (scheduled and isinstance(value, str) and value.endswith("%")):
        return value
    try:
        turns = max(1, round(steps * float(value[:-1]) / 100))
    except (ValueError, OverflowError):  # left for the check of types to refuse
        return value
    return before if isinstance(before, int) else turns


def build_source(recipe: Recipe) -> Any:
    """The source that the recipe's `data` names."""
    return build_data(recipe.data, recipe.seed)


def build_data(component: Component, seed: int = 0) -> Any:
    """The source that a component names, looked at once: two examples are taken from it."""
    from zerosum import data

    made = product(component, object, "data", seed=seed)
    source = call(lambda: data.source(made, seed=seed), "data")
    x = call(lambda: source.batch(0, 2)[0], "data")
    if tuple(x.shape) != (2, *source.shape) or not x.is_floating_point():
        wanted = [2, *source.shape]
        raise RecipeError(f"data: batch(step, 2) should give floats {wanted}: got {x.dtype} {list(x.shape)}")
    return source


def build_instruments(recipe: Recipe, game: Game, source: Any, held: Any) -> list[Any]:
    """The instruments that the recipe names beside those of its `watch`.

    held: examples that training does not see, or None.
    """
    from zerosum.watch import Instrument

    runtime = {"game": game, "source": source, "held": held}
    own = enumerate(recipe.instruments)
    return [product(component, Instrument, f"instruments.{i}", **runtime) for i, component in own]


def build_faults(recipe: Recipe) -> list[Callable[..., Any]]:
    """The faults that the recipe names beside the library's: ``(history, facts) -> Finding or None``."""
    own = enumerate(recipe.faults)
    return [bound(component, f"faults.{i}", HOMES["faults"]) for i, component in own]


def build_game(
    recipe: Recipe,
    shape: tuple[int, ...],
    mean: Any = None,
    device: str | None = None,
    classes: int = 0,
    codec: Any = None,
    class_shares: Sequence[float] | None = None,
    rank: int = 0,
    world: int = 1,
) -> Game:
    """The game of a recipe for examples of this shape; its weights follow from the seed.

    mean: the mean of the data, ``[*shape]``, which `centre` starts G's output at. device: in place of the
    recipe's. classes: of the data, which a conditional recipe plays with. codec: of the data, whose one-hots
    a network may have to know of. class_shares: how often each class occurs. rank, world: see `build`.
    """

    from zerosum.game import Game
    from zerosum.objectives import Objective
    from zerosum.penalties import Penalty
    from zerosum.randomness import key, seeded

    recipe, sharded = settled(recipe), recipe.shard and world > 1
    kind: type[Game] = Game
    if sharded:
        from zerosum.game.sharded import Whole

        kind = Whole
    if recipe.conditional and classes < 2:
        raise RecipeError(
            f"conditional: the data have {classes} classes: give labelled data, or set it false"
        )
    labels: dict[str, Any] = {"classes": classes} if recipe.conditional else {}
    groups = getattr(codec, "groups", ())
    place = _device(device or ("cpu" if sharded else recipe.device))

    def network(name: str, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Any:
        return build_network(name, getattr(recipe, name), inputs, outputs, place, groups, **labels)

    def factory(name: str) -> Callable[..., Any]:
        made = product(getattr(recipe, name), Callable, name)
        return lambda parameters: call(partial(made, parameters), name)

    with seeded(key(recipe.seed, "init")), warnings.catch_warnings():
        # _check_network says it better
        warnings.filterwarnings("ignore", "Initializing zero-element tensors")
        G = network("G", (recipe.latent,), shape)
        D = network("D", shape, ())
    if mean is not None:
        call(lambda: G.centre(mean), "centre")
    precision, compile = recipe.precision, recipe.compile
    if precision == "auto" or compile == "auto":
        raise RecipeError(
            "precision, compile: auto is settled by a run, or by `autotune.settled`: do so first"
        )
    return call(
        lambda: kind(
            G,
            D,
            product(recipe.objective, Objective, "objective"),
            [product(penalty, Penalty, f"penalties.{i}") for i, penalty in enumerate(recipe.penalties)],
            latent=recipe.latent + noise_of(G),
            prior=_prior(recipe.prior, recipe.latent + noise_of(G)),
            optimizers=(factory("g_optimizer"), factory("d_optimizer")),
            batch=recipe.batch,
            k=recipe.k,
            simultaneous=recipe.simultaneous,
            ema=argument("ema", recipe.ema, "ema"),
            accumulate=-(-recipe.accumulate // world),
            rank=rank,
            world=world,
            precision=precision,
            compile=compile,
            seed=recipe.seed,
            class_shares=(class_shares or None) if labels else None,
            **labels,
        ),
        "game",
    )


def _prior(component: Component, latent: int) -> Any:
    """A prior that was asked once: for noise of the shape that a game wants."""
    import torch

    from zerosum.randomness import stream

    prior, shape = argument("prior", component, "prior"), (2, latent)
    z = call(lambda: prior(shape, stream("prior"), torch.float32), "prior")
    if not isinstance(z, torch.Tensor) or z.shape != shape:
        made = list(z.shape) if isinstance(z, torch.Tensor) else f"a {type(z).__name__}"
        raise RecipeError(f"prior: asked for {list(shape)} it should make a tensor of that, but makes {made}")
    return prior


def noise_of(network: Any) -> int:
    """How many coordinates of z a generator has of its own, beside the recipe's `latent`."""
    return int(getattr(network, "noise", 0))


def build_network(
    where: str,
    component: Component,
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
    device: Any = "cpu",
    groups: Any = (),
    **labels: int,
) -> Any:
    """The network that a component names, on its device and tried once.

    groups: what a codec says of its one-hots. labels: classes=K of a conditional game.
    """
    import torch
    from torch import nn

    runtime = {"inputs": inputs, "outputs": outputs, "groups": groups, **labels}
    with _weighed(where):
        network = product(component, nn.Module, where, **runtime)
    network = network.to(device, memory_format=torch.channels_last)  # convolutions want it, others ignore it
    _check_network(where, network, (inputs[0] + noise_of(network), *inputs[1:]), outputs, bool(labels))
    return network


MOST_WEIGHTS = 20_000
"""Tensors of weights in one network; the deepest published have a few thousand."""


@contextmanager
def _weighed(where: str) -> Iterator[None]:
    """In here RecipeError as soon as a network has more weights than any machine plays with, or than the
    memory of this one holds: not after minutes of drawing them.
    """
    from torch.nn.modules.module import register_module_parameter_registration_hook

    count, size, room, mine = 0, 0, _memory(), threading.get_ident()

    def weigh(module: Any, name: str, weights: Any) -> None:
        nonlocal count, size
        if threading.get_ident() != mine or hasattr(weights, "materialize"):
            return
        count, size = count + 1, size + weights.nbytes
        if count > MOST_WEIGHTS:
            raise RecipeError(
                f"{where}: more than {MOST_WEIGHTS:,} tensors of weights: make it less deep, at most "
                f"{MOST_WEIGHTS // 2:,} layers with a bias"
            )
        if 2 * size > room:
            raise RecipeError(
                f"{where}: its weights and their gradients would take more than the memory of this machine, "
                f"{room / 1e9:,.0f} GB: make it narrower or less deep"
            )

    handle = register_module_parameter_registration_hook(weigh)
    try:
        yield
    finally:
        handle.remove()


def _memory() -> float:
    """Bytes of memory that the machine has; without end where it does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return float("inf")


def _check_network(
    where: str, network: Any, inputs: tuple[int, ...], outputs: tuple[int, ...], labelled: bool
) -> None:
    """Refuse a network that does not fit the data before anything is written: two zeros pass through it."""
    import torch

    first = next(network.parameters(), torch.zeros(()))
    zeros = torch.zeros(2, *inputs, device=first.device, dtype=first.dtype)
    labels = [torch.zeros(2, dtype=torch.int64, device=first.device)] if labelled else []
    with torch.no_grad():
        result = call(lambda: network.eval()(zeros, *labels), f"{where}: given {list(zeros.shape)}")
    network.train()
    if tuple(result.shape) != (2, *outputs):
        given, wanted = list(zeros.shape), [2, *outputs]
        raise RecipeError(f"{where}: given {given}, it should make {wanted} but makes {list(result.shape)}")
    for name, weights in network.named_parameters():
        if weights.numel() == 0:
            raise RecipeError(f"{where}: {name} has the shape {list(weights.shape)}: no width may be 0")


def _device(name: str) -> Any:
    import torch

    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # a device without values, such as meta, cannot play
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise RecipeError(f"device: {name!r} is not on this machine: use auto or cpu") from error
    return device
