"""Text from models of transformers: prompts in, continuations out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from composer.errors import ConfigError, DataError

__all__ = ["continuations", "generate_from_batch", "left_padded"]


@contextmanager
def left_padded(tokenizer: Any) -> Iterator[None]:
    """Let a tokenizer pad on the left for a while, with the end-of-text token if it has no other.

    Decoder models write behind the last token, so padding must stand before the first.

    Args:
        tokenizer: the tokenizer.

    Raises:
        ValueError: it has neither a padding nor an end-of-text token.
    """
    side, pad = tokenizer.padding_side, tokenizer.pad_token
    if pad is None and tokenizer.eos_token is None:
        raise ConfigError(
            "prompts of different lengths must be padded, and the tokenizer has neither a "
            "pad_token nor an eos_token; set tokenizer.pad_token"
        )
    tokenizer.padding_side = "left"
    if pad is None:
        tokenizer.pad_token = tokenizer.eos_token
    try:
        yield
    finally:
        tokenizer.padding_side = side
        if pad is None:
            tokenizer.pad_token = None


def continuations(
    model: Any, prompts: Sequence[str], batch_size: int | None = None, **kwargs: Any
) -> list[str]:
    """Return what a model writes after each prompt.

    Args:
        model: a `HuggingFaceModel` with a tokenizer.
        prompts: the prompts.
        batch_size: how many at a time; all if ``None``.
        kwargs: arguments of transformers' ``generate``.
    """
    tokenizer = model.tokenizer
    device = next(model.parameters()).device
    written: list[str] = []
    with left_padded(tokenizer):
        for begin in range(0, len(prompts), batch_size or len(prompts)):
            part = list(prompts[begin : begin + (batch_size or len(prompts))])
            tokens = tokenizer(part, return_tensors="pt", padding=True)
            ids, mask = (tokens[name].to(device) for name in ("input_ids", "attention_mask"))
            written += _written(model, ids, mask, kwargs)
    return written


@torch.no_grad()
def generate_from_batch(model: Any, batch: Mapping[str, Any]) -> list[str]:
    """Return what a model writes after each sequence of a batch of mode ``'generate'``.

    Args:
        model: a `HuggingFaceModel`.
        batch: ``input_ids``, ``attention_mask``, and ``generation_length`` (tokens) or
            ``generation_kwargs`` (arguments of transformers' ``generate``).

    Raises:
        ValueError: there is no tokenizer.
    """
    if model.tokenizer is None:
        raise ConfigError(
            "a batch of mode 'generate' is answered with text, which needs a tokenizer: give "
            "HuggingFaceModel(..., tokenizer=...)"
        )
    if "input_ids" not in batch:
        raise DataError(f"a batch of mode 'generate' needs 'input_ids'; it has {sorted(batch)}")
    kwargs: dict[str, Any] = dict(batch.get("generation_kwargs") or {})
    if "generation_length" in batch:
        kwargs["max_new_tokens"] = int(batch["generation_length"])
    return _written(model, batch["input_ids"], batch.get("attention_mask"), kwargs)


def _written(model: Any, ids: Tensor, mask: Tensor | None, kwargs: Mapping[str, Any]) -> list[str]:
    tokenizer = model.tokenizer
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    output: Tensor = model.generate(ids, attention_mask=mask, **{"pad_token_id": pad, **kwargs})
    # Encoder-decoder models return what they write alone.
    is_alone = getattr(model.config, "is_encoder_decoder", False)
    new = output if is_alone else output[:, ids.shape[1] :]
    return tokenizer.batch_decode(new, skip_special_tokens=True)
