"""Names become objects, here and nowhere else.

A component of a recipe is a mapping with a ``name`` and the arguments of the function it names, such as
``{name: r1, weight: 0.1}``; a name alone stands for one with no arguments. A short name is looked up in its
home module's ``__all__``; ``package.module:attribute`` imports your own. Components nest: whatever a function
takes as an argument may be one.

What only the run can say is passed to those functions that take it: ``seed`` to sources, ``inputs`` and
``outputs`` (shapes) and ``groups`` (the one-hots of a table's rows) to networks, and to those of a
conditional game ``classes``. So your own may be
``source(seed=...)``, ``network(inputs=..., outputs=...)``, or a class or a module that needs none of these;
an objective, a penalty or an optimizer is a function that returns an `Objective`, a `Penalty`, or a function
from parameters to a torch optimizer.

So a recipe is a program: start, or open, only what you would run. Whoever opens what a stranger wrote does it
in a block ``with imports(False)``.
"""

from __future__ import annotations

import inspect
import traceback
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from copy import deepcopy
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any

from zerosum.recipe.schema import Component, RecipeError

__all__ = [
    "HOMES",
    "OwnCode",
    "argument",
    "bound",
    "call",
    "cause",
    "complete",
    "imports",
    "name_of",
    "product",
    "sentence",
    "suggest",
]

HOMES = {
    "data": "zerosum.data",
    **dict.fromkeys(("G", "D", "network", "augment"), "zerosum.networks"),
    "prior": "zerosum.game.prior",
    "objective": "zerosum.objectives",
    "penalties": "zerosum.penalties",
    **dict.fromkeys(("g_optimizer", "d_optimizer", "base"), "zerosum.optimizers"),
    **dict.fromkeys(("lr", "momentum", "beta1", "beta2", "weight", "ema"), "zerosum.schedules"),
    **dict.fromkeys(("activation", "output", "norm"), "torch.nn"),
    "instruments": "zerosum.watch.instruments",
    "faults": "zerosum.watch.faults",
}
"""Where the short names of a field or an argument are looked up; of any other, where its function lives."""
PASSED_AS_CALLABLE = {"activation", "output", "norm", "prior", "network"}
"""Arguments that are passed as functions, where other components are called."""
COMPONENT_ARGUMENTS = PASSED_AS_CALLABLE | {"base", "augment"}
"""Arguments for which a name alone is a component, and not a text."""
RUNTIME_ARGUMENTS = {"inputs", "outputs", "groups", "classes", "seed", "game", "source", "held"}
"""Arguments that the run supplies: a recipe does not set them."""
PLAIN_MAPPINGS = {"columns", "start"}
"""Arguments and fields that are mappings and no components."""


_allowed = ContextVar("imports allowed", default=True)


class OwnCode(RecipeError):
    """A recipe names code that is not of this library, where none is to be imported; `name` says which."""

    def __init__(self, where: str, name: str) -> None:
        super().__init__(f"{where}: {name!r} is code of its own, which is not imported here")
        self.name = name


@contextmanager
def imports(allowed: bool) -> Iterator[None]:
    """Whether code that a recipe names is imported in this block, and in none inside of one where it is not;
    building what needs some raises OwnCode.
    """
    before = _allowed.set(allowed and _allowed.get())
    try:
        yield
    finally:
        _allowed.reset(before)


def name_of(component: Component) -> str:
    """The name in a component."""
    return component if isinstance(component, str) else component["name"]


def suggest(name: str, names: Sequence[str]) -> str:
    """The end of an error about a misspelt name: the nearest of `names`, or all of them."""
    spelt = {word.lower(): word for word in names}
    near = get_close_matches(name.lower(), spelt, n=1, cutoff=0.5)
    return f"; did you mean {spelt[near[0]]!r}?" if near else f"; there is {', '.join(sorted(names)[:20])}"


def product(value: Component, kind: Any, where: str, **runtime: Any) -> Any:
    """What a component of the recipe's field `where` makes, called with the `runtime` arguments it takes."""
    home = HOMES[where.split(".")[0]]
    made = call(bound(value, where, home), where, **runtime)
    if not isinstance(made, kind):
        raise RecipeError(f"{where}: it should give a {kind.__name__}, but gave a {type(made).__name__}")
    return made


def bound(value: Component, where: str, home: str) -> partial[Any]:
    """The function that a component names, with the component's arguments checked and bound."""
    component = _as_mapping(value, where)
    name = component.pop("name")
    function = _find(name, home, where)
    parameters, hints = _parameters(function), _hints(function)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    options = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    settable = [option for option in options if option not in RUNTIME_ARGUMENTS]
    amounts = _amounts(function, parameters)
    of_any = next((hints.get(p.name, Any) for p in parameters if p.kind is p.VAR_KEYWORD), Any)
    for key in component:
        if key not in settable and not takes_any:
            raise RecipeError(f"{where}: {name} has no option {key!r}{suggest(str(key), settable)}")
        if key in amounts and isinstance(component[key], int | float) and component[key] < 0:
            raise RecipeError(f"{where}.{key}: input should be 0 or more, got {component[key]}")
    arguments = {
        key: argument(key, given, f"{where}.{key}", home, hints.get(key, Any if key in options else of_any))
        for key, given in component.items()
    }
    return partial(function, **arguments)


def argument(key: str, value: Any, where: str, home: str = "", hint: Any = Any) -> Any:
    """An argument as a function wants it: a value checked, or a component's product (or its function)."""
    if not _is_component(key, value):
        return _checked(value, hint, where)
    made = bound(value, where, HOMES.get(key, home))
    if key not in PASSED_AS_CALLABLE:
        return call(made, where)
    return made if made.keywords else made.func


def call(function: Callable[..., Any], where: str, **runtime: Any) -> Any:
    """Call a function with those of the `runtime` arguments that it takes; what it finds wrong is said in one
    line that names the field.
    """
    parameters = _parameters(function)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    names = {p.name for p in parameters}
    try:
        return function(**{name: x for name, x in runtime.items() if takes_any or name in names})
    except RecipeError:
        raise
    except (Exception, SystemExit) as error:  # whatever a function of the user's raises
        raise RecipeError(f"{where}: {cause(error)}") from error


def complete(key: str, value: Component, where: str, home: str = "") -> Any:
    """A component with the defaults of its function; one that is passed as a callable stays as it is, and so
    does code of its own where none is imported."""
    component, home = _as_mapping(value, where), HOMES.get(key, home)
    if ":" in component["name"] and not _allowed.get():
        return value
    function = _find(component["name"], home, where)
    defaults = {p.name: _plain(p.default) for p in _parameters(function) if _is_plain(p.default)}
    as_given = key in PASSED_AS_CALLABLE - {"network"}
    full = component if as_given else {"name": component["name"], **defaults, **component}
    full = {
        k: complete(k, v, f"{where}.{k}", home) if _is_component(k, v) else _plain(v)
        for k, v in full.items()
        if k not in RUNTIME_ARGUMENTS
    }
    return full if len(full) > 1 else component["name"]


def sentence(error: Any) -> str:
    """What pydantic finds wrong first, with what was given."""
    first = error.errors()[0]
    given = repr(first["input"])
    given = given if len(given) <= 80 else f"{given[:77]}..."
    several = isinstance(first["input"], str) and "," in first["input"] and "_parsing" in first["type"]
    hint = " (one number: a list is written [1, 2])" if several else ""
    return f"{first['msg'][0].lower()}{first['msg'][1:]}, got {given}{hint}"


def _find(name: str, home: str, where: str) -> Callable[..., Any]:
    """The function called `name`: of the home module's ``__all__``, or ``package.module:attribute``."""
    module, _, attribute = name.rpartition(":")
    if module and not _allowed.get():
        raise OwnCode(where, name)
    if module:
        try:
            result = attrgetter(attribute)(import_module(module))
        except (Exception, SystemExit) as error:  # whatever a module of the user's does on being imported
            raise RecipeError(
                f"{where}: cannot import {name!r}: {cause(error)} (not in {Path.cwd()} nor in PYTHONPATH)"
            ) from error
    else:
        library = import_module(home)
        public: Sequence[str] = getattr(library, "__all__", None) or [n for n in dir(library) if n[0] != "_"]
        if name.replace("-", "_") not in public:
            raise RecipeError(f"{where}: nothing is called {name!r} in {home}{suggest(name, public)}")
        result = getattr(library, name.replace("-", "_"))
    if not callable(result):
        raise RecipeError(
            f"{where}: {name!r} is {type(result).__name__}, where a function or a class is needed"
        )
    return partial(deepcopy, result) if _is_module(result) else result


def _is_module(value: Any) -> bool:
    """Whether it is a network that stands ready: each game plays with a copy of its own."""
    from torch import nn

    return isinstance(value, nn.Module)


def _as_mapping(value: Component, where: str) -> dict[str, Any]:
    component = {"name": value} if isinstance(value, str) else dict(value) if isinstance(value, dict) else {}
    if not isinstance(component.get("name"), str):
        raise RecipeError(f"{where}: it needs a name, such as {{name: mlp, width: 256}}: got {value!r}")
    return component


def _is_component(key: str, value: Any) -> bool:
    is_mapping = isinstance(value, dict) and key not in PLAIN_MAPPINGS
    return is_mapping or (key in COMPONENT_ARGUMENTS and isinstance(value, str))


def _checked(value: Any, hint: Any, where: str) -> Any:
    from pydantic import ValidationError

    try:
        return _adapter(hint).validate_python(value)
    except ValidationError as error:
        raise RecipeError(f"{where}: {sentence(error)}") from error


def _adapter(hint: Any) -> Any:
    """A check against a type; foreign code may be annotated with what nothing can be checked against."""
    from pydantic import ConfigDict, TypeAdapter
    from pydantic.errors import PydanticUserError

    for config in (ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False), None):
        try:
            return TypeAdapter(hint, config=config)
        except PydanticUserError:  # a type that takes no configuration, or that pydantic cannot handle
            continue
    return TypeAdapter(Any)


def cause(error: BaseException) -> str:
    """One line: what a function says is wrong, or the type and place of an error it did not foresee."""
    text = " ".join(str(error).split("Exception raised from")[0].split())  # torch adds where in C++ it was
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


def _amounts(function: Callable[..., Any], parameters: Sequence[inspect.Parameter]) -> set[str]:
    """Those arguments of ours that count or weigh something: all whose default is above 0."""
    if not getattr(function, "__module__", "").startswith("zerosum."):
        return set()
    numbers = {p.name for p in parameters if isinstance(p.default, int | float) and p.default > 0}
    return numbers - {"low", "high"}


def _hints(function: Callable[..., Any]) -> Mapping[str, Any]:
    """The types of a function's arguments, where they are annotated with what can be resolved."""
    try:
        return typing.get_type_hints(
            function.__init__ if inspect.isclass(function) else function, include_extras=True
        )
    except Exception:  # annotations of foreign code may name what is not imported
        return {}


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
