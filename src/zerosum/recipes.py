"""Recipes: all the choices of a run, as data. This is the only place where strings become objects.

A recipe is a frozen dataclass of numbers and *parts*. A part is a mapping with a ``name`` and the arguments of the function it names,
such as ``{name: r1, weight: 0.1}``; a name alone stands for the part with no arguments. A short name is looked up in its home module's
``__all__``; ``package.module:attribute`` imports your own. Parts nest: whatever a function takes as an argument may be a part.

The preset table at the end holds differences from the defaults only; `resolved` writes every default out.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Lt

__all__ = [
    "PRESETS",
    "Recipe",
    "RecipeError",
    "build_data",
    "build_game",
    "build_source",
    "differences",
    "dump",
    "data_part",
    "load",
    "resolved",
    "suggest",
    "value",
]

Part = str | dict[str, Any]


class RecipeError(ValueError):
    """A recipe that cannot be: one line that names the field, the cause and what to do."""


@dataclass(frozen=True)
class Recipe:
    """All the choices of a run."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 (pydantic reads it; it is no field)

    name: str = "unnamed"
    """what the run is called"""
    about: str = ""
    """what this recipe is for, in a line"""
    data: Part = "ring"
    """real examples: a name (ring, digits, mnist, ...) with its options, or a folder"""
    G: Part = "mlp"
    """generator network: z -> x"""
    D: Part = "mlp"
    """discriminator network: x -> logit"""
    latent: Annotated[int, Gt(0)] = 64
    """numbers in a noise vector z"""
    prior: Part = "normal"
    """distribution of z: normal, or uniform (on [-sqrt 3, sqrt 3], as in 2014)"""
    objective: Part = "nonsaturating"
    """the pair of losses"""
    penalties: tuple[Part, ...] = ()
    """regularisers of D"""
    g_optimizer: Part = "adam"
    """what moves G"""
    d_optimizer: Part = "adam"
    """what moves D"""
    steps: Annotated[int, Gt(0)] = 10_000
    """turns to play: each is k steps of D and one of G"""
    batch: Annotated[int, Gt(0)] = 128
    """examples per step"""
    k: Annotated[int, Gt(0)] = 1
    """steps of D for each step of G"""
    simultaneous: bool = False
    """move both players from the same point, instead of D first"""
    accumulate: Annotated[int, Gt(0)] = 1
    """parts into which a batch is split to save memory"""
    ema: Annotated[float, Ge(0), Lt(1)] | None = 0.999
    """decay of the averaged generator; null for none"""
    centre: bool = False
    """start G's output at the mean of the data (2014: bias from the pixel marginals)"""
    seed: Annotated[int, Ge(0), Lt(2**63)] = 0
    """where all randomness starts"""
    threads: Annotated[int, Ge(0), Le(1024)] = 0
    """processor threads; 0 leaves the choice to torch"""
    device: str = "auto"
    """auto (an accelerator if there is one), cpu, cuda, ..."""
    log_every: Annotated[int, Gt(0)] = 100
    """turns between two lines of metrics.jsonl"""
    sample_every: Annotated[int, Gt(0)] = 1_000
    """turns between two pictures in samples/"""
    checkpoint_every: Annotated[int, Gt(0)] = 1_000
    """turns between two checkpoints"""
    keep: Annotated[int, Gt(0)] = 3
    """checkpoints kept"""


FREE = {"name", "about", "steps", "device", "log_every", "sample_every", "checkpoint_every", "keep"}
"""Fields that do not change the path of the game, so that a resumed run may differ in them."""

_HOMES = {
    "data": "zerosum.data",
    "G": "zerosum.networks",
    "D": "zerosum.networks",
    "prior": "zerosum.game",
    "objective": "zerosum.objectives",
    "penalties": "zerosum.penalties",
    "g_optimizer": "zerosum.optimizers",
    "d_optimizer": "zerosum.optimizers",
    "lr": "zerosum.schedules",
    "momentum": "zerosum.schedules",
    "weight": "zerosum.schedules",
    "activation": "torch.nn",
    "output": "torch.nn",
    "norm": "torch.nn",
}
_HANDED = {"activation", "output", "norm", "prior"}
"""Arguments that are handed over as functions, where other parts are called."""
_GIVEN = {"inputs", "outputs", "seed"}
"""Arguments that the run supplies: a part does not set them."""


# names -> objects ---------------------------------------------------------------------------------------------------------


def _find(name: str, home: str, where: str) -> Callable[..., Any]:
    """The function called `name`: of the home module's ``__all__``, or ``package.module:attribute``."""
    module, _, attribute = name.rpartition(":")
    if module:
        try:
            return getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise RecipeError(f"{where}: cannot import {name!r}: {error}") from error
    known = import_module(home)
    public: Sequence[str] = getattr(known, "__all__", None) or [
        n for n in dir(known) if not n.startswith("_")
    ]
    if name.replace("-", "_") not in public:
        raise RecipeError(f"{where}: nothing is called {name!r} in {home}{suggest(name, public)}")
    return getattr(known, name.replace("-", "_"))


def suggest(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; there is {', '.join(sorted(known)[:20])}"


def _as_part(value: Part, where: str) -> dict[str, Any]:
    part = {"name": value} if isinstance(value, str) else dict(value)
    if not isinstance(part.get("name"), str):
        raise RecipeError(f"{where}: a part needs a name, such as {{name: mlp, width: 256}}: got {value!r}")
    return part


def _make(value: Part, where: str, home: str) -> partial[Any]:
    """The function that a part names, with the part's arguments checked and bound."""
    part = _as_part(value, where)
    function = _find(part.pop("name"), home, where)
    hints = _hints(function)
    bound = {}
    for key, argument in part.items():
        path = f"{where}.{key}"
        if key not in hints and not _takes_any(function):
            raise RecipeError(
                f"{where}: {_name_of(function)} has no option {key!r}{suggest(key, list(hints))}"
            )
        bound[key] = _argument(argument, hints.get(key, Any), path, _HOMES.get(key, home), key in _HANDED)
    return partial(function, **bound)


def _argument(value: Any, hint: Any, where: str, home: str, handed: bool) -> Any:
    """An argument as its function wants it: a part made (and called, unless it is handed over), a plain value checked."""
    if isinstance(value, dict) or (handed and isinstance(value, str)):
        made = _make(value, where, home)
        if handed:
            return made if made.keywords else made.func
        return call(made, where)
    return _checked(value, hint, where)


def _checked(value: Any, hint: Any, where: str) -> Any:
    from pydantic import ConfigDict, TypeAdapter, ValidationError
    from pydantic.errors import PydanticUserError

    try:
        return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True)).validate_python(value)
    except PydanticUserError:  # a type that takes no configuration
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        raise RecipeError(f"{where}: {_sentence(error)}") from error


def _sentence(error: Any) -> str:
    first = error.errors()[0]
    return f"{first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}"


def call(made: partial[Any], where: str, **given: Any) -> Any:
    """Call a made part; what its function finds wrong is said in one line that names the field."""
    try:
        return made(**given)
    except (ValueError, TypeError, RuntimeError, OSError) as error:
        raise RecipeError(f"{where}: {str(error).splitlines()[0]}") from error


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The arguments of a function that a part may set, with their types where they are annotated."""
    parameters = inspect.signature(function).parameters.values()
    try:
        types = typing.get_type_hints(function.__init__ if inspect.isclass(function) else function)
    except (NameError, TypeError):  # annotations of foreign code that name what is not imported
        types = {}
    named = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    return {p.name: types.get(p.name, Any) for p in named if p.name not in _GIVEN}


def _takes_any(function: Callable[..., Any]) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values())


def _name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", str(function))


# recipe -> game -----------------------------------------------------------------------------------------------------------


def build_source(recipe: Recipe) -> Any:
    """The source that the recipe's `data` names."""
    return build_data(recipe.data, recipe.seed)


def build_data(part: Part, seed: int = 0) -> Any:
    """The source that a part names."""
    return call(_make(part, "data", _HOMES["data"]), "data", seed=seed)


def build_game(recipe: Recipe, shape: tuple[int, ...], mean: Any = None) -> Any:
    """The game of a recipe for examples of this shape, on the recipe's device; its weights follow from the seed.

    mean: the mean of the data, ``[*shape]``, which `centre` starts G's output at.
    """
    import torch

    from zerosum.game import Game
    from zerosum.randomness import key

    def part(name: str) -> partial[Any]:
        return _make(getattr(recipe, name), name, _HOMES[name])

    device = _device(recipe.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(recipe.seed, "init"))
        G = call(part("G"), "G", inputs=(recipe.latent,), outputs=shape)
        D = call(part("D"), "D", inputs=shape, outputs=())
    if recipe.centre and mean is not None:
        G.centre(mean)
    penalties = [
        call(_make(p, f"penalties.{i}", _HOMES["penalties"]), "penalties")
        for i, p in enumerate(recipe.penalties)
    ]
    try:
        return Game(
            G.to(device),
            D.to(device),
            call(part("objective"), "objective"),
            penalties,
            latent=recipe.latent,
            prior=_argument(recipe.prior, Any, "prior", _HOMES["prior"], handed=True),
            optimizers=(call(part("g_optimizer"), "g_optimizer"), call(part("d_optimizer"), "d_optimizer")),
            batch=recipe.batch,
            k=recipe.k,
            simultaneous=recipe.simultaneous,
            ema=recipe.ema,
            accumulate=recipe.accumulate,
            seed=recipe.seed,
        )
    except ValueError as error:
        raise RecipeError(str(error)) from error


def _device(name: str) -> Any:
    import torch

    if name == "auto":
        return (
            torch.accelerator.current_accelerator()
            if torch.accelerator.is_available()
            else torch.device("cpu")
        )
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise RecipeError(f"device: {name!r} is not on this machine: use auto or cpu") from error
    return device


# reading and writing ------------------------------------------------------------------------------------------------------


def load(name: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """A preset by its name, or a YAML file with differences from a preset (its `recipe`) or from the defaults.

    overrides: dotted paths to values, such as ``{"G.width": 128, "penalties.0.weight": 1.0}``.
    Raises RecipeError naming the field, with the nearest known name where it is misspelt.
    """
    tree = _tree(name)
    for path, value in (overrides or {}).items():
        _set(tree, path, value)
    return _validated(tree)


def _tree(name: str) -> dict[str, Any]:
    if name in PRESETS:
        return {**_copied(PRESETS[name]), "name": name}
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        raise RecipeError(f"no recipe is called {name!r}{suggest(name, list(PRESETS))}; or give a .yaml file")
    changes = _read(path)
    below = _tree(changes.pop("recipe")) if "recipe" in changes else {}
    return {**below, "name": path.stem, **changes}


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_loader())
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise RecipeError(f"{path} is not a recipe: it should hold `field: value` lines")
    return tree


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _copied(v) for k, v in value.items()}
    return [_copied(v) for v in value] if isinstance(value, list | tuple) else value


def _set(tree: dict[str, Any], path: str, value: Any) -> None:
    """Set a dotted path: a field, an option of a part (a name alone becomes a part), or an item of a list."""
    head, *rest = path.split(".")
    known = [f.name for f in fields(Recipe)]
    if head not in known:
        raise RecipeError(f"a recipe has no field {head!r}{suggest(head, known)}")
    if head not in tree:
        tree[head] = _copied(next(f.default for f in fields(Recipe) if f.name == head))
    node: Any = tree
    for step, following in zip([head, *rest], rest, strict=False):
        key = _index(node, step, path)
        if isinstance(node[key], str):
            node[key] = {"name": node[key]}
        if not isinstance(node[key], dict | list):
            raise RecipeError(f"{path}: {step!r} is {node[key]!r}, which has no {following!r}")
        node = node[key]
        if isinstance(node, dict):
            node.setdefault(following, None)
    node[_index(node, [head, *rest][-1], path)] = value


def _index(node: Any, step: str, path: str) -> Any:
    if isinstance(node, dict):
        return step
    if not step.isdigit() or int(step) >= len(node):
        raise RecipeError(f"{path}: {step!r} is not one of the {len(node)} items (count from 0)")
    return int(step)


def _validated(tree: dict[str, Any]) -> Recipe:
    from pydantic import TypeAdapter, ValidationError

    known = [f.name for f in fields(Recipe)]
    for name in tree:
        if name not in known:
            raise RecipeError(f"a recipe has no field {name!r}{suggest(name, known)}")
    try:
        return TypeAdapter(Recipe).validate_python(tree)
    except ValidationError as error:
        place = ".".join(str(p) for p in error.errors()[0]["loc"] if p not in ("str", "dict[str,any]"))
        raise RecipeError(f"{place}: {_sentence(error)}") from error


def resolved(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain data with every default written out, also those of its parts."""
    tree = asdict(recipe)
    for name in [name for name in _HOMES if name in tree]:
        if name == "penalties":
            tree[name] = [_complete(p, f"{name}.{i}", _HOMES[name]) for i, p in enumerate(tree[name])]
        else:
            tree[name] = _complete(tree[name], name, _HOMES[name])
    return tree


def _complete(value: Part, where: str, home: str) -> Any:
    part = _as_part(value, where)
    function = _find(part["name"], home, where)
    defaults = {
        p.name: p.default for p in inspect.signature(function).parameters.values() if p.default is not p.empty
    }
    full = {"name": part["name"]}
    for key, argument in {**defaults, **part}.items():
        if key in _GIVEN or key == "name":
            continue
        is_part = isinstance(argument, dict) or (key in _HANDED and isinstance(argument, str))
        full[key] = (
            _complete(argument, f"{where}.{key}", _HOMES.get(key, home)) if is_part else _plain(argument)
        )
    return (
        part["name"]
        if len(full) == 1 or where.rsplit(".", 1)[-1] in _HANDED and isinstance(value, str)
        else full
    )


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return getattr(value, "__name__", str(value)) if callable(value) else value


def dump(recipe: Recipe) -> str:
    """The resolved recipe as YAML; `load` of it gives an equal game."""
    import yaml

    return yaml.safe_dump(
        resolved(recipe), sort_keys=False, allow_unicode=True, default_flow_style=None, width=110
    )


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What changed between two resolved recipes, a line each, but for the fields that do not change the game."""
    a, b = dict(_flat(old)), dict(_flat(new))
    changed = [path for path in {**a, **b} if a.get(path) != b.get(path) and path.split(".")[0] not in FREE]
    return [f"{path}: {a.get(path)!r} -> {b.get(path)!r}" for path in changed]


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    children = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else None
    )
    if children is None:
        yield path, value
        return
    for key, child in children:
        yield from _flat(child, f"{path}.{key}" if path else str(key))


# from the command line ----------------------------------------------------------------------------------------------------


def value(text: str) -> Any:
    """A value typed on the command line, read as YAML: 3, 1e-3, true, null, [0.0, 0.99], {name: r1, weight: 0.1}."""
    import yaml

    try:
        return yaml.load(text, Loader=_loader())
    except yaml.YAMLError as error:
        raise RecipeError(f"{text!r} is not a value: {' '.join(str(error).split())}") from error


def data_part(text: str) -> Part:
    """What --data means: a name, ``package.module:function``, or a folder of IDX files."""
    from zerosum import data

    path = Path(text)
    if text.replace("-", "_") in data.__all__ or (":" in text and not path.exists()):
        return {"name": text}
    if path.is_dir():
        return {"name": "idx_folder", "path": str(path)}
    sources = [
        name for name in data.__all__ if name.islower() and name not in ("order", "idx_folder", "to_bytes")
    ]
    raise RecipeError(f"--data {text}: neither a folder nor a name of data{suggest(text, sources)}")


def _loader() -> Any:
    """YAML 1.1's safe loader, with the floats of YAML 1.2: 1e-3 is a number."""
    import re

    import yaml

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
        list("-+.0123456789"),
    )
    return Loader


# the presets: differences from the defaults -------------------------------------------------------------------------------


def _annealed(name: str, start: float, end: float, steps: int) -> dict[str, Any]:
    """A penalty whose weight falls geometrically: first find every mode, then be exact (R3GAN anneals its gamma so)."""
    return {
        "name": name,
        "weight": {"name": "ramp", "start": start, "end": end, "steps": steps, "shape": "geometric"},
    }


def _cooled(lr: float, steps: int, betas: tuple[float, float] = (0.0, 0.99)) -> dict[str, Any]:
    """Adam whose learning rate falls to a twentieth along a half cosine."""
    fall = {"name": "ramp", "start": lr, "end": lr / 20, "steps": steps, "shape": "cosine"}
    return {"name": "scheduled", "base": {"name": "adam", "lr": lr, "betas": list(betas)}, "lr": fall}


_TOY = {
    "latent": 2,
    "G": {"name": "mlp", "width": 128, "depth": 3},
    "objective": "relativistic_pairing",
    "threads": 1,
    "sample_every": 500,
}
_VANILLA = {
    "data": "ring",
    "latent": 2,
    "G": {"name": "mlp", "width": 128, "depth": 3},
    "D": {"name": "mlp", "width": 128, "depth": 3, "gain": 10.0},
    "g_optimizer": {"name": "adam", "lr": 1e-3},
    "d_optimizer": {"name": "adam", "lr": 1e-3},
    "batch": 256,
    "ema": None,
    "steps": 6_000,
    "threads": 1,
}
_SGD_2014 = {
    "name": "scheduled",
    "base": {"name": "sgd", "lr": 0.1, "momentum": 0.5},
    # divided by 1.000004 at each update, down to 1e-6
    "lr": {"name": "ramp", "start": 0.1, "end": 1e-6, "steps": 2_878_237, "shape": "geometric"},
    # 0.5 in epochs 0 and 1, then rising at the start of each epoch, to 0.7 in epoch 250
    "momentum": {"name": "ramp", "start": 0.5, "end": 0.7, "begin": 500, "steps": 124_500, "every": 500},
}

PRESETS: dict[str, dict[str, Any]] = {
    "digits": {
        "about": "1,797 real handwritten digits of 8 x 8 pixels: the first thing to try",
        "data": "digits",
        "latent": 64,
        "G": {"name": "mlp", "width": 256, "depth": 3, "output": "Tanh"},
        "D": {
            "name": "mlp",
            "width": 256,
            "depth": 3,
            "activation": {"name": "LeakyReLU", "negative_slope": 0.2},
        },
        "penalties": [{"name": "r1", "weight": 1.0}],
        "g_optimizer": _cooled(1e-3, 6_000),
        "d_optimizer": _cooled(1e-3, 6_000),
        "steps": 6_000,
    },
    "ring": {
        **_TOY,
        "about": "8 narrow Gaussians on a ring, PacGAN's test of mode collapse",
        "data": "ring",
        "D": {"name": "mlp", "width": 128, "depth": 3, "gain": 10.0},
        "penalties": [_annealed("r1", 0.1, 5e-5, 8_400), _annealed("r2", 0.1, 5e-5, 8_400)],
        "g_optimizer": _cooled(1e-3, 12_000),
        "d_optimizer": _cooled(1e-3, 12_000),
        "steps": 12_000,
    },
    "grid": {
        **_TOY,
        "about": "25 narrow Gaussians on a grid, PacGAN's harder test of mode collapse",
        "data": "grid",
        "D": {"name": "mlp", "width": 128, "depth": 3, "gain": 2.5},
        "penalties": [_annealed("r1", 5.0, 1e-3, 10_500), _annealed("r2", 5.0, 1e-3, 10_500)],
        "g_optimizer": _cooled(1e-3, 15_000),
        "d_optimizer": _cooled(1e-3, 15_000),
        "steps": 15_000,
    },
    "vanilla-minimax": {
        **_VANILLA,
        "about": "the saturating game of 2014 on a ring, with nothing to help it: watch it fail",
        "objective": "minimax",
    },
    "vanilla-nonsaturating": {
        **_VANILLA,
        "about": "the generator loss that 2014 trained with, on a ring, with nothing to help it",
        "objective": "nonsaturating",
    },
    "goodfellow2014": {
        "about": "Goodfellow et al. (2014) on MNIST as published: maxout, dropout, SGD with momentum, both at once",
        "data": {"name": "mnist", "split": "fit", "low": 0.0},
        "latent": 100,
        "prior": "uniform",
        "G": {"name": "mlp", "width": 1200, "depth": 2, "output": "Sigmoid", "init": 0.05},
        "D": {
            "name": "maxout",
            "units": 240,
            "pieces": 5,
            "depth": 2,
            "dropout": 0.5,
            "dropout_in": 0.2,
            "init": 0.005,
        },
        "objective": {"name": "nonsaturating", "d_weight": 0.5},
        "g_optimizer": _SGD_2014,
        "d_optimizer": _SGD_2014,
        "simultaneous": True,
        "centre": True,
        "batch": 100,
        "ema": None,
        "steps": 125_000,
    },
}
