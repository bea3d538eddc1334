"""Show runs in a browser, while they are played or afterwards; or play a game there. Nothing leaves this
machine.

  zerosum watch runs/ring-seed0           one run
  zerosum watch runs/ring-seeds0-3        its seeds side by side, with their mean
  zerosum watch --play ring               a game in your hands: start it, change it, break it, draw its data
  zerosum watch --tour                    six games that show what GANs are, and why they fail
  zerosum watch --tour --export FOLDER    the same as files, for a lesson or a web site: nothing needs to run
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

from zerosum.cli.output import say
from zerosum.cli.parsing import Parser, UsageError, some_path, some_text, whole

__all__ = ["parser", "run"]


def parser() -> Parser:
    p = Parser("watch", __doc__)
    p.add_argument("run", type=some_path, nargs="?", help="a run, or a directory of runs (default: runs)")
    p.add_argument(
        "--play",
        nargs="?",
        const="ring",
        type=some_text,
        metavar="RECIPE",
        help="a preset or a file (default: ring), played in the page; or an address of the page, "
        "to the moment that it tells",
    )
    p.add_argument("--tour", action="store_true", help="a guided tour of six games")
    p.add_argument(
        "--export",
        type=some_path,
        metavar="FOLDER",
        help="write the page, with its games recorded, instead of showing it",
    )
    p.add_argument("--out", type=some_path, default=Path("runs/played"), help="where its runs go")
    p.add_argument("--port", type=whole(0), default=0, help="where to listen (default: any that is free)")
    p.add_argument("--open", action="store_true", help="open the page in the browser")
    return p


def run(args: argparse.Namespace) -> int:
    for name in ("starlette", "uvicorn", "websockets"):
        if find_spec(name) is None:
            raise UsageError(f"`zerosum watch` needs {name}: pip install 'zerosum[web]'")

    if args.tour + (args.play is not None) + (args.run is not None) > 1:
        raise UsageError("show one thing: a run, --play, or --tour")
    if args.export is not None:
        return _export(args)

    import secrets
    import webbrowser

    from zerosum.page import live, tour, watched
    from zerosum.page.steering import Game

    if args.play or args.tour:
        hub = live.Hub([], Game(args.out, args.play or next(iter(tour.STOPS))))
    else:
        hub = live.Hub(watched.runs(args.run or Path("runs")))
    listener, token = live.listen(args.port), secrets.token_urlsafe(16)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/{token}/"
    say(f"watch: {address} (Ctrl-C ends it)")
    if args.open:
        webbrowser.open(address)
    live.serve(hub, listener, token)
    return 0


def _export(args: argparse.Namespace) -> int:
    from zerosum.display import loading
    from zerosum.page import recorded, steering, watched
    from zerosum.run.log import disk

    with disk(args.export, "while the page was written"), loading(False):
        if args.tour:
            page = recorded.write_tour(args.export)
        elif args.play:
            place = steering.place_of(args.play)
            recipe = steering.recipe_of(place)
            path = steering.unused(args.out, recipe.name)
            page = recorded.write_game(args.export, recipe, path, place.changes)
        else:
            page = recorded.write_runs(args.export, watched.runs(args.run or Path("runs")))
    say(f"page: {page}")
    return 0
