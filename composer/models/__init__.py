"""The model interface the trainer speaks, and ready-made wrappers."""

from composer._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
