"""What wandb clients send and expect, as pure functions: no disk, no network."""

from composer._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
