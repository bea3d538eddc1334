"""zerosum: generative adversarial networks as a measured two-player game."""

__version__ = "0.1.0"
