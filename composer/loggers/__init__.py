"""Where metrics, tables, images and files go; one file per destination."""

from composer._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
