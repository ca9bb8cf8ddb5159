"""The folder a tracker keeps: the journal that is the truth, the index, the contents."""

from composer._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
