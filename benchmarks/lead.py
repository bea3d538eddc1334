"""How early? The signals that the literature and users go by, beside this diagnosis, before modes are lost.

    python benchmarks/lead.py                   choose the limits on seed 0, report on seed 100, and the docs
    python benchmarks/lead.py --reported 100 101

Games of faults.yaml that lose what they had covered or never cover it, and healthy ones, are played by `Run`
with further instruments, 2,000 turns each, whatever the diagnosis says. Each signal is one number every 100
turns; it speaks at the third reading in a row beyond its limit, from turn 300 on. The limit is, on the
choosing seed, the one nearest to health at which no healthy game speaks. Of the seeds that are reported:
the games that lose, of which it speaks; the healthy ones, of which it speaks too; and by how many turns, in
the median, it speaks before half of the modes, or of the coverage, that the samples had are lost.

Each game is written as it ends, and is not played again (--cache).
"""

from __future__ import annotations

import argparse
import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import torch

import faults
import ledger
from zerosum.game import Game, Turn
from zerosum.run.run import Run, RunError
from zerosum.watch import Instrument, Scale
from zerosum.watch.instrument import asked, copies, flat, noise

RESULT = ledger.RESULTS / "lead.json"
STEPS, EVERY, FIRST, READINGS = 2_000, 100, 300, 3
LOSING = (
    "narrow ring, simultaneous, Adam with momentum",
    "narrow ring, Adam 0.005 with momentum",
    "wide grid, simultaneous, Adam with momentum",
    "ring, noise through a needle",
    "digits, small G",
    "preset vanilla-minimax",
)
HEALTHY = (
    "ring, relativistic",
    "grid, relativistic",
    "line, non-saturating",
    "swiss roll, relativistic",
    "moons, hinge, k = 2",
    "digits in [0, 1], sigmoid",
    "preset vanilla-nonsaturating",
)


# the signals ------------------------------------------------------------------------------------------------


def gradients(every: int = EVERY, n: int = 64) -> Instrument:
    """`d_slope` = E|grad_x a(G(z))|, `steepness` = E|dG/dz u| of a random unit u times sqrt(dim z), their
    product; after the abstract of TMLR 2025, openreview 58gPkcVbFL, which has no code."""

    def function(game: Game, turn: Turn) -> dict[str, float]:
        G, D = copies(game)
        z, u = (noise(game, turn.step, f"lead {i}", n) for i in range(2))
        y = None if not game.conditional else game.conditions(turn.step, n)  # type: ignore[attr-defined]
        u = u / u.flatten(1).norm(dim=1).view(-1, *[1] * (u.ndim - 1))
        with torch.no_grad():
            fake = asked(game, G, z, y)
            moved = (asked(game, G, z + 1e-3 * u, y) - fake).flatten(1).norm(dim=1) / 1e-3
        x = fake.detach().requires_grad_()
        [slope] = torch.autograd.grad(asked(game, D, x, y).sum(), x)
        steep = float(moved.mean()) * z[0].numel() ** 0.5
        d_slope = float(slope.flatten(1).norm(dim=1).mean())
        return {"d_slope": d_slope, "steepness": steep, "both": d_slope * steep}

    gives = {name: Scale("ratio") for name in ("d_slope", "steepness", "both")}
    return Instrument("lead_gradients", function, every, gives, "TMLR 2025, openreview 58gPkcVbFL")


def spectra(every: int = EVERY) -> Instrument:
    """`d_spectrum`: the mean over D's matrices of (mean singular value) / (greatest): it falls where the
    spectra collapse (Liu et al. 2019, SR-GAN, 1908.10999)."""

    def function(game: Game, turn: Turn) -> dict[str, float]:
        shares: list[float] = []
        for p in game.D.parameters:
            if p.ndim > 1:
                s = torch.linalg.svdvals(p.detach().flatten(1))
                shares.append(float(s.mean() / s[0].clamp_min(1e-12)))
        return {"d_spectrum": sum(shares) / len(shares)}

    source = "Liu et al. 2019 (SR-GAN), 1908.10999"
    return Instrument("lead_spectra", function, every, {"d_spectrum": Scale("ratio")}, source)


def path(every: int = EVERY) -> Instrument:
    """`path_angle`: the cosine of the angle between the way of the last 100 turns, of both players, and the
    way before. Berard et al. 2020 (1906.04848) measure along the line to where a game will end, which a game
    does not know while it is played; and eigenvalues, for which these games have too many weights."""
    kept: list[torch.Tensor] = []

    def function(game: Game, turn: Turn) -> dict[str, float]:
        kept.append(torch.cat([flat(player.parameters).detach().clone() for player in (game.G, game.D)]))
        if len(kept) < 3:
            return {}
        del kept[:-3]
        before, now = kept[1] - kept[0], kept[2] - kept[1]
        return {"path_angle": float(torch.nn.functional.cosine_similarity(before, now, dim=0))}

    source = "after Berard et al. 2020, 1906.04848"
    return Instrument("lead_path", function, every, {"path_angle": Scale("cosine")}, source, at_once=False)


# name in the table, reading, whether high or low is bad; a fixed limit, or None: chosen
SIGNALS: tuple[tuple[str, str, int, float | None], ...] = (
    ("loss of D below 0.1", "d_loss", -1, 0.1),
    ("accuracy of D above 95 %", "accuracy", 1, 0.95),
    ("gradient of D at the samples, high", "d_slope", 1, None),
    ("gradient of D at the samples, low", "d_slope", -1, None),
    ("steepness of G, high (58gPkcVbFL)", "steepness", 1, None),
    ("steepness of G, low (58gPkcVbFL)", "steepness", -1, None),
    ("both gradients, high", "both", 1, None),
    ("both gradients, low", "both", -1, None),
    ("singular values of D, low (1908.10999)", "d_spectrum", -1, None),
    ("path angle, low (after 1906.04848)", "path_angle", -1, None),
    ("near twins, the birthday paradox (1706.08224)", "duplicates", 1, None),
)


def play(scenario: faults.Scenario, seed: int) -> dict[str, Any]:
    """The course of each signal, what the diagnosis said and when, and when half was lost."""
    said: int | None = None
    with TemporaryDirectory() as folder:
        recipe = faults.recipe_of({**scenario, "steps": STEPS}, seed)
        with Run.start(Path(folder), recipe) as run:
            run.watch += [gradients(), spectra(), path()]
            try:
                for record in run.play():
                    said = record["step"] if said is None and run.faults else said
            except RunError:  # numbers that are none
                said = run.game.step if said is None else said
            history = [*run.history]
    names = {reading for _, reading, _, _ in SIGNALS}
    curves = {n: [(r["step"], r[n]) for r in history if n in r and r["step"] % EVERY == 0] for n in names}
    return {"scenario": scenario["name"], "seed": seed, "said": said, "lost": lost(history), "curves": curves}


def lost(history: Sequence[Mapping[str, Any]]) -> int | None:
    """When the samples had lost half of the modes, or of the coverage, that they once had."""
    steps: list[int] = []
    for name, least in (("modes_covered", 2), ("coverage", 0.2)):
        most = 0.0
        for r in history:
            if name in r:
                most = max(most, r[name])
                if most >= least and r[name] <= most / 2:
                    steps.append(r["step"])
                    break
    return min(steps, default=None)


# limits and the table ---------------------------------------------------------------------------------------


def extreme(curve: Sequence[Sequence[float]], bad: int) -> float:
    """The farthest that a curve stays, three readings in a row, towards the bad side: the limit at which it
    just speaks."""
    values = [bad * x for step, x in curve if step >= FIRST]
    rows = [min(values[i - READINGS + 1 : i + 1]) for i in range(READINGS - 1, len(values))]
    return bad * max(rows, default=-float("inf"))


def speaks(curve: Sequence[Sequence[float]], bad: int, limit: float) -> int | None:
    rows = [(step, bad * x > bad * limit) for step, x in curve if step >= FIRST]
    for i in range(READINGS - 1, len(rows)):
        if all(beyond for _, beyond in rows[i - READINGS + 1 : i + 1]):
            return int(rows[i][0])
    return None


def chosen(rows: Sequence[Mapping[str, Any]], reading: str, bad: int) -> float:
    """The limit nearest to health at which no healthy game speaks."""
    ends = [extreme(row["curves"][reading], bad) for row in rows if row["scenario"] in HEALTHY]
    return bad * max(bad * x for x in ends)


def summary(
    choosing: Sequence[Mapping[str, Any]], reported: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = [line("this diagnosis", None, reported, lambda row: row["said"])]
    for name, reading, bad, fixed in SIGNALS:
        limit = chosen(choosing, reading, bad) if fixed is None else fixed
        spoke = lambda row, r=reading, b=bad, x=limit: speaks(row["curves"][r], b, x)  # noqa: E731
        lines.append(line(name, limit, reported, spoke))
    return lines


def line(
    name: str,
    limit: float | None,
    rows: Sequence[Mapping[str, Any]],
    spoke: Callable[[Mapping[str, Any]], int | None],
) -> dict[str, Any]:
    ill = [row for row in rows if row["scenario"] in LOSING]
    well = [row for row in rows if row["scenario"] in HEALTHY]
    both = [(row["lost"], spoke(row)) for row in ill if row["lost"] is not None]
    leads = [end - at for end, at in both if at is not None]
    return {
        "signal": name,
        "limit": limit,
        "found": sum(spoke(row) is not None for row in ill),
        "losing": len(ill),
        "alarms": sum(spoke(row) is not None for row in well),
        "healthy": len(well),
        "before": sum(lead > 0 for lead in leads),
        "lose": len(both),
        "lead": median(leads) if leads else None,
    }


def measure(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    args.cache.mkdir(parents=True, exist_ok=True)
    rows: dict[int, list[dict[str, Any]]] = {}
    for seed in (args.choosing, *args.reported):
        rows[seed] = [cached(s, seed, args.cache) for s in games()]
    reported = [row for seed in args.reported for row in rows[seed]]
    lines = summary(rows[args.choosing], reported)
    seeds = {"choosing": args.choosing, "reported": args.reported}
    ledger.write(RESULT, {**ledger.origin(), **seeds, "digest": faults.digest(games()), "lines": lines})


def games() -> list[faults.Scenario]:
    return [s for s in faults.scenarios() if s["name"] in (*LOSING, *HEALTHY)]


def cached(scenario: faults.Scenario, seed: int, cache: Path) -> dict[str, Any]:
    place = faults.place(scenario, seed, cache)
    if not place.exists():
        place.write_text(json.dumps(row := play(scenario, seed)))
        print(seed, row["scenario"], row["said"], row["lost"], flush=True)
    return json.loads(place.read_text())


def lead_table() -> str:
    head = (
        "signal",
        "limit",
        "losing games found",
        "false alarms",
        "before half was lost",
        "median lead, turns",
    )
    lines = []
    for row in ledger.result("lead")["lines"]:
        limit = "" if row["limit"] is None else f"{row['limit']:.3g}"
        found, alarms = f"{row['found']} of {row['losing']}", f"{row['alarms']} of {row['healthy']}"
        before = f"{row['before']} of {row['lose']}"
        lines.append(
            (
                row["signal"],
                limit,
                found,
                alarms,
                before,
                "-" if row["lead"] is None else f"{row['lead']:+,.0f}",
            )
        )
    return ledger.table(head, lines)


def options(parser: argparse.ArgumentParser) -> None:
    cache = os.environ.get("ZEROSUM_LEAD", Path(gettempdir()) / "zerosum-lead")
    parser.add_argument("--choosing", type=int, default=0, help="the seed on which limits are chosen")
    parser.add_argument("--reported", type=int, nargs="+", default=[100], help="the seeds of the table")
    parser.add_argument("--cache", type=Path, default=Path(cache), help="where what was played is kept")


def lacks() -> list[str]:
    stale = ledger.result("lead")["digest"] != faults.digest(games())
    return ["lead.json was measured with another watch, other presets or scenarios"] if stale else []


BENCHMARK = ledger.Benchmark(__doc__, measure, options, {"lead": lead_table}, lacks=lacks)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
