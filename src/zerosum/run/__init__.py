"""A run: a directory on disk, and the game that is played in it."""

__all__ = []
