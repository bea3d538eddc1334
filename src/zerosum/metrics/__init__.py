"""Metrics: samples or features in, a number with its uncertainty out.

A metric sees only samples `[N, ...]`, or features of them, so it judges any generative model. Arguments are
always real, then fake; every result is an `Estimate` (or a tuple of them) that carries its interval, its
number of examples and the name of its feature space. `floor` gives the same metric between two halves of real
data: no generator can be expected to do better.

>>> import torch
>>> from zerosum import metrics
>>> real, fake = torch.zeros(50, 2), torch.ones(50, 2)
>>> print(metrics.wasserstein(real, fake, p=1, space="points"))
1.414 [1.414, 1.414] (Wasserstein-1, n = 50, space: points)
"""

from zerosum.metrics.defaults import IMAGES, POINTS, TABLES, Metric
from zerosum.metrics.diversity import ms_ssim, ms_ssim_diversity, perceptual_path_length
from zerosum.metrics.estimate import Estimate, floor
from zerosum.metrics.features import (
    Classifier,
    FeatureSpace,
    efficientnet,
    inception,
    pixels,
    random_filters,
    train_classifier,
    train_encoder,
)
from zerosum.metrics.frechet import Moments, frechet_distance, frechet_infinity
from zerosum.metrics.inputs import as_images, as_labels, matched
from zerosum.metrics.kernels import (
    gaussian,
    kernel_distance,
    kmeans_centres,
    parzen_log_likelihood,
    parzen_references,
    polynomial,
)
from zerosum.metrics.modes import (
    agreement,
    class_coverage,
    class_kl,
    classifier_score,
    high_quality_share,
    mode_coverage,
    reverse_kl,
    stacked_labels,
)
from zerosum.metrics.neighbours import PRDC, Neighbours, find_neighbours, memorisation_test, nearest, prdc
from zerosum.metrics.transport import sliced_wasserstein, wasserstein
from zerosum.metrics.two_sample import referee, two_sample_test

__all__ = [
    "IMAGES",
    "POINTS",
    "PRDC",
    "TABLES",
    "Classifier",
    "Estimate",
    "FeatureSpace",
    "Metric",
    "Moments",
    "Neighbours",
    "agreement",
    "as_images",
    "as_labels",
    "class_coverage",
    "class_kl",
    "classifier_score",
    "efficientnet",
    "find_neighbours",
    "floor",
    "frechet_distance",
    "frechet_infinity",
    "gaussian",
    "high_quality_share",
    "inception",
    "kernel_distance",
    "kmeans_centres",
    "matched",
    "memorisation_test",
    "mode_coverage",
    "ms_ssim",
    "ms_ssim_diversity",
    "nearest",
    "parzen_log_likelihood",
    "parzen_references",
    "perceptual_path_length",
    "pixels",
    "polynomial",
    "prdc",
    "random_filters",
    "referee",
    "reverse_kl",
    "sliced_wasserstein",
    "stacked_labels",
    "train_classifier",
    "train_encoder",
    "two_sample_test",
    "wasserstein",
]
