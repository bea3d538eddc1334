"""The README's pictures with what they show, and its table of published claims: the heads of other results.

python benchmarks/headline.py [--check]
"""

from __future__ import annotations

from statistics import fmean

import ledger
from digits_quality import digits
from ledger import result
from reproduce import optimum
from reproduce.parzen import likelihood, seeds
from stacked_mnist import counts


def headline() -> str:
    """Two pictures of the README, and what they show."""
    ring = next(row for row in result("modes")["summary"] if row["recipe"] == "ring")
    share, seeds = ring["mean_and_standard_error"]["high_quality"][0], ring["seeds"]
    found = sum(row["modes"] == 8 for row in result("modes")["rows"] if row["recipe"] == "ring")
    classes, sure = result("digits")["classes"], result("digits")["confidence"]
    return "\n".join(
        [
            "| ![generated digits](docs/images/digits.png) | ![eight clusters](docs/images/ring.png) |",
            "|---|---|",
            f"| `make demo`: {classes} of 10 classes, read with a mean confidence of {sure:.2f} "
            f"| `zerosum train ring`: 8 of 8 modes on {found} of {seeds} seeds, "
            f"{share:.0%} of samples within 3 σ |",
        ]
    )


def reproduced() -> str:
    """The head of what was reproduced: a line for each claim, and whether it held."""
    likely = {row["recipe"]: row for row in result("reproduce_parzen")["summary"]}
    plays, averaged = likely["goodfellow2014"], likely["goodfellow2014, averaged"]
    games = result("reproduce_dirac")["claims"]
    claims = result("reproduce_minimax")["summary"]["claims"]
    larger = "the non-saturating gradient is the larger"
    ((held, of),) = [(held, of) for claim, held, of, _ in claims if claim.startswith(larger)]
    stacked = result("stacked_mnist")
    best = stacked["summary"][0]
    ours = [result("reproduce_modes")[name]["ours"]["seeds"] for name in ("ring", "grid")]
    full = [sum(row["modes"] == n for row in seeds) for n, seeds in zip((8, 25), ours, strict=True)]
    shares = [sum(row["high_quality"] for row in seeds) / len(seeds) for seeds in ours]
    good = [sum(row["high_quality"] >= 0.97 for row in seeds) for seeds in ours]
    ranks = {
        name: found["correlations"]["duality_gap"]["mean"]
        for name, found in result("reproduce_duality_gap").items()
        if "correlations" in found
    }
    value, off = (abs(fmean(optimum.values(optimum.AS_IT_IS, what))) for what in ("value", "jsd of G"))
    rows = [
        (
            "Goodfellow et al. 2014, Table 1: Parzen log-likelihood 225 ± 2",
            f"{plays['verdict'].split(':')[0]}: {likelihood(plays['chosen'])} as G plays, "
            f"{likelihood(averaged['chosen'])} averaged, after {min(plays['epochs']):.0f} epochs, "
            f"{seeds(plays)}",
        ),
        (
            "the same, section 3: the minimax loss saturates",
            f"the non-saturating gradient is the larger wherever D rejects what G makes, in {held} of {of} "
            "games",
        ),
        (
            "the same, theorem 1: at the optimum V = -log 4 and p_g = p_data",
            f"on a line V ends {value:.4f} from -log 4, and p_g still {off:.2f} nats (JSD) from p_data",
        ),
        (
            "PacGAN, Table 1: 8 and 25 modes, high quality",
            f"8 of 8 on {full[0]} and 25 of 25 on {full[1]} of {len(ours[0])} seeds, {shares[0]:.1%} and "
            f"{shares[1]:.1%} (at least 97 % on {good[0]} and {good[1]}), in a tenth of the updates",
        ),
        (
            "Mescheder et al. 2018, Gidel et al. 2019: which games converge",
            f"{sum(claim[2] for claim in games)} of {len(games)} claims held",
        ),
        (
            "R3GAN, Table 1: stacked MNIST, 1,000 modes at a KL of 0.078; other objectives fail",
            f"{best['modes'][0]:,.0f} at {best['kl'][0]:.3f} after {best['cpu_seconds'][0]:,.0f} CPU s; "
            f"of these claims {counts(stacked['verdict'])}",
        ),
        (
            "Grnarova et al. 2019: the duality gap ranks generators",
            "rank correlation with the truth " + ", ".join(f"{n} {r:+.2f}" for n, r in ranks.items()),
        ),
    ]
    return "\n".join(["| published | here |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)])


BENCHMARK = ledger.Benchmark(
    __doc__, parts={"headline": headline, "reproduced": reproduced, "digits": digits}
)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
