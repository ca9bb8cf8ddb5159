"""The familiar door to small helpers that now live in modules named for what they do."""

from composer._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
