"""Recipes: all the choices of a run, as data.

>>> from zerosum import recipe
>>> recipe.load("ring", {"G.width": 64, "steps": 500}).steps
500

read (`load`) -> settled (`settled`) -> built (`build`): a recipe becomes objects once, on its way down.
"""

from zerosum.recipe.build import (
    build,
    build_data,
    build_faults,
    build_game,
    build_instruments,
    build_network,
    build_source,
    settled,
)
from zerosum.recipe.components import OwnCode, call, imports, name_of, suggest
from zerosum.recipe.files import (
    changed,
    data_component,
    differences,
    dump,
    leaves,
    load,
    path_of_game,
    presets,
    resolved,
    value,
)
from zerosum.recipe.schema import Component, Recipe, RecipeError

__all__ = [
    "Component",
    "OwnCode",
    "Recipe",
    "RecipeError",
    "build",
    "build_data",
    "build_faults",
    "build_game",
    "build_instruments",
    "build_network",
    "build_source",
    "call",
    "changed",
    "data_component",
    "differences",
    "dump",
    "imports",
    "leaves",
    "load",
    "name_of",
    "path_of_game",
    "presets",
    "resolved",
    "settled",
    "suggest",
    "value",
]
