"""The GraphQL that wandb clients speak, executed by graphql-core."""

from composer._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
