"""A trained generator by itself: G(z), and samples that follow from a seed, without the game that made it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from zerosum import recipe as recipes
from zerosum.data.codec import Codec
from zerosum.data.columns import Columns
from zerosum.data.sheet import Sheet
from zerosum.game.pair import Pair
from zerosum.game.prior import Prior, numbered_classes, numbered_noise
from zerosum.networks.table import Heads
from zerosum.randomness import stream
from zerosum.recipe import Component, Recipe, RecipeError
from zerosum.run.datacard import DataCard
from zerosum.sampling.prior import SamplingError
from zerosum.text import printable

if TYPE_CHECKING:
    from zerosum.run.run import Run

__all__ = ["Generator", "settled"]

_NUMBERS = 2**16  # samples are made a batch of the game at a time, or as many as have this many numbers,
_MOST = 1024  # if these are more, but never more than this: so activations stay below those of a turn
_ROWS, _NUMBERS_OF_ROWS = 8192, 2**21  # the same of rows of a table, which are small and are decoded together
_SETTLED = 2**15  # rows that show the margins of what G makes, unless they are wide

Conditions = Callable[[int, int], Tensor | None]
"""(n, first) -> the conditions of the samples first, ..., first + n - 1."""


def settled(game: Pair, codec: Codec, live: bool = False) -> nn.Module:
    """G of a game as samples are made with it: of the ranks of a table a copy with the margins of the data
    (`Heads.settled`), else the network itself. live: that which plays, in place of the average."""
    network = game.G.network if live or game.G.average is None else game.G.average
    if not isinstance(network, Heads) or not isinstance(codec, Columns) or not codec.ranks:
        return network
    version = game.step, sum(weight._version for weight in network.parameters())  # what changes one counts it
    if _KEPT.get(network, (None,))[0] != version:
        n = max(_MOST, min(_SETTLED, 8 * _NUMBERS_OF_ROWS // math.prod(codec.shape)))
        z = game.prior((n, *game.latent), stream("margins", device=game.device), game.dtype)
        y = game.conditions(n)
        shares, given = torch.tensor(codec.shares), [] if y is None else [y]
        one = network.settled(z, shares, *given, squares=codec.squares).eval()
        _KEPT[network] = version, one
    return _KEPT[network][1]


_KEPT: WeakKeyDictionary[nn.Module, tuple[Any, nn.Module]] = WeakKeyDictionary()


class Generator(nn.Module):
    """G(z) or G(z, y), always in evaluation mode, and what it takes to sample from it and keep what it makes.

    network: z ``[n, *latent]`` (, y) -> x ``[n, *shape]``. data: what a run keeps of its data: the codec, and
    the names of classes and how often each occurs. batch: examples in a turn of its game, the measure of how
    many are made at a time. label: what the column of classes is called in a table. component, inputs,
    prior_name: what network and prior are built from, for an export. recipe: of the run, whose data may be
    asked for. about: facts for a reader. trusted: whether code that the recipe names may be imported.

    Sample i of a seed follows from (seed, i) alone: asked for more, or in another form of file, it stays the
    same but, through the order of additions in a network, for the last bits.
    """

    def __init__(
        self,
        network: nn.Module,
        latent: Sequence[int],
        prior: Prior,
        data: DataCard,
        conditional: bool = False,
        batch: int = 64,
        label: str = "class",
        component: Component | None = None,
        inputs: Sequence[int] | None = None,
        prior_name: Component = "normal",
        recipe: Recipe | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.latent = tuple(latent)
        self.prior = prior
        self.data = data
        self.conditional = conditional
        self.batch = batch
        self.label = label
        self.component = component
        self.inputs = tuple(inputs or latent)
        self.prior_name = prior_name
        self.recipe = recipe
        self.about = dict(about or {})
        self.trusted = True
        self.notes: list[str] = []

    @classmethod
    def of(cls, run: Run, live: bool = False) -> Self:
        """The generator of a run: the running average of its weights, unless `live` or where there is
        none."""
        game, recipe = run.game, run.recipe
        network = settled(game, run.data.codec, live)
        data = recipe.data if isinstance(recipe.data, Mapping) else {}
        G = cls(
            network,
            game.latent,
            game.prior,
            run.data,
            conditional=game.conditional,
            batch=max(1, game.batch // game.accumulate),
            label=str(data.get("label") or "class"),
            component=recipes.resolved(recipe)["G"],
            inputs=(recipe.latent,),
            prior_name=recipe.prior,
            recipe=recipe,
            about={"recipe": recipe.name, "step": game.step},
        )
        G.notes = list(run.notes)
        return G

    # what it is -----------------------------------------------------------------------------------------

    @property
    def codec(self) -> Any:
        return self.data.codec

    @property
    def shape(self) -> tuple[int, ...]:
        return self.codec.shape

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes that can be asked for; none of an unconditional generator."""
        names = tuple(self.data.class_names) or tuple(map(str, range(self.data.classes)))
        return names if self.conditional else ()

    @property
    def shares(self) -> tuple[float, ...]:
        """How often each class occurs."""
        return tuple(self.data.class_shares or [1.0] * len(self.classes)) if self.classes else ()

    @property
    def of_images(self) -> bool:
        return self.codec.state_dict()["codec"] == "pixels"

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def part(self) -> int:
        """How many samples are made at a time."""
        if isinstance(self.codec, Columns):
            return max(self.batch, min(_ROWS, _NUMBERS_OF_ROWS // math.prod(self.shape)))
        return max(self.batch, min(_MOST, _NUMBERS // math.prod(self.shape)))

    def __repr__(self) -> str:
        facts = ", ".join(
            f"{name} {printable(self.about[name])}" for name in ("recipe", "step") if name in self.about
        )
        kinds = f"{self.latent} -> {self.shape} {self.codec.state_dict()['codec']}"
        classes = f", {len(self.classes)} classes" if self.classes else ""
        weights = sum(p.numel() for p in self.network.parameters())
        return f"Generator({kinds}{classes}, {weights:,} weights; {facts})"

    def class_number(self, name: int | str) -> int:
        """The number of a class, by its name in the data, or by itself where the names are no numbers.

        Raises SamplingError for another.
        """
        if str(name) in self.classes:
            return self.classes.index(str(name))
        numbered = str(name).isdecimal() and int(name) < len(self.classes)
        if numbered and not any(map(str.isdecimal, self.classes)):
            return int(name)
        if not self.classes:
            raise SamplingError(f"class {printable(name)}: this generator makes no classes: leave it out")
        names = ", ".join(map(printable, self.classes[:20])) + (", ..." if len(self.classes) > 20 else "")
        raise SamplingError(f"class {printable(name)}: the {len(self.classes)} classes are called {names}")

    # its data -------------------------------------------------------------------------------------------

    def source(self) -> Any:
        """The data that the run was trained on, read anew. Raises SamplingError where they cannot be had."""
        if self.recipe is None:
            raise SamplingError("the data of a generator that was exported are not at hand: name its run")
        try:
            with recipes.imports(self.trusted):
                return recipes.build_source(self.recipe)
        except (RecipeError, OSError) as error:
            raise SamplingError(f"the run's data cannot be had: {error}") from error

    def real(self, n: int) -> Tensor | None:
        """`n` real examples to draw below samples that are no images; None where they cannot be had."""
        if self.of_images:
            return None
        try:
            x = self.source().batch(0, n)[0]
        except ValueError:
            return None
        return x if tuple(x.shape[1:]) == self.shape else None

    @property
    def mirrored(self) -> bool:
        """Whether the players saw images mirrored too: the data or an augmentation of D has ``flip:
        true``."""
        with recipes.imports(self.trusted):
            tree = recipes.resolved(self.recipe) if self.recipe is not None else {}
        return any(path.endswith(".flip") and value is True for path, value in recipes.leaves(tree))

    # what it makes --------------------------------------------------------------------------------------

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """x ``[n, *shape]`` as D sees them; y: class numbers ``[n]``, or whatever the conditions are."""
        training = self.network.training  # of a game that is played on
        self.network.eval()
        try:
            return self.network(z, y) if self.conditional else self.network(z)
        finally:
            self.network.train(training)

    def noise(self, n: int, seed: int = 0, first: int = 0) -> Tensor:
        """z of the samples first, ..., first + n - 1 of this seed, ``[n, *latent]``."""
        dtype = next(self.network.parameters()).dtype
        z = numbered_noise(self.prior, self.latent, n, seed, first, self.device, dtype)
        is_drawn = isinstance(self.network, Heads) and isinstance(self.codec, Columns)
        return self.codec.with_rare(z, seed, first) if is_drawn else z

    def conditions(self, n: int, seed: int = 0, first: int = 0) -> Tensor | None:
        """y of the same samples: each class as often as the data have it; None where there are none.

        Raises SamplingError where conditions are no classes: these have to be given.
        """
        if not self.conditional:
            return None
        if not self.classes:
            raise SamplingError("the conditions of this generator are no classes: give y, some of the data's")
        return numbered_classes(self.shares, n, seed, first)

    @torch.no_grad()
    def parts(
        self,
        n: int,
        seed: int = 0,
        conditions: Conditions | None = None,
        move: Callable[[Tensor], Tensor] = lambda z: z,
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """`n` samples x ``[m, *shape]`` and their y, part by part. move: what is done to z before."""
        conditions = conditions or (lambda n, first: self.conditions(n, seed, first))
        for first in range(0, n, self.part):
            some = min(self.part, n - first)
            y = conditions(some, first)
            on_device = None if y is None else y.to(self.device)
            yield self(move(self.noise(some, seed, first)), on_device).float(), y

    def sample(self, n: int, seed: int = 0, y: Any = None) -> Any:
        """`n` samples in the form that people keep, as `zerosum sample` writes them.

        Images: uint8 ``[n, H, W]`` or ``[n, H, W, C]``. Tables: a `Sheet` (``.to_pandas()``) in their own
        units. Else float32 ``[n, *shape]``. y: a class by name or number, n of them, or a tensor of
        conditions; as the data have them unless given.
        """
        wanted = None if y is None else self.to_conditions(y, n)
        conditions = None if wanted is None else (lambda m, first: wanted[first : first + m])
        parts: list[Any] = []
        first = 0
        for x, _ in self.parts(n, seed, conditions):
            parts.append(self.decode(x, first))
            first += len(x)
        return Sheet.joined(parts) if isinstance(self.codec, Columns) else np.concatenate(parts)

    def decode(self, x: Tensor, first: int = 0) -> Any:
        """What G makes, as people keep it. first: how many samples there are before these."""
        return self.codec.decode(x, first) if isinstance(self.codec, Columns) else self.codec.decode(x)

    def to_conditions(self, y: Any, n: int) -> Tensor:
        """y as `sample` takes it, as a tensor."""
        if isinstance(y, Tensor):
            return y
        names = [y] * n if isinstance(y, str | int) else list(y)
        if len(names) != n:
            raise SamplingError(f"y has {len(names)} classes for {n} samples")
        return torch.tensor([self.class_number(name) for name in names])
