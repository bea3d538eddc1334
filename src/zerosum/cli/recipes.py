"""List the presets, or print one with every field resolved, as YAML: a file to change and to train.

zerosum recipes
zerosum recipes ring > mine.yaml
"""

from __future__ import annotations

import argparse

from zerosum.cli.output import say
from zerosum.cli.parsing import Parser, some_text

__all__ = ["parser", "run"]


def parser() -> Parser:
    p = Parser("recipes", __doc__)
    p.add_argument("name", nargs="?", type=some_text, help="a preset or a .yaml file")
    return p


def run(args: argparse.Namespace) -> int:
    from zerosum import recipe as recipes

    if args.name:
        say(recipes.dump(recipes.load(args.name)).rstrip("\n"))
        return 0
    for name, about in recipes.presets().items():
        say(f"{name:24s} {about}")
    return 0
