"""A small GPT in one file: the parts that pay in today's language models, and nothing else.

Read it from the bottom up: `GPT` is the model, made of `Block`s, each of an `Attention` and a
`FeedForward`. What is different from the GPT of 2019, and where it comes from:

- Positions are *rotations* of queries and keys (RoPE, arXiv:2104.09864); none are learned.
- *QK-norm*: queries and keys have length one before they meet (arXiv:2010.04245, arXiv:2302.05442),
  so that attention stays soft at high learning rates.
- The feed-forward layer squares a ReLU (arXiv:2109.08668): as good as gated layers, and cheaper.
- The projections back to the residual stream begin at *zero*: at the start each block is the
  identity, and the first steps are taken where the loss is smooth.
- Norms are RMS norms without gains, and linear layers have no biases.
- *Document masks*: a row of tokens may hold several documents, and no token sees another's.

A batch is a mapping: ``input_ids`` and ``labels`` (the next token of each; -100 where none counts),
and perhaps ``document_ids``, which number the documents of each row; all of shape (rows, length).
"""

from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from composer.data import document_mask
from composer.metrics import LanguageCrossEntropy
from composer.models import ComposerModel


@dataclass
class Config:
    """The size of a model.

    Attributes:
        vocabulary: number of tokens.
        context: longest row.
        width: features of a token; a multiple of ``2 * heads``.
        depth: number of blocks.
        heads: attention heads.
        tied: whether the head has the weights of the embedding.
    """

    vocabulary: int
    context: int = 256
    width: int = 128
    depth: int = 4
    heads: int = 4
    tied: bool = False

    def __post_init__(self):
        """Refuse a width that cannot be shared out, before a shape deep inside does."""
        if self.width % (2 * self.heads):
            raise ValueError(
                f"width={self.width} must be a multiple of 2 * heads={2 * self.heads}: each head "
                "rotates pairs of features"
            )


def norm(x):
    """Scale each token to mean square 1."""
    return F.rms_norm(x, (x.shape[-1],))


class Rotary(nn.Module):
    """Turns pairs of features by an angle that grows with the position."""

    def __init__(self, features, context, base=10_000.0):
        super().__init__()
        rates = base ** -torch.linspace(0, 1, features // 2)
        angles = torch.outer(torch.arange(context), rates)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, x):
        """Turn features of shape (rows, heads, length, features)."""
        cos, sin = self.cos[: x.shape[-2]].to(x.dtype), self.sin[: x.shape[-2]].to(x.dtype)
        first, second = x.chunk(2, dim=-1)
        return torch.cat([first * cos + second * sin, second * cos - first * sin], dim=-1)


class Attention(nn.Module):
    """Causal attention with normed, rotated queries and keys."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        # Apart, because an optimizer of matrices should see each of them as one.
        self.query, self.key, self.value, self.project = (
            nn.Linear(width, width, bias=False) for _ in range(4)
        )

    def forward(self, x, rotate, attend):
        """Mix tokens of shape (rows, length, width)."""
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        mixed = attend(rotate(norm(query)), rotate(norm(key)), value)
        return self.project(mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers with a squared ReLU between them."""

    def __init__(self, width):
        super().__init__()
        self.expand = nn.Linear(width, 4 * width, bias=False)
        self.project = nn.Linear(4 * width, width, bias=False)

    def forward(self, x):
        """Change each token by itself."""
        return self.project(F.relu(self.expand(x)).square())


class Block(nn.Module):
    """Attention, then feed-forward, each added to the residual stream."""

    def __init__(self, config):
        super().__init__()
        self.attention = Attention(config.width, config.heads)
        self.feed_forward = FeedForward(config.width)

    def forward(self, x, rotate, attend):
        """Return the stream of shape (rows, length, width) with what the block adds."""
        x = x + self.attention(norm(x), rotate, attend)
        return x + self.feed_forward(norm(x))


class GPT(ComposerModel):
    """The model: next-token scores of shape (rows, length, vocabulary)."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.rotary = Rotary(config.width // config.heads, config.context)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.head = nn.Linear(config.width, config.vocabulary, bias=False)
        self.start()
        if config.tied:
            self.head.weight = self.embedding.weight

    def start(self):
        """Draw the weights: projections and an untied head at zero, the rest at unit scale."""
        for name, parameter in self.named_parameters():
            if name.endswith("project.weight") or name == "head.weight":
                nn.init.zeros_(parameter)
            elif name == "embedding.weight":
                # Norms follow it, so that only a tied head sees its scale.
                nn.init.normal_(parameter, std=0.02)
            else:
                nn.init.normal_(parameter, std=0.5 * self.config.width**-0.5)

    def forward(self, batch):
        """Return the scores of each token's successor."""
        ids = batch["input_ids"]
        if ids.shape[1] > self.config.context:
            raise ValueError(
                f"rows of {ids.shape[1]} tokens are longer than the context of "
                f"{self.config.context}; cut them, or make the model with a longer context"
            )
        attend = attention_within(batch.get("document_ids"), ids.shape[1], ids.device)
        x = norm(self.embedding(ids))
        for block in self.blocks:
            x = block(x, self.rotary, attend)
        return self.head(norm(x))

    def loss(self, outputs, batch):
        """Return the mean over the tokens that count."""
        return F.cross_entropy(outputs.flatten(0, 1), batch["labels"].flatten())

    def get_metrics(self, is_train):
        """Return the metric of evaluation: nats per token."""
        return {} if is_train else {"LanguageCrossEntropy": LanguageCrossEntropy()}

    def update_metric(self, batch, outputs, metric):
        """Add a batch."""
        metric.update(outputs, batch["labels"])

    @torch.no_grad()
    def write(self, ids, count, temperature=0.8):
        """Write on, token by token.

        Args:
            ids: the beginning, shape (rows, length).
            count: how many tokens to add.
            temperature: 0 takes the likeliest token, 1 draws as the model believes.
        """
        for _ in range(count):
            scores = self({"input_ids": ids[:, -self.config.context :]})[:, -1].float()
            if temperature > 0:
                chosen = torch.multinomial((scores / temperature).softmax(-1), 1)
            else:
                chosen = scores.argmax(-1, keepdim=True)
            ids = torch.cat([ids, chosen], dim=1)
        return ids


# Attention within documents: blocks that nobody sees are skipped on a GPU; a plain mask elsewhere.


@cache
def _compiled_flex():
    return torch.compile(flex_attention)


def attention_within(documents, length, device):
    """Return a function of queries, keys and values that is causal and stays inside documents.

    Args:
        documents: numbers of shape (rows, length); ``None`` where a row is one document.
        length: tokens in a row.
        device: where they are.
    """
    if documents is None:
        return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)
    if device.type == "cuda":
        return _flex_within(documents, length, device)
    mask = document_mask(documents)
    return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def _flex_within(documents, length, device, attend=None):
    attend = attend or _compiled_flex()

    def sees(row, head, query, key):
        return (query >= key) & (documents[row, query] == documents[row, key])

    mask = create_block_mask(sees, documents.shape[0], None, length, length, device=device)
    return lambda q, k, v: attend(q, k, v, block_mask=mask)
