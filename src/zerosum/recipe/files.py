"""Recipes as files: read, changed, compared, written out in full.

A file holds differences: from the recipe that its `recipe` names (a preset, or another file), or from the
defaults. A mapping with a name is a whole component; one without changes the component that is there. Keys
may be dotted paths. `gpu` holds what changes with ``scale: gpu``. The presets are such files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path
from typing import Any

from zerosum.recipe.components import HOMES, PLAIN_MAPPINGS, complete, sentence, suggest
from zerosum.recipe.schema import RESUMABLE_FIELDS, Component, Recipe, RecipeError

__all__ = [
    "changed",
    "data_component",
    "differences",
    "dump",
    "leaves",
    "load",
    "path_of_game",
    "presets",
    "resolved",
    "validated",
    "value",
]

_PRESETS = Path(__file__).parent / "presets"
_MOST_NODES = 10_000
"""Values that a recipe may hold: more is what aliases of aliases unfold to."""


def presets() -> dict[str, str]:
    """The names of the presets, and what each is for."""
    names = sorted(path.stem for path in _PRESETS.glob("*.yaml"))
    return {name: _tree(name)["about"] for name in names}


def load(name: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """A preset by its name, or a YAML file.

    overrides: dotted paths to values, such as ``{"G.width": 128, "penalties.0.weight": 1.0}``.
    Raises RecipeError naming the field, with the nearest name where it is misspelt.
    """
    overrides = overrides or {}
    tree = _tree(name, overrides.get("scale"))
    if any(path.split(".")[0] not in RESUMABLE_FIELDS | {"seed"} for path in overrides):
        tree.pop("about", None)  # it tells of the recipe as it stands
    for path, value in overrides.items():
        if path == "data":
            value = _encoded_as(tree.get("data"), value)
        _set(tree, path, value)
    return validated(tree)


def _encoded_as(before: Any, data: Any) -> Any:
    """Other data in the encoding that the recipe has chosen for its own, where that is of tables."""
    is_table = isinstance(data, dict) and data.get("name") in ("file", "hf", "shards")
    chosen = isinstance(before, dict) and "encoding" in before
    return {"encoding": before["encoding"], **data} if is_table and chosen else data


def changed(recipe: Recipe, overrides: Mapping[str, Any]) -> Recipe:
    """The recipe with other values at dotted paths."""
    tree = _copied(asdict(recipe))
    for path, value in overrides.items():
        _set(tree, path, value)
    return validated(tree)


WIDEST = 2**24
"""No whole number of a network is more: its width, its depth."""


def validated(tree: dict[str, Any]) -> Recipe:
    """The recipe of a tree of plain data, each field checked against its type and limits."""
    from pydantic import ValidationError

    try:
        recipe = _schema().validate_python(tree)
    except ValidationError as error:
        names = {f.name for f in fields(Recipe)}  # the rest of a place are names of types
        place = ".".join(str(p) for p in error.errors()[0]["loc"] if isinstance(p, int) or p in names)
        raise RecipeError(f"{place}: {sentence(error)}") from error
    if recipe.name in ("", ".", "..") or re.search(r"[/\\\0]", recipe.name):
        raise RecipeError(f"name: {recipe.name!r} cannot name a directory: leave out / and \\")
    for path, value in leaves(tree):
        most = WIDEST if path.startswith(("G.", "D.")) else 2**63 - 1
        if isinstance(value, int) and not -most <= value <= most:
            raise RecipeError(f"{path}: input should be at most {most:,}, got {value}")
    return recipe


@cache
def _schema() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Recipe)


# read -----------------------------------------------------------------------------------------------------


def _tree(name: str, scale: Any = None, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A recipe's differences from the defaults, with those of the recipes below it."""
    preset = _PRESETS / f"{name}.yaml"
    path = preset if "/" not in name and preset.is_file() else Path(name)
    if path.suffix not in (".yaml", ".yml"):
        names = [preset.stem for preset in _PRESETS.glob("*.yaml")]
        raise RecipeError(f"no recipe is called {name!r}{suggest(name, names)}; or give a .yaml file")
    if path.resolve() in above:
        raise RecipeError(f"{path}: the recipe is made of itself")
    changes = _read(path)
    scale = scale or changes.get("scale")
    below, gpu = str(changes.pop("recipe", "")), changes.pop("gpu", {})
    if not isinstance(gpu, dict):
        raise RecipeError(f"{path}: gpu: it should hold `field: value` lines, got {gpu!r}")
    if below.endswith((".yaml", ".yml")):
        below = str(path.parent / below)
    tree = _tree(below, scale, (*above, path.resolve())) if below else {}
    changes = {"name": path.stem, "about": "", **dict(_changes(changes))}
    if scale == "gpu" and gpu:
        changes |= {**dict(_changes(gpu)), "about": ""}
    for place, value in changes.items():
        _set(tree, place, value)
    return tree


def _changes(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted paths to what a file sets: a mapping with a name is set whole, one without item by item."""
    for key, value in tree.items():
        if isinstance(value, dict) and "name" not in value:
            yield from _changes(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"cannot read the recipe {path}: {error.strerror}") from error
    except ValueError as error:
        raise RecipeError(f"{path} is not YAML: {error}") from error
    tree = _parsed(text, f"{path} is not YAML")
    if not isinstance(tree, dict):
        raise RecipeError(f"{path} is not a recipe: it should hold `field: value` lines")
    return tree


def value(text: str) -> Any:
    """A value typed on the command line, read as YAML: 3, 1e-3, true, null, [0.0, 0.99], {name: r1}."""
    return _parsed(text, f"{text[:40]!r} is not a value")


def _parsed(text: str, otherwise: str) -> Any:
    """What a YAML text says in mappings, lists, texts, numbers, true, false and null."""
    import yaml

    try:
        loader = _with_floats(yaml.SafeLoader)(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {})
        return _plain(loader.construct_document(node))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise RecipeError(f"{otherwise}: {' '.join(str(error).split())}") from error


def _count(node: Any, sizes: dict[int, int]) -> int:
    """How many values a node unfolds to, each alias written out. Raises ValueError where that has no end."""
    if id(node) in sizes:
        if not sizes[id(node)]:
            raise ValueError("it contains itself")
        return sizes[id(node)]
    sizes[id(node)] = 0
    children = node.value if isinstance(node.value, list) else []
    size = 1
    for child in children:
        size += sum(_count(c, sizes) for c in (child if isinstance(child, tuple) else (child,)))
        if size > _MOST_NODES:
            raise ValueError(f"it unfolds to more than {_MOST_NODES:,} values")
    sizes[id(node)] = size
    return size


def _plain(tree: Any) -> Any:
    """A copy in which nothing is shared; refuses what a recipe does not hold."""
    if isinstance(tree, dict):
        return {str(k): _plain(v) for k, v in tree.items()}
    if isinstance(tree, list):
        return [_plain(v) for v in tree]
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    raise ValueError(f"{tree!r} is a {type(tree).__name__}: write a text in quotes")


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _copied(v) for k, v in value.items()}
    return [_copied(v) for v in value] if isinstance(value, list | tuple) else value


def _set(tree: dict[str, Any], path: str, value: Any) -> None:
    """Set a dotted path: a field, an option of a component (a name becomes one), or an item of a list."""
    head, *rest = path.split(".")
    defaults = {f.name: f.default for f in fields(Recipe)}
    if head not in defaults:
        raise RecipeError(f"a recipe has no field {head!r}{_nearest(head, tree, defaults)}")
    tree.setdefault(head, _copied(defaults[head]))
    node: Any = tree
    for step, following in zip([head, *rest], rest, strict=False):
        key = _index(node, step, path)
        if isinstance(node[key], str):
            node[key] = {"name": node[key]}
        if node[key] is None and step in PLAIN_MAPPINGS:
            node[key] = {}
        if not isinstance(node[key], dict | list):
            raise RecipeError(f"{path}: {step!r} is {node[key]!r}, which has no {following!r}")
        node = node[key]
        if isinstance(node, dict):
            node.setdefault(following, None)
    node[_index(node, [head, *rest][-1], path)] = _copied(value)


def _nearest(name: str, tree: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """The end of an error about a field that there is not: the components that have such an option."""
    try:
        full = resolved(validated({k: v for k, v in tree.items() if k in defaults}))
    except RecipeError:
        return suggest(name, list(defaults))
    parents = {path.rsplit(".", 1)[0] for path in _paths(full) if path.endswith(f".{name}")}
    options = [f"--{p}.{name}" for p in sorted(parents, key=lambda p: (p.count("."), p))[:2]]
    return f"; there is {' and '.join(options)}" if options else suggest(name, list(defaults))


def _paths(tree: Any, path: str = "") -> Iterator[str]:
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, list) else ()
    for key, child in items:
        place = f"{path}.{key}" if path else str(key)
        yield place
        yield from _paths(child, place)


def _index(node: Any, step: str, path: str) -> Any:
    if isinstance(node, dict):
        return step
    if not step.isdecimal() or int(step) >= len(node):
        raise RecipeError(f"{path}: {step!r} is not one of the {len(node)} items (count from 0)")
    return int(step)


def _holds_idx(path: Path) -> bool:
    return any(path.glob("*-idx[13]-ubyte*")) or any(path.glob("*.idx[13]-ubyte*"))


def data_component(text: str) -> Component:
    """What --data means: a name, ``hf://name``, another address, ``package.module:function``, a file of
    numbers or images, or a folder of IDX files, of the parts of a table, or of images.
    """
    from zerosum import data

    path = Path(text)
    if ("://" in text and not text.startswith("hf://")) or text.startswith("hf://datasets/"):
        return {"name": "shards", "path": text}
    if text.startswith("hf://"):
        return {"name": "hf", "path": text.removeprefix("hf://")}
    if text.replace("-", "_") in data.__all__ or (":" in text and not path.exists()):
        return {"name": text}
    if path.is_dir():
        kinds = {"idx_folder": _holds_idx, "shards": data.holds_images, "file": data.holds_tables}
        name = next((name for name, holds in kinds.items() if holds(path)), "image_folder")
        return {"name": name, "path": str(path)}
    if path.suffix or path.is_file():
        return {"name": "shards" if data.holds_images(path) else "file", "path": str(path)}
    by_path = {"order", "idx_folder", "image_folder", "file", "frame", "hf", "shards", "source"}
    by_path |= {"holds_images", "holds_tables"}
    names = [name for name in data.__all__ if name.islower() and name not in by_path]
    raise RecipeError(f"--data {text}: neither a folder, a file nor a name of data{suggest(text, names)}")


# write ----------------------------------------------------------------------------------------------------


def resolved(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain data with every default written out, also those of its components."""
    tree = asdict(recipe)
    for name in HOMES.keys() & tree.keys():
        if isinstance(tree[name], str | dict):
            tree[name] = complete(name, tree[name], name)
    for name in ("penalties", "instruments", "faults"):
        tree[name] = [complete(name, component, f"{name}.{i}") for i, component in enumerate(tree[name])]
    return tree


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


def path_of_game(recipe: Recipe) -> dict[str, Any]:
    """All of a recipe that shapes the path of its game."""
    return {name: value for name, value in resolved(recipe).items() if name not in RESUMABLE_FIELDS}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What changed between two resolved recipes, a line each, but for what does not change the game."""
    a, b = dict(leaves(old)), dict(leaves(new))
    paths = [path for path in {**a, **b} if path.split(".")[0] not in RESUMABLE_FIELDS]
    return [f"{path}: {a.get(path)!r} -> {b.get(path)!r}" for path in paths if a.get(path) != b.get(path)]


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


@cache
def _with_floats(kind: Any) -> Any:
    """YAML 1.1's safe loader or dumper, with the floats of YAML 1.2: 1e-3 is a number, and "1e-3" a text."""
    kind = type(kind.__name__, (kind,), {})
    number = re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$")
    kind.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+.0123456789"))
    return kind
