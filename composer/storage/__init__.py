"""One way to read, write, list and upload files here and far away. Nothing here needs torch."""

from composer._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
