"""Evaluation: samples judged against real data that training never saw, each figure with its interval and
its floor.

Samples come from a run, from one of its checkpoints, from a directory of seeds, or from anybody's files. The
metrics are those of `zerosum.metrics`; what is decided here is only what they are given: which real data, how
many, in which feature space ::

    judge = judge_for(Path("made.csv"), "real.csv")
    for subject in subjects(Path("made.csv"), judge.real):
        for row in evaluate(judge, subject):
            print(line(row))
"""

from zerosum.evaluation.compare import compare, compare_seeds, difference_line, seed_line, summarised
from zerosum.evaluation.examples import Examples
from zerosum.evaluation.judge import Judge
from zerosum.evaluation.real import Real, real_data
from zerosum.evaluation.rows import HEADER, best, chosen, evaluate, line, worse_than_floor
from zerosum.evaluation.subjects import Subject, judge_for, read_samples, runs_of_seeds, subjects

__all__ = [
    "HEADER",
    "Examples",
    "Judge",
    "Real",
    "Subject",
    "best",
    "chosen",
    "compare",
    "compare_seeds",
    "difference_line",
    "evaluate",
    "judge_for",
    "line",
    "read_samples",
    "real_data",
    "runs_of_seeds",
    "seed_line",
    "subjects",
    "summarised",
    "worse_than_floor",
]
