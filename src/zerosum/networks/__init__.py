"""Players' networks: G(z) -> x and D(x) -> logits [N].

They are plain modules, with no sigmoid, optimizer or loss inside.
"""

from zerosum.networks.layers import Gain, Maxout, spectral_norm
from zerosum.networks.mlp import maxout, mlp

__all__ = ["Gain", "Maxout", "maxout", "mlp", "spectral_norm"]
