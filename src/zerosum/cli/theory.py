"""Show the theory of the game on the engine that plays it: each claim predicted, measured and compared.

The table is printed, and written with figures to theory.html (and as numbers to theory.json) in --out.
The exit code is 1 if a row disagrees. Half a minute.

  zerosum theory
  zerosum theory --seed 1 --out runs/theory-again
"""

from __future__ import annotations

import argparse
from pathlib import Path

from zerosum.cli.output import say, say_error, writing
from zerosum.cli.parsing import Parser, some_path, whole

__all__ = ["parser", "run"]


def parser() -> Parser:
    p = Parser("theory", __doc__)
    p.add_argument("--seed", type=whole(0), default=0, help="where all randomness starts (default: 0)")
    p.add_argument("--out", type=some_path, help="directory of the page (default: runs/theory-seedN)")
    p.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return p


def run(args: argparse.Namespace) -> int:
    import json

    import torch

    from zerosum import claims
    from zerosum.page import theory
    from zerosum.run import files

    torch.set_num_threads(1)  # small networks gain nothing by more, and one order of sums gives one table
    rows, tell = [], (lambda line: None) if args.quiet else say
    tell(f"{'':9s}  {'measured':>22s}    {'predicted':20s}  claim")
    for row in claims.rows(args.seed):
        if not rows or rows[-1].topic != row.topic:
            tell(f"\n{row.topic}")
        rows.append(row)
        tell(row.as_line())
    out = args.out or Path("runs") / f"theory-seed{args.seed}"
    result = {"seed": args.seed, "rows": [row.as_dict() for row in rows]}
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        files.write(out / "theory.json", (json.dumps(result, indent=1) + "\n").encode())
        files.write(out / "theory.html", theory.page(rows, args.seed).encode())
    refused = [row for row in rows if not row.agrees]
    tell(f"\n{len(rows) - len(refused)} of {len(rows)} rows agree; with figures: {out / 'theory.html'}")
    for row in refused:
        say_error(f"disagrees: {row.topic}: {row.claim}")
    return 1 if refused else 0
