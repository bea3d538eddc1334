"""Show runs in a browser, while they are played or afterwards; or play a game there. Nothing leaves this
machine.

  zerosum watch runs/ring-seed0           one run
  zerosum watch runs/ring-seeds0-3        its seeds side by side, with their mean
  zerosum watch --play ring               a game in your hands: start it, change it, break it, draw its data
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
    p.add_argument("--play", type=some_text, metavar="RECIPE", help="a preset or a file, played in the page")
    p.add_argument("--out", type=some_path, default=Path("runs/played"), help="where its runs go")
    p.add_argument("--port", type=whole(0), default=0, help="where to listen (default: any that is free)")
    p.add_argument("--open", action="store_true", help="open the page in the browser")
    return p


def run(args: argparse.Namespace) -> int:
    for name in ("starlette", "uvicorn", "websockets"):
        if find_spec(name) is None:
            raise UsageError(f"`zerosum watch` needs {name}: pip install 'zerosum[web]'")

    import secrets
    import webbrowser

    from zerosum.page import live, watched
    from zerosum.page.steering import Game

    if args.play:
        hub = live.Hub([], Game(args.out, args.play))
    else:
        hub = live.Hub(watched.runs(args.run or Path("runs")))
    listener, token = live.listen(args.port), secrets.token_urlsafe(16)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/{token}/"
    say(f"watch: {address} (Ctrl-C ends it)")
    if args.open:
        webbrowser.open(address)
    live.serve(hub, listener, token)
    return 0
