"""The familiar door to saving and loading a run's checkpoints."""

from composer._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
