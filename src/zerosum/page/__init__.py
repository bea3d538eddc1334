"""Pages: what a run, and the theory, look like to a person."""

__all__ = []
