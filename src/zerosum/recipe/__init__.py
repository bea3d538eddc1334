"""Recipes: all the choices of a run, as data; names become objects here and nowhere else."""

from zerosum.recipe import recipes as _recipes
from zerosum.recipe.recipes import *  # noqa: F403

__all__ = [*_recipes.__all__]
