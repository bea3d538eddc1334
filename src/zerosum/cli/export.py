"""Write the generator of a run to a folder: weights, what they are, a model card with samples and figures.

zerosum export runs/mine --to mine                 load it by zerosum.load("mine")
zerosum export runs/mine --to mine --onnx          also model.onnx, and sample.py for it
zerosum export runs/mine --to mine --push me/mine  and upload it to the Hugging Face hub
"""

from __future__ import annotations

import argparse

from zerosum.cli.output import say
from zerosum.cli.parsing import Parser, some_path, some_text, step_of

__all__ = ["parser", "run"]


def parser() -> Parser:
    p = Parser("export", __doc__)
    p.add_argument("run", type=some_path, help="the run's directory, or an exported folder")
    p.add_argument("--to", type=some_path, required=True, metavar="FOLDER", help="where to")
    p.add_argument("--onnx", action="store_true", help="also as an ONNX model, with a script that samples")
    p.add_argument(
        "--push", type=some_text, metavar="USER/NAME", help="upload the folder to the hub, as it is logged in"
    )
    p.add_argument("--private", action="store_true", help="make the repository on the hub a private one")
    p.add_argument("--step", type=step_of, help="the checkpoint's step, or best (default: the newest)")
    p.add_argument("--live", action="store_true", help="the last weights, not their running average")
    p.add_argument("--license", default="other", help="what the card says (default: other)")
    p.add_argument("--trust", action="store_true", help="import the code that an exported folder names")
    p.add_argument("--quiet", action="store_true", help="print nothing but warnings and errors")
    return p


def run(args: argparse.Namespace) -> int:
    from zerosum.export import is_exported, load, push, save

    trust = args.trust or not is_exported(args.run)  # a run is one's own
    G = load(args.run, args.step, live=args.live, trust=trust)
    written = save(G, args.to, onnx=args.onnx, license=args.license)
    if not args.quiet:
        say(f"{G}\nin {args.to}: {', '.join(path.name for path in written)}")
    if args.push:
        address = push(args.push, args.to, private=args.private)
        if not args.quiet:
            say(f"uploaded: {address}")
    return 0
