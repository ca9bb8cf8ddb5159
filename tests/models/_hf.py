"""Small models and tokenizers of transformers, made here."""

from __future__ import annotations

from typing import Any

import torch


def make_tokenizer(extra: int = 0) -> Any:
    """A tokenizer of whole words: ``[PAD] [UNK] [EOS] w3 ... w10``, and more on demand."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[EOS]", *(f"w{number}" for number in range(3, 11 + extra))]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", eos_token="[EOS]"
    )


def _config(**changes: Any) -> Any:
    from transformers import GPT2Config

    return GPT2Config(
        n_layer=1, n_head=2, n_embd=8, vocab_size=11, n_positions=16, pad_token_id=0,
        bos_token_id=2, eos_token_id=2, **changes,
    )  # fmt: skip


def gpt2() -> Any:
    """A causal language model."""
    from transformers import GPT2LMHeadModel

    torch.manual_seed(0)
    return GPT2LMHeadModel(_config())


def sequence_classifier(num_labels: int) -> Any:
    """A model with one answer for each sequence."""
    from transformers import GPT2ForSequenceClassification

    torch.manual_seed(0)
    return GPT2ForSequenceClassification(_config(num_labels=num_labels))
