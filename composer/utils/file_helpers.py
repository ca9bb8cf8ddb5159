"""The familiar door to helpers for files, names and folders."""

from composer._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
