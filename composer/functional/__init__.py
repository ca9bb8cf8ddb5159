"""The methods as plain functions on models, batches and tensors."""

from composer._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
