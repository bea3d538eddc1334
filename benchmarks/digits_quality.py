"""Does a run on the digits draw digits? A classifier trained on the real ones reads 1,000 samples.

    python benchmarks/digits_quality.py runs/demo [--out result.json]

Multinomial logistic regression on the pixels (0 to 16, as scikit-learn ships them) learns the real training
digits; its accuracy and confidence on the real test digits stand beside the samples' figures as what can be
had at best. Exits with 1 unless all ten classes occur, the KL divergence of the class histogram to uniform is
below 0.15 nats and the mean confidence above 0.8.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

import ledger
from zerosum import data
from zerosum.run.run import Run
from zerosum.sampling import Generator


def quality(path: Path, n: int = 1000, seed: int = 1) -> dict[str, Any]:
    train, test = data.digits("train"), data.digits("test")
    reader = LogisticRegression(max_iter=5000).fit(_pixels(train.pixels[:].numpy()), train.labels)
    run = Run.open(path)
    samples = Generator.of(run).sample(n, seed)
    belief = reader.predict_proba(_pixels(samples))
    real = reader.predict_proba(_pixels(test.pixels[:].numpy()))
    counts = np.bincount(belief.argmax(1), minlength=10)
    share = counts / n
    kl = float(sum(p * np.log(p * 10) for p in share if p))
    last = json.loads((path / "metrics.jsonl").read_text().splitlines()[-1])
    return {
        "training_seconds": last["seconds"],
        "threads": run.recipe.threads,
        "samples": n,
        "step": run.game.step,
        "classes": int((counts > 0).sum()),
        "counts": counts.tolist(),
        "class_kl": round(kl, 4),
        "confidence": round(float(belief.max(1).mean()), 4),
        "confidence_on_real_test": round(float(real.max(1).mean()), 4),
        "accuracy_on_real_test": round(float((real.argmax(1) == test.labels.numpy()).mean()), 4),
    }


def _pixels(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) * (16 / 255)


def digits() -> str:
    """What a classifier of the real digits reads in a thousand samples."""
    result = ledger.result("digits")
    right, sure = result["accuracy_on_real_test"], result["confidence_on_real_test"]
    return (
        f"A logistic regression that reads {right:.1%} of the real test digits right (mean confidence\n"
        f"{sure:.3f}) finds all {result['classes']} classes among {result['samples']:,} samples; the KL "
        f"divergence of their\nhistogram to uniform is {result['class_kl']:.3f} nats and the mean "
        f"confidence {result['confidence']:.3f}."
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, help="where the result goes (default: quality.json in the run)")
    known = parser.parse_args()
    result = quality(known.run)
    result["passed"] = result["classes"] == 10 and result["class_kl"] < 0.15 and result["confidence"] > 0.8
    out = known.out or known.run / "quality.json"
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"read as digits by logistic regression ({out}):")
    print("  class    " + "".join(f"{c:6d}" for c in range(10)))
    print("  samples  " + "".join(f"{c:6d}" for c in result["counts"]))
    print(f"  KL to uniform {result['class_kl']} nats (below 0.15 is asked)")
    real = result["confidence_on_real_test"]
    print(f"  mean confidence {result['confidence']} (above 0.8 is asked; {real} on real ones)")
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
