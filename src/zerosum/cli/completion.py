"""Print a script that makes a shell complete verbs, options, recipes and their fields.

source <(zerosum completion bash)                               for this session
zerosum completion bash >> ~/.bashrc                            for all that come
zerosum completion zsh > ~/.zsh/_zerosum                        in a folder of $fpath, before compinit
zerosum completion fish > ~/.config/fish/completions/zerosum.fish
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module

from zerosum.cli.output import say
from zerosum.cli.parsing import Parser

__all__ = ["parser", "run"]

_BASH = """\
_zerosum() {
    local IFS=$'\\n'
    COMPREPLY=($(compgen -W "$(zerosum completion words "${COMP_WORDS[@]:1:COMP_CWORD-1}" 2>/dev/null)" \\
        -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -o bashdefault -F _zerosum zerosum
"""
_ZSH = """\
#compdef zerosum
_zerosum() {
    local -a found
    found=(${(f)"$(zerosum completion words "${(@)words[2,CURRENT-1]}" 2>/dev/null)"})
    compadd -- $found
    _files
}
compdef _zerosum zerosum
"""
_FISH = """\
complete -c zerosum -a '(zerosum completion words (commandline -opc)[2..-1] 2>/dev/null)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def parser() -> Parser:
    p = Parser("completion", __doc__)
    p.add_argument("shell", choices=[*_SCRIPTS, "words"], metavar="SHELL", help="bash, zsh or fish")
    p.add_argument("given", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return p


def run(args: argparse.Namespace) -> int:
    script = _SCRIPTS.get(args.shell)
    say("\n".join(_following(args.given, args.verbs)) if script is None else script.rstrip("\n"))
    return 0


def _following(words: Sequence[str], verbs: Sequence[str]) -> list[str]:
    """What may come after the words of a command; nothing where it is a file or a number."""
    if not words:
        return [*verbs, "--help", "--version"]
    verb, *given = words
    if verb not in verbs:
        return []
    parser: Parser = import_module(f"zerosum.cli.{verb}").parser()
    options = parser._option_string_actions
    if given and given[-1].startswith("--"):
        last = options.get(given[-1])
        if last is None or last.nargs != 0:
            return list(last.choices or []) if last else []
    takes_recipe = any(action.dest in ("recipe", "name") for action in parser._positionals._group_actions)
    if not takes_recipe:
        return [*options]
    from zerosum import recipe as recipes

    names = recipes.presets()
    recipe = next((word for word in given if word in names or word.endswith((".yaml", ".yml"))), None)
    if recipe is None:
        return [*names, *options]
    try:
        fields = recipes.leaves(asdict(recipes.load(recipe))) if parser.fields else ()
    except recipes.RecipeError:
        fields = ()
    return [*options, *(f"--{path}" for path, _ in fields)]
