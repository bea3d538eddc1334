"""The schema of a recipe: every choice of a run as a field, with its default and its limits."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, NotRequired

from annotated_types import Ge, Gt, Le, Lt, Predicate
from typing_extensions import TypedDict

from zerosum.text import facts_html

__all__ = ["RESUMABLE_FIELDS", "Component", "Recipe", "RecipeError", "Start"]

Component = str | dict[str, Any]
Time = Annotated[str, Predicate(lambda text: bool(re.fullmatch(r"[0-9]{1,4}(\.[0-9]+)?[mh]", text)))]
"""Minutes or hours: 90m, 1.5h."""


class Start(TypedDict):
    """A checkpoint of another run; without a step its newest. digest: of that checkpoint."""

    __pydantic_config__ = {"extra": "forbid"}  # type: ignore[misc]  # noqa: RUF012 (as below)
    run: str
    step: NotRequired[Annotated[int, Ge(0)]]
    digest: NotRequired[str]


class RecipeError(ValueError):
    """A recipe that cannot be: one line that names the field, the cause and what to do."""

    exit_code = 2


@dataclass(frozen=True)
class Recipe:
    """All the choices of a run."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 (pydantic reads it; it is no field)

    name: str = "unnamed"
    """what the run is called"""
    about: str = ""
    """what the recipe is for, in a line; it goes when the recipe is changed"""
    data: Component = "ring"
    """real examples: a name (ring, digits, mnist, ...) with its options, or a folder"""
    G: Component = "mlp"
    """generator network: z -> x"""
    D: Component = "mlp"
    """discriminator network: x -> logit"""
    latent: Annotated[int, Gt(0), Le(2**20)] = 64
    """numbers in a noise vector z"""
    prior: Component = "normal"
    """distribution of z, of unit variance: normal, uniform (as in 2014), mixture (2^latent narrow ones)"""
    objective: Component = "nonsaturating"
    """the pair of losses"""
    penalties: tuple[Component, ...] = ()
    """regularisers of D"""
    g_optimizer: Component = "adam"
    """what moves G"""
    d_optimizer: Component = "adam"
    """what moves D"""
    steps: Annotated[int, Gt(0)] | Time = 10_000
    """turns to play: each is k steps of D and one of G; or a time, 90m or 1.5h: as many as fit, by a trial"""
    batch: Annotated[int, Gt(0), Le(2**20)] = 128
    """examples per step"""
    k: Annotated[int, Gt(0), Le(10_000)] = 1
    """steps of D for each step of G"""
    simultaneous: bool = False
    """move both players from the same point, instead of D first"""
    accumulate: Annotated[int, Gt(0)] = 1
    """parts into which a batch is split to save memory"""
    shard: bool = False
    """under torchrun: each process keeps its part of the players, which then may be larger than one holds"""
    ema: Annotated[float, Ge(0), Lt(1)] | dict[str, Any] | None = 0.999
    """decay of the averaged generator, or its schedule; null for none"""
    conditional: bool = False
    """play with the data's labels: G makes what is asked for, D judges whether it is that"""
    start: Start | None = None
    """{run: RUN}: begin with its weights, as `train --from RUN` does, which adds the step and a digest"""
    centre: bool = False
    """start G's output at the mean of the data (2014: bias from the pixel marginals)"""
    seed: Annotated[int, Ge(0), Lt(2**63)] = 0
    """where all randomness starts"""
    scale: Literal["cpu", "gpu"] = "cpu"
    """the machine that a preset is sized for: two processor cores, or one accelerator"""
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    """fp32; bf16: networks under bfloat16 autocast, all else in float32; auto: what a short trial finds"""
    compile: bool | Literal["auto"] = False
    """on: gradients as machine code, some seconds at the start; auto: where the run is long enough"""
    threads: Annotated[int, Ge(0), Le(1024)] = 0
    """processor threads; 0 leaves the choice to torch, or to the trial of precision: auto"""
    device: str = "auto"
    """auto (an accelerator if there is one), cpu, cuda, ..."""
    watch: Literal["none", "standard", "thorough"] = "standard"
    """instruments that look on: standard costs a few hundredths of the time, thorough seconds a reading"""
    instruments: tuple[Component, ...] = ()
    """instruments of your own, beside those of watch"""
    faults: tuple[Component, ...] = ()
    """faults of your own that the diagnosis looks for: functions (history, facts) -> Finding or None"""
    log_every: Annotated[int, Gt(0)] = 100
    """turns between two lines of metrics.jsonl"""
    sample_every: Annotated[int, Gt(0)] = 1_000
    """turns between two pictures in samples/"""
    checkpoint_every: Annotated[int, Gt(0)] = 1_000
    """turns between two checkpoints"""
    keep: Annotated[int, Gt(0)] = 3
    """checkpoints kept"""

    @property
    def turns(self) -> int:
        """`steps` as a number; for a time that no trial has settled yet, a number to build a game with."""
        return self.steps if isinstance(self.steps, int) else 10_000

    @property
    def seconds(self) -> float:
        """`steps` as a time; 0 where it is a number."""
        if isinstance(self.steps, int):
            return 0.0
        return float(self.steps[:-1]) * (3600 if self.steps.endswith("h") else 60)

    def _repr_html_(self) -> str:
        """For notebooks: the choices that differ from the defaults."""
        chosen = [(f.name, getattr(self, f.name), f.default) for f in fields(self)]
        facts = {name: x for name, x, default in chosen if x != default and name not in ("name", "about")}
        return facts_html(f"{self.name}: {self.about}" if self.about else self.name, facts)


RESUMABLE_FIELDS = {
    *("name", "about", "steps", "scale", "device", "shard", "watch", "instruments", "faults"),
    *("log_every", "sample_every", "checkpoint_every", "keep"),
}
"""Fields that do not change the path of the game, so that a resumed run may differ in them."""
