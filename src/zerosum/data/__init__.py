"""Sources of real examples: densities that know their own p_data, arrays in memory, IDX data sets.

>>> from zerosum import data
>>> x, y = data.ring(modes=8).batch(step=0, n=4)  # the same four points whenever it is asked
>>> x.shape, y
(torch.Size([4, 2]), None)
>>> x, y = data.digits().batch(step=0, n=4)
>>> x.shape, y.shape
(torch.Size([4, 1, 8, 8]), torch.Size([4]))
"""

from zerosum.data.adapters import MapStyle
from zerosum.data.arrays import Finite, Images, Stacked, Vectors, digits
from zerosum.data.codec import Codec, Numbers, Pixels
from zerosum.data.columns import Columns
from zerosum.data.densities import (
    Density,
    GaussianMixture,
    NoisyCurve,
    gaussian,
    grid,
    mixture,
    ring,
    swiss_roll,
    two_moons,
)
from zerosum.data.folder import ImageFolder, image_folder
from zerosum.data.hub import hf
from zerosum.data.idx import fashion_mnist, idx_folder, mnist, stacked_mnist
from zerosum.data.parquet import holds_images
from zerosum.data.shards import Shards, shards
from zerosum.data.source import Examples, Source, order
from zerosum.data.tables import Table, file, frame, holds_tables, iris

from zerosum.data.adapters import source  # isort: skip  # last: the module source.py has the same name

__all__ = [
    "Codec",
    "Columns",
    "Density",
    "Examples",
    "Finite",
    "GaussianMixture",
    "ImageFolder",
    "Images",
    "MapStyle",
    "NoisyCurve",
    "Numbers",
    "Pixels",
    "Shards",
    "Source",
    "Stacked",
    "Table",
    "Vectors",
    "digits",
    "fashion_mnist",
    "file",
    "frame",
    "gaussian",
    "grid",
    "hf",
    "holds_images",
    "holds_tables",
    "idx_folder",
    "image_folder",
    "iris",
    "mixture",
    "mnist",
    "order",
    "ring",
    "shards",
    "source",
    "stacked_mnist",
    "swiss_roll",
    "two_moons",
]
