"""Augmentations of images: what RandAugment and AugMix draw from."""

from composer._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
