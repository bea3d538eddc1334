"""Players' networks: G(z) -> x and D(x) -> logits [N].

They are plain modules, with no sigmoid, optimizer or loss inside.
"""

from zerosum.networks.augmentation import Augmentation, adaptive, augmented, diffaugment
from zerosum.networks.compact import compact
from zerosum.networks.dcgan import dcgan
from zerosum.networks.layers import ConditionalBatchNorm, Gain, Maxout, MinibatchStd, spectral_norm
from zerosum.networks.mlp import maxout, mlp, residual_mlp
from zerosum.networks.packing import packed
from zerosum.networks.r3 import r3
from zerosum.networks.resnet import resnet
from zerosum.networks.table import Heads, table_mlp

__all__ = [
    "Augmentation",
    "ConditionalBatchNorm",
    "Gain",
    "Heads",
    "Maxout",
    "MinibatchStd",
    "adaptive",
    "augmented",
    "compact",
    "dcgan",
    "diffaugment",
    "maxout",
    "mlp",
    "packed",
    "r3",
    "residual_mlp",
    "resnet",
    "spectral_norm",
    "table_mlp",
]
