"""Recipes: all the choices of a run, as data. This is the only place where strings become objects.

A recipe is a frozen dataclass of numbers and *parts*. A part is a mapping with a ``name`` and the arguments
of the function it names, such as ``{name: r1, weight: 0.1}``; a name alone stands for the part with no
arguments. A short name is looked up in its home module's ``__all__``; ``package.module:attribute`` imports
your own. Parts nest: whatever a function takes as an argument may be a part.

The run hands over what only it knows: ``seed`` to sources, ``inputs`` and ``outputs`` (shapes) to networks,
and to those of a conditional game ``classes``. So your own functions are ``source(seed=...)``,
``network(inputs=..., outputs=...)``, and for an objective, a penalty or an optimizer one that returns an
`Objective`, a `Penalty`, or a function from parameters to a torch optimizer.

So a recipe is a program: start, or open, only what you would run.

The preset table at the end holds differences from the defaults only; `resolved` writes every default out.
"""

from __future__ import annotations

import inspect
import traceback
import typing
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt

__all__ = [
    "PRESETS",
    "Recipe",
    "RecipeError",
    "build",
    "build_data",
    "build_game",
    "build_source",
    "changed",
    "data_part",
    "differences",
    "dump",
    "leaves",
    "load",
    "name_of",
    "resolved",
    "suggest",
    "value",
]

Part = str | dict[str, Any]


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
    ema: Annotated[float, Ge(0), Lt(1)] | dict[str, Any] | None = 0.999
    """decay of the averaged generator, or its schedule; null for none"""
    conditional: bool = False
    """play with the data's labels: G makes what is asked for, D judges whether it is that"""
    centre: bool = False
    """start G's output at the mean of the data (2014: bias from the pixel marginals)"""
    seed: Annotated[int, Ge(0), Lt(2**63)] = 0
    """where all randomness starts"""
    scale: Literal["cpu", "gpu"] = "cpu"
    """the machine that a preset is sized for: two processor cores, or one accelerator"""
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    """fp32; bf16: networks under bfloat16 autocast, all else in float32; auto: what a short trial finds"""
    compile: bool | Literal["auto"] = False
    """on: gradients by torch.compile, half a minute at the start; auto: where the run is long enough"""
    threads: Annotated[int, Ge(0), Le(1024)] = 0
    """processor threads; 0 leaves the choice to torch, or to the trial of precision: auto"""
    device: str = "auto"
    """auto (an accelerator if there is one), cpu, cuda, ..."""
    watch: Literal["none", "standard", "thorough"] = "standard"
    """instruments that look on: standard costs a few hundredths of the time, thorough seconds a reading"""
    log_every: Annotated[int, Gt(0)] = 100
    """turns between two lines of metrics.jsonl"""
    sample_every: Annotated[int, Gt(0)] = 1_000
    """turns between two pictures in samples/"""
    checkpoint_every: Annotated[int, Gt(0)] = 1_000
    """turns between two checkpoints"""
    keep: Annotated[int, Gt(0)] = 3
    """checkpoints kept"""


FREE = {
    *("name", "about", "steps", "scale", "device", "watch"),
    *("log_every", "sample_every", "checkpoint_every", "keep"),
}
"""Fields that do not change the path of the game, so that a resumed run may differ in them."""

_HOMES = {
    "data": "zerosum.data",
    "G": "zerosum.networks",
    "D": "zerosum.networks",
    "prior": "zerosum.game.prior",
    "objective": "zerosum.objectives",
    "penalties": "zerosum.penalties",
    "g_optimizer": "zerosum.optimizers",
    "d_optimizer": "zerosum.optimizers",
    "network": "zerosum.networks",
    "augment": "zerosum.networks",
    "base": "zerosum.optimizers",
    "lr": "zerosum.schedules",
    "momentum": "zerosum.schedules",
    "beta1": "zerosum.schedules",
    "beta2": "zerosum.schedules",
    "weight": "zerosum.schedules",
    "ema": "zerosum.schedules",
    "activation": "torch.nn",
    "output": "torch.nn",
    "norm": "torch.nn",
}
_HANDED = {"activation", "output", "norm", "prior", "network"}
"""Arguments that are handed over as functions, where other parts are called."""
_NAMED = _HANDED | {"base", "augment"}
"""Arguments for which a name alone is a part, and not a text."""
_GIVEN = {"inputs", "outputs", "classes", "seed"}
"""Arguments that the run supplies: a part does not set them."""


# names -> objects ---------------------------------------------------------------------------------------


def _find(name: str, home: str, where: str) -> Callable[..., Any]:
    """The function called `name`: of the home module's ``__all__``, or ``package.module:attribute``."""
    module, _, attribute = name.rpartition(":")
    if module:
        try:
            found = attrgetter(attribute)(import_module(module))
        except (Exception, SystemExit) as error:  # whatever a module of the user's does on being imported
            raise RecipeError(
                f"{where}: cannot import {name!r}: {_cause(error)} (not in {Path.cwd()} nor in PYTHONPATH)"
            ) from error
    else:
        known = import_module(home)
        public: Sequence[str] = getattr(known, "__all__", None) or [n for n in dir(known) if n[0] != "_"]
        if name.replace("-", "_") not in public:
            raise RecipeError(f"{where}: nothing is called {name!r} in {home}{suggest(name, public)}")
        found = getattr(known, name.replace("-", "_"))
    if not callable(found):
        raise RecipeError(
            f"{where}: {name!r} is {type(found).__name__}, where a function or a class is needed"
        )
    return found


def suggest(name: str, known: Sequence[str]) -> str:
    spelt = {word.lower(): word for word in known}
    near = get_close_matches(name.lower(), spelt, n=1, cutoff=0.5)
    return f"; did you mean {spelt[near[0]]!r}?" if near else f"; there is {', '.join(sorted(known)[:20])}"


def name_of(part: Part) -> str:
    return part if isinstance(part, str) else part["name"]


def _as_part(value: Part, where: str) -> dict[str, Any]:
    part = {"name": value} if isinstance(value, str) else dict(value)
    if not isinstance(part.get("name"), str):
        raise RecipeError(f"{where}: a part needs a name, such as {{name: mlp, width: 256}}: got {value!r}")
    return part


def _is_part(key: str, value: Any) -> bool:
    return isinstance(value, dict) or (key in _NAMED and isinstance(value, str))


def _make(value: Part, where: str, home: str) -> partial[Any]:
    """The function that a part names, with the part's arguments checked and bound."""
    part = _as_part(value, where)
    name = part.pop("name")
    function = _find(name, home, where)
    parameters, hints = _parameters(function), _hints(function)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    options = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    settable = [option for option in options if option not in _GIVEN]
    for key in part:
        if key not in settable and not takes_any:
            raise RecipeError(f"{where}: {name} has no option {key!r}{suggest(key, settable)}")
    bound = {
        key: _argument(key, argument, hints.get(key, Any), f"{where}.{key}", _HOMES.get(key, home))
        for key, argument in part.items()
    }
    return partial(function, **bound)


def _argument(key: str, value: Any, hint: Any, where: str, home: str) -> Any:
    """An argument as a function wants it: a value checked, a part made (and called, unless handed over)."""
    if not _is_part(key, value):
        return _checked(value, hint, where)
    made = _make(value, where, home)
    if key not in _HANDED:
        return call(made, where)
    return made if made.keywords else made.func


def _checked(value: Any, hint: Any, where: str) -> Any:
    from pydantic import ValidationError

    try:
        return _adapter(hint).validate_python(value)
    except ValidationError as error:
        raise RecipeError(f"{where}: {_sentence(error)}") from error


def _adapter(hint: Any) -> Any:
    """A check against a type; foreign code may be annotated with what nothing can be checked against."""
    from pydantic import ConfigDict, TypeAdapter
    from pydantic.errors import PydanticUserError

    for config in (ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False), None):
        try:
            return TypeAdapter(hint, config=config)
        except PydanticUserError:  # a type that takes no configuration, or that pydantic does not know
            continue
    return TypeAdapter(Any)


def _sentence(error: Any) -> str:
    first = error.errors()[0]
    return f"{first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}"


def call(made: Callable[..., Any], where: str, **given: Any) -> Any:
    """Call a made part; what its function finds wrong is said in one line that names the field."""
    try:
        return made(**given)
    except RecipeError:
        raise
    except Exception as error:  # whatever a function of the user's raises
        raise RecipeError(f"{where}: {_cause(error)}") from error


def _cause(error: BaseException) -> str:
    """One line: what a function says is wrong, or the type and place of an error it did not foresee."""
    text = " ".join(str(error).split())
    if isinstance(error, ValueError | TypeError | OSError):
        return text
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__]
    foreign = [f for f in frames if "importlib" not in f.filename]
    place = f" ({Path(foreign[-1].filename).name}, line {foreign[-1].lineno})" if foreign else ""
    return f"{type(error).__name__}: {text}{place}"


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # written in C, without a signature
        return [inspect.Parameter("options", inspect.Parameter.VAR_KEYWORD)]


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The types of a function's arguments, where they are annotated with what can be found."""
    try:
        return typing.get_type_hints(
            function.__init__ if inspect.isclass(function) else function, include_extras=True
        )
    except Exception:  # annotations of foreign code may name what is not imported
        return {}


# recipe -> game -----------------------------------------------------------------------------------------


def build_source(recipe: Recipe) -> Any:
    """The source that the recipe's `data` names."""
    return build_data(recipe.data, recipe.seed)


def build_data(part: Part, seed: int = 0) -> Any:
    """The source that a part names, looked at once: two examples are taken from it."""
    from zerosum import data

    made = call(_make(part, "data", _HOMES["data"]), "data", seed=seed)
    source = call(lambda: data.source(made, seed=seed), "data")
    x = call(lambda: source.batch(0, 2)[0], "data")
    if tuple(x.shape) != (2, *source.shape) or not x.is_floating_point():
        wanted = [2, *source.shape]
        raise RecipeError(f"data: batch(step, 2) should give floats {wanted}: got {x.dtype} {list(x.shape)}")
    return source


def build(recipe: Recipe, source: Any) -> Any:
    """The game of a recipe on its source."""
    mean = source.batch(0, 4096)[0].double().mean(0) if recipe.centre else None
    return build_game(recipe, source.shape, mean, classes=source.classes)


def build_game(
    recipe: Recipe, shape: tuple[int, ...], mean: Any = None, device: str | None = None, classes: int = 0
) -> Any:
    """The game of a recipe for examples of this shape; its weights follow from the seed.

    mean: the mean of the data, ``[*shape]``, which `centre` starts G's output at. device: in place of the
    recipe's. classes: of the data, which a conditional recipe plays with.
    """
    import torch
    from torch import nn

    from zerosum.game import Game
    from zerosum.objectives import Objective
    from zerosum.penalties import Penalty
    from zerosum.randomness import key

    def built(name: str, value: Part, kind: Any, **given: Any) -> Any:
        return _expected(call(_make(value, name, _HOMES[name.split(".")[0]]), name, **given), kind, name)

    def factory(name: str) -> Callable[..., Any]:
        made = built(name, getattr(recipe, name), Callable)
        return lambda parameters: call(partial(made, parameters), name)

    if recipe.conditional and classes < 2:
        raise RecipeError(
            f"conditional: the data have {classes} classes: give labelled data, or set it false"
        )
    asked: dict[str, Any] = {"classes": classes} if recipe.conditional else {}

    def network(name: str, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Any:
        part = getattr(recipe, name)
        made = built(name, part, nn.Module, inputs=inputs, outputs=outputs, **asked)
        made = made.to(place, memory_format=torch.channels_last)  # convolutions want it, others ignore it
        _check_network(name, made, inputs, outputs, bool(asked))
        return made

    place = _device(device or recipe.device)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Initializing zero-element tensors"
        )  # _check_network says it better
        torch.manual_seed(key(recipe.seed, "init"))
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
        lambda: Game(
            G,
            D,
            built("objective", recipe.objective, Objective),
            [built(f"penalties.{i}", penalty, Penalty) for i, penalty in enumerate(recipe.penalties)],
            latent=recipe.latent,
            prior=_argument("prior", recipe.prior, Any, "prior", _HOMES["prior"]),
            optimizers=(factory("g_optimizer"), factory("d_optimizer")),
            batch=recipe.batch,
            k=recipe.k,
            simultaneous=recipe.simultaneous,
            ema=_argument("ema", recipe.ema, Any, "ema", _HOMES["ema"]),
            accumulate=recipe.accumulate,
            precision=precision,
            compile=compile,
            seed=recipe.seed,
            **asked,
        ),
        "game",
    )


def _expected(made: Any, kind: Any, where: str) -> Any:
    if not isinstance(made, kind):
        raise RecipeError(f"{where}: it should give a {kind.__name__}, but gave a {type(made).__name__}")
    return made


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
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise RecipeError(f"device: {name!r} is not on this machine: use auto or cpu") from error
    return device


# reading and writing ------------------------------------------------------------------------------------


def load(name: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """A preset by its name, or a YAML file: differences from another recipe (its `recipe`) or the defaults.

    In a file, a mapping with a name is a whole part; one without changes the part that is there.

    overrides: dotted paths to values, such as ``{"G.width": 128, "penalties.0.weight": 1.0}``.
    Raises RecipeError naming the field, with the nearest known name where it is misspelt.
    """
    tree = _tree(name)
    overrides = overrides or {}
    if overrides.get("scale") == "gpu":
        overrides = {**GPU.get(name, {}), **overrides}
    if any(path.split(".")[0] not in FREE | {"seed"} for path in overrides):
        tree.pop("about", None)  # it tells of the recipe as it stands
    for path, value in overrides.items():
        _set(tree, path, value)
    return _validated(tree)


def changed(recipe: Recipe, overrides: Mapping[str, Any]) -> Recipe:
    """The recipe with other values at dotted paths."""
    tree = _copied(asdict(recipe))
    for path, value in overrides.items():
        _set(tree, path, value)
    return _validated(tree)


def _tree(name: str, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A recipe's differences from the defaults, with those of the recipes below it."""
    if name in PRESETS:
        return {**_copied(PRESETS[name]), "name": name}
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        raise RecipeError(f"no recipe is called {name!r}{suggest(name, list(PRESETS))}; or give a .yaml file")
    if path.resolve() in above:
        raise RecipeError(f"{path}: the recipe is made of itself")
    changes = _read(path)
    below = str(changes.pop("recipe", ""))
    if below.endswith((".yaml", ".yml")):
        below = str(path.parent / below)
    tree = _tree(below, (*above, path.resolve())) if below else {}
    for place, value in {"name": path.stem, "about": "", **dict(_changes(changes))}.items():
        _set(tree, place, value)
    return tree


def _changes(tree: Mapping[Any, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted paths to what a file sets: a mapping with a name is set whole, one without item by item."""
    for key, value in tree.items():
        if isinstance(value, dict) and "name" not in value:
            yield from _changes(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        tree = _copied(yaml.load(path.read_text(encoding="utf-8"), Loader=_with_floats(yaml.SafeLoader)))
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
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
    defaults = {f.name: f.default for f in fields(Recipe)}
    if head not in defaults:
        raise RecipeError(f"a recipe has no field {head!r}{suggest(head, list(defaults))}")
    tree.setdefault(head, _copied(defaults[head]))
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
    node[_index(node, [head, *rest][-1], path)] = _copied(value)


def _index(node: Any, step: str, path: str) -> Any:
    if isinstance(node, dict):
        return step
    if not step.isdecimal() or int(step) >= len(node):
        raise RecipeError(f"{path}: {step!r} is not one of the {len(node)} items (count from 0)")
    return int(step)


def _validated(tree: dict[str, Any]) -> Recipe:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Recipe).validate_python(tree)
    except ValidationError as error:
        known = {f.name for f in fields(Recipe)}  # the rest of a place are names of types
        place = ".".join(str(p) for p in error.errors()[0]["loc"] if isinstance(p, int) or p in known)
        raise RecipeError(f"{place}: {_sentence(error)}") from error


def resolved(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain data with every default written out, also those of its parts."""
    tree = asdict(recipe)
    parts = {name for name in _HOMES.keys() & tree.keys() if isinstance(tree[name], str | dict)}
    for name in parts:
        tree[name] = _complete(name, tree[name], name, _HOMES[name])
    tree["penalties"] = [
        _complete("penalties", penalty, f"penalties.{i}", _HOMES["penalties"])
        for i, penalty in enumerate(recipe.penalties)
    ]
    return tree


def _complete(key: str, value: Part, where: str, home: str) -> Any:
    """A part with the defaults of its function; one that is handed over stays as it is."""
    part = _as_part(value, where)
    function = _find(part["name"], home, where)
    defaults = {p.name: _plain(p.default) for p in _parameters(function) if _is_plain(p.default)}
    full = part if key in _HANDED - {"network"} else {"name": part["name"], **defaults, **part}
    full = {
        k: _complete(k, v, f"{where}.{k}", _HOMES.get(k, home)) if _is_part(k, v) else _plain(v)
        for k, v in full.items()
        if k not in _GIVEN
    }
    return full if len(full) > 1 else part["name"]


def _is_plain(value: Any) -> bool:
    """Whether YAML can say a default: a number, a text, a list of them, or a layer of torch by its name."""
    if isinstance(value, list | tuple):
        return all(_is_plain(v) for v in value)
    return value is None or isinstance(value, bool | int | float | str) or _is_layer(value)


def _is_layer(value: Any) -> bool:
    return (
        inspect.isclass(value)
        and value is not inspect.Parameter.empty
        and value.__module__.startswith("torch.nn.")
    )


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value.__name__ if _is_layer(value) else value


def dump(recipe: Recipe) -> str:
    """The resolved recipe as YAML; `load` of it gives an equal game."""
    import yaml

    return yaml.dump(
        resolved(recipe),
        Dumper=_with_floats(yaml.SafeDumper),
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=110,
    )


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What changed between two resolved recipes, a line each, but for what does not change the game."""
    a, b = dict(leaves(old)), dict(leaves(new))
    changed = [path for path in {**a, **b} if a.get(path) != b.get(path) and path.split(".")[0] not in FREE]
    return [f"{path}: {a.get(path)!r} -> {b.get(path)!r}" for path in changed]


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted paths to what a tree of mappings and lists holds.

    >>> dict(leaves({"G": {"name": "mlp", "width": 64}, "betas": [0.0, 0.9]}))
    {'G.name': 'mlp', 'G.width': 64, 'betas.0': 0.0, 'betas.1': 0.9}
    """
    if not isinstance(tree, Mapping | list | tuple):
        yield path, tree
        return
    for key, child in tree.items() if isinstance(tree, Mapping) else enumerate(tree):
        yield from leaves(child, f"{path}.{key}" if path else str(key))


# from the command line ----------------------------------------------------------------------------------


def value(text: str) -> Any:
    """A value typed on the command line, read as YAML: 3, 1e-3, true, null, [0.0, 0.99], {name: r1}."""
    import yaml

    try:
        return yaml.load(text, Loader=_with_floats(yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RecipeError(f"{text[:40]!r} is not a value: {' '.join(str(error).split())}") from error


_NO_NAMES = {"order", "idx_folder", "image_folder", "file", "hf", "source"}
"""Public functions of data that are reached by a path."""


def data_part(text: str) -> Part:
    """What --data means: a name, ``hf://name``, ``package.module:function``, a file of numbers or images, or
    a folder of IDX files or of images.
    """
    from zerosum import data

    path = Path(text)
    if text.startswith("hf://"):
        return {"name": "hf", "path": text.removeprefix("hf://")}
    if text.replace("-", "_") in data.__all__ or (":" in text and not path.exists()):
        return {"name": text}
    if path.is_dir():
        is_idx = any(path.glob("*-idx[13]-ubyte*")) or any(path.glob("*.idx[13]-ubyte*"))
        return {"name": "idx_folder" if is_idx else "image_folder", "path": str(path)}
    if path.suffix or path.is_file():
        return {"name": "file", "path": str(path)}
    known = [name for name in data.__all__ if name.islower() and name not in _NO_NAMES]
    raise RecipeError(f"--data {text}: neither a folder, a file nor a name of data{suggest(text, known)}")


def _with_floats(kind: Any) -> Any:
    """YAML 1.1's safe loader or dumper, with the floats of YAML 1.2: 1e-3 is a number, and "1e-3" a text."""
    import re

    kind = type(kind.__name__, (kind,), {})
    number = re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$")
    kind.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+.0123456789"))
    return kind


# the presets: differences from the defaults --------------------------------------------------------------


def _annealed(name: str, start: float, end: float, steps: int) -> dict[str, Any]:
    """A penalty whose weight falls geometrically: first find every mode, then be exact (as R3GAN's gamma)."""
    return {
        "name": name,
        "weight": {"name": "ramp", "start": start, "end": end, "steps": steps, "shape": "geometric"},
    }


def _cooled(lr: float, steps: int, betas: tuple[float, float] = (0.0, 0.99)) -> dict[str, Any]:
    """Adam whose learning rate falls to a twentieth along a half cosine."""
    fall = {"name": "ramp", "start": lr, "end": lr / 20, "steps": steps, "shape": "cosine"}
    return {"name": "scheduled", "base": {"name": "adam", "lr": lr, "betas": list(betas)}, "lr": fall}


def _modes(about: str, data: str, gain: float, weights: tuple[float, float], steps: int) -> dict[str, Any]:
    """A test of mode collapse on points: relativistic pairing with R1 and R2, whose weight falls for 70 %."""
    fall = steps * 7 // 10
    return {
        "about": about,
        "data": data,
        "latent": 2,
        "G": {"name": "mlp", "width": 128, "depth": 3},
        "D": {"name": "mlp", "width": 128, "depth": 3, "gain": gain},
        "objective": "relativistic_pairing",
        "penalties": [_annealed("r1", *weights, fall), _annealed("r2", *weights, fall)],
        "g_optimizer": _cooled(1e-3, steps),
        "d_optimizer": _cooled(1e-3, steps),
        "steps": steps,
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


def _compact(about: str, lr: float, steps: int) -> dict[str, Any]:
    """Small images on a processor: nothing is computed at their full size."""
    return {
        "about": about,
        "data": "mnist",
        "latent": 64,
        "G": {"name": "compact", "width": 32},
        "D": {"name": "compact", "width": 32},
        "penalties": [{"name": "r1", "weight": 1.0}],
        "g_optimizer": _cooled(lr, steps),
        "d_optimizer": _cooled(lr, steps),
        "batch": 64,
        "steps": steps,
        "precision": "bf16",
    }


def _photos(about: str, conditional: bool) -> dict[str, Any]:
    """`_r3` on anybody's images, with augmentation as far as D overfits."""
    recipe = _r3(about, "image_folder")
    augment = {"name": "adaptive", "flip": True, "images": 100_000}
    D = {"name": "augmented", "network": recipe["D"], "augment": augment}
    return {**recipe, "conditional": conditional, "D": D}


def _r3(about: str, data: str, steps: int = 4_000) -> dict[str, Any]:
    """R3GAN's recipe (Huang et al. 2024) at the size of two cores."""
    fall = steps * 7 // 10
    return {
        "about": about,
        "data": data,
        "latent": 64,
        "G": {"name": "r3", "width": 32},
        "D": {"name": "r3", "width": 32},
        "objective": "relativistic_pairing",
        "penalties": [_annealed("r1", 1.0, 0.1, fall), _annealed("r2", 1.0, 0.1, fall)],
        "g_optimizer": _cooled(1e-3, steps),
        "d_optimizer": _cooled(1e-3, steps),
        "batch": 64,
        "steps": steps,
        "precision": "bf16",
        "sample_every": 500,
    }


_LARGER: dict[str, Any] = {
    "G.width": 256,
    "G.blocks": 2,
    "G.patch": 1,
    "D.network.width": 256,
    "D.network.blocks": 2,
    "D.network.patch": 1,
    "batch": 256,
    "steps": 100_000,
    **{f"{who}_optimizer.lr.steps": 100_000 for who in "gd"},
    **{f"penalties.{i}.weight.steps": 70_000 for i in range(2)},
}
GPU: dict[str, dict[str, Any]] = {"photos": _LARGER, "photos-conditional": _LARGER}
"""What changes in a preset with `scale: gpu`: not run by us on such a machine."""

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
        "batch": 64,
        "steps": 6_000,
        "threads": 1,
    },
    "ring": _modes(
        "8 narrow Gaussians on a ring, PacGAN's test of mode collapse", "ring", 10.0, (0.1, 5e-5), 12_000
    ),
    "grid": _modes(
        "25 narrow Gaussians on a grid, PacGAN's harder test of mode collapse",
        "grid",
        2.5,
        (5.0, 1e-3),
        15_000,
    ),
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
    "mnist-dcgan": _compact(
        "MNIST, or --data with any small images: every class and every shape of it, in ten minutes",
        1e-3,
        7_000,
    ),
    "mnist-r3": _r3("R3GAN's networks, objective and penalties on MNIST, at the size of two cores", "mnist"),
    "mnist-conditional": {
        **_compact(
            "MNIST with its labels: digits of the class that is asked for, in ten minutes", 2e-3, 6_000
        ),
        "conditional": True,
    },
    "stacked-mnist": {
        "about": "1,000 modes of three digits each, R3GAN's test of mode collapse at the size of two cores",
        "data": "stacked_mnist",
        "latent": 64,
        "G": {"name": "dcgan", "width": 32, "norm": None},
        "D": {"name": "dcgan", "width": 32, "norm": None},
        "objective": "relativistic_pairing",
        "penalties": [{"name": "r1", "weight": 1.0}, {"name": "r2", "weight": 1.0}],
        "g_optimizer": {"name": "adam", "lr": 5e-4, "betas": [0.0, 0.99]},
        "d_optimizer": {"name": "adam", "lr": 5e-4, "betas": [0.0, 0.99]},
        "batch": 64,
        "steps": 6_000,
        "precision": "bf16",
        "sample_every": 500,
    },
    "photos": _photos(
        "your folder of images (--data FOLDER): half an hour at 32 pixels, or --steps 20000 and a night",
        False,
    ),
    "photos-conditional": _photos(
        "your folder with one sub-folder for each class: samples of the class asked for", True
    ),
    "vectors": {
        **_modes(
            "your table of numbers (--data FILE.csv): standardised, and undone in samples",
            "swiss_roll",
            1.0,
            (0.5, 0.05),
            10_000,
        ),
        "latent": 32,
        "G": {"name": "mlp", "width": 256, "depth": 3},
        "D": {"name": "mlp", "width": 256, "depth": 3},
    },
    "goodfellow2014": {
        "about": "Goodfellow et al. (2014) on MNIST as published: maxout, dropout, SGD with momentum",
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
