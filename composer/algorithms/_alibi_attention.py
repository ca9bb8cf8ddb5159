"""How attention layers get ALiBi: biases of scores, and the classes whose layers are known.

A policy is a function ``(module, index, max_sequence_length)`` that changes a module in place (or
returns another one in its stead) and is registered for a class::

    @policy_registry.register(MyAttention)
    def add_alibi(module, index, max_sequence_length):
        return register_alibi(module, module.num_heads, max_sequence_length, causal=True)

`MyAttention` then adds ``alibi_bias(self, num_queries, num_keys)`` to its scores before the
softmax. Layers of torch and of transformers need no change: a hook adds the bias to their mask.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from composer.algorithms._targets import transformers_class
from composer.errors import ArgumentTypeError, ConfigError, DataError

__all__ = [
    "PolicyRegistry",
    "alibi_bias",
    "alibi_slopes",
    "known_policies",
    "policy_registry",
    "register_alibi",
    "zero_and_freeze_expand_position_embeddings",
]

Policy = Callable[[nn.Module, int, int], nn.Module | None]
F = TypeVar("F", bound=Policy)

_PARAMETERS = ("module", "index", "max_sequence_length")
# Others have no place for a bias of the scores.
_IMPLEMENTATIONS = ("eager", "sdpa")


class PolicyRegistry(dict[type[nn.Module], Policy]):
    """Class of modules -> the policy that gives them ALiBi."""

    def register(self, *modules: type[nn.Module]) -> Callable[[F], F]:
        """Return a decorator that registers a policy for classes of modules.

        Args:
            modules: the classes; their subclasses are meant too.

        Raises:
            TypeError: not a class of modules, or, when it decorates, not a function of
                ``(module, index, max_sequence_length)``.
        """
        for each in modules:
            if not (isinstance(each, type) and issubclass(each, nn.Module)):
                raise ArgumentTypeError(f"a policy is for classes of modules, got {each!r}")

        def add(policy: F) -> F:
            _check_signature(policy)
            self.update(dict.fromkeys(modules, policy))
            return policy

        return add


def _check_signature(policy: Callable[..., Any]) -> None:
    try:
        inspect.signature(policy).bind(*_PARAMETERS)
    except TypeError:
        raise ArgumentTypeError(
            f"a policy takes ({', '.join(_PARAMETERS)}) and returns a module, got "
            f"{policy!r} with the parameters {inspect.signature(policy)}"
        ) from None


policy_registry = PolicyRegistry()


def alibi_slopes(num_heads: int) -> list[float]:
    """Return each head's slope.

    Args:
        num_heads: number of heads, >= 1.

    Returns:
        For a power of two the geometric sequence that starts at, and has the ratio,
        ``2 ** (-8 / num_heads)``; otherwise that of the next lower power of two, followed by every
        second slope of twice as many heads.

    Example:
        >>> alibi_slopes(4)
        [0.25, 0.0625, 0.015625, 0.00390625]
    """
    lower = 2 ** int(math.log2(num_heads))
    slopes = _geometric(lower)
    return slopes + _geometric(2 * lower)[0::2][: num_heads - lower]


def _geometric(number: int) -> list[float]:
    return [2.0 ** (-8 * (place + 1) / number) for place in range(number)]


def register_alibi(
    module: nn.Module, n_heads: int, max_token_length: int, causal: bool
) -> nn.Module:
    """Give a module the slopes of its heads, as the buffer ``alibi`` of shape (1, n_heads, 1, 1).

    The buffer is not saved: it follows from the number of heads.

    Args:
        module: the attention module.
        n_heads: its number of heads.
        max_token_length: the longest sequence it will be given.
        causal: whether it builds its causal mask itself when it is given none.

    Returns:
        The module.
    """
    device = next((parameter.device for parameter in module.parameters()), None)
    slopes = torch.tensor(alibi_slopes(n_heads), device=device)
    module.register_buffer("alibi", slopes.view(1, n_heads, 1, 1), persistent=False)
    settings = cast("Any", module)
    settings.alibi_max_length = max_token_length
    settings.alibi_causal = causal
    return module


def alibi_bias(module: nn.Module, num_queries: int, num_keys: int) -> Tensor:
    """Return what is added to the scores of an attention module before the softmax.

    Args:
        module: a module that :func:`register_alibi` has seen.
        num_queries: queries; they are the last of the sequence.
        num_keys: keys, those kept from earlier calls included.

    Returns:
        ``-slope * |i - j|``, float32, shape (1, n_heads, num_queries, num_keys).

    Raises:
        ValueError: the sequence is longer than ``max_token_length``.

    Source:
        Press et al. 2021, section 3. For encoders distances count both ways.
    """
    settings = cast("Any", module)
    if num_keys > settings.alibi_max_length:
        raise DataError(
            f"{num_keys} tokens are more than max_sequence_length={settings.alibi_max_length}; "
            "give Alibi a larger one"
        )
    keys = torch.arange(num_keys, device=settings.alibi.device)
    queries = keys[num_keys - num_queries :]
    return settings.alibi.float() * -(queries[:, None] - keys).abs()


def zero_and_freeze_expand_position_embeddings(
    module: nn.Module, max_sequence_length: int, position_embedding_attribute: str
) -> None:
    """Switch position embeddings off: as many zeros as positions, which do not train.

    Args:
        module: the module that has them.
        max_sequence_length: number of positions.
        position_embedding_attribute: their name in the module; dots lead further inside.

    Raises:
        TypeError: it is no ``Embedding``.
    """
    embedding = module.get_submodule(position_embedding_attribute)
    if not isinstance(embedding, nn.Embedding):
        raise ArgumentTypeError(
            f"{position_embedding_attribute!r} of {type(module).__name__} is a "
            f"{type(embedding).__name__}, and position embeddings are an Embedding"
        )
    zeros = embedding.weight.new_zeros(max_sequence_length, embedding.embedding_dim)
    embedding.num_embeddings = max_sequence_length
    embedding.weight = nn.Parameter(zeros, requires_grad=False)


# torch.


@policy_registry.register(nn.MultiheadAttention)
def _torch_attention(module: nn.Module, index: int, max_sequence_length: int) -> nn.Module:
    num_heads: Any = module.num_heads
    module.register_forward_pre_hook(_bias_torch_mask, with_kwargs=True)
    return register_alibi(module, num_heads, max_sequence_length, causal=False)


def _bias_torch_mask(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    given = dict(zip(_TORCH_ARGUMENTS, args, strict=False)) | kwargs
    query, key = given["query"], given["key"]
    if query is not key:
        # Attention to another sequence, to which there is no distance.
        return args, kwargs
    length_axis = 0 if query.ndim == 2 or not module.batch_first else 1
    length = query.shape[length_axis]
    bias = alibi_bias(module, length, length)[0]
    if query.ndim == 3:
        # One mask for each head of each sample.
        bias = bias.repeat(query.shape[1 - length_axis], 1, 1)
    mask = given.get("attn_mask")
    if mask is not None:
        bias = bias.masked_fill(mask, -math.inf) if mask.dtype is torch.bool else bias + mask
    elif given.get("is_causal"):
        bias = bias.masked_fill(_future(length, length, bias.device), -math.inf)
    padding = given.get("key_padding_mask")
    if padding is not None and padding.dtype is torch.bool:
        # torch wants both masks in one format.
        zeros = torch.zeros(padding.shape, dtype=query.dtype, device=query.device)
        given["key_padding_mask"] = zeros.masked_fill(padding, -math.inf)
    # As a hint it would let torch drop the mask, and the bias with it.
    return (), {**given, "attn_mask": bias.to(query.dtype), "is_causal": False}


_TORCH_ARGUMENTS = (
    "query",
    "key",
    "value",
    "key_padding_mask",
    "need_weights",
    "attn_mask",
    "average_attn_weights",
    "is_causal",
)


def _future(num_queries: int, num_keys: int, device: torch.device) -> Tensor:
    """Return which keys come after each query."""
    ones = torch.ones(num_queries, num_keys, dtype=torch.bool, device=device)
    return ones.triu(1 + num_keys - num_queries)


# transformers.


def known_policies() -> dict[type[nn.Module], Policy]:
    """Return the registered policies and those for the classes of transformers that are loaded."""
    found: dict[type[nn.Module], Policy] = {}
    for module, policies in _TRANSFORMERS.items():
        for name, policy in policies.items():
            cls = transformers_class(module, name)
            if cls is not None:
                found[cls] = policy
    return {**found, **policy_registry}


def _hf_attention(module: nn.Module, index: int, max_sequence_length: int) -> nn.Module | None:
    settings = cast("Any", module)
    if getattr(settings, "is_cross_attention", False):
        return None
    implementation = getattr(settings.config, "_attn_implementation", "eager")
    if implementation not in _IMPLEMENTATIONS:
        raise ConfigError(
            f"attn_implementation={implementation!r} of {type(module).__name__} takes no bias of "
            f"scores; make the model with one of {list(_IMPLEMENTATIONS)}"
        )
    module.register_forward_pre_hook(_bias_hf_mask, with_kwargs=True)
    heads = getattr(settings, "num_heads", None) or settings.num_attention_heads
    return register_alibi(module, heads, max_sequence_length, causal=bool(settings.is_causal))


def _bias_hf_mask(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    hidden: Tensor = args[0] if args else kwargs["hidden_states"]
    mask: Tensor | None = kwargs.get("attention_mask")
    num_queries = hidden.shape[1]
    num_keys = num_queries + _num_kept(module, kwargs) if mask is None else mask.shape[-1]
    bias = alibi_bias(module, num_queries, num_keys)
    # Not infinity: a row of padding alone must stay a number.
    lowest = torch.finfo(hidden.dtype).min
    if mask is None and module.alibi_causal:
        bias = bias.masked_fill(_future(num_queries, num_keys, bias.device), lowest)
    elif mask is not None and mask.dtype is torch.bool:
        bias = torch.where(mask, bias, lowest)
    elif mask is not None:
        bias = bias + mask
    kwargs["attention_mask"] = bias.clamp(min=lowest).to(hidden.dtype)
    return args, kwargs


def _num_kept(module: nn.Module, kwargs: dict[str, Any]) -> int:
    """Return the number of keys that are kept from earlier calls, while text is generated."""
    for name in ("cache", "past_key_values", "past_key_value"):
        cache = kwargs.get(name)
        if cache is not None:
            return int(cache.get_seq_length(module.layer_idx))
    return 0


def _gpt2_positions(module: nn.Module, index: int, max_sequence_length: int) -> nn.Module:
    zero_and_freeze_expand_position_embeddings(module, max_sequence_length, "wpe")
    _note_positions(module, max_sequence_length)
    return module


def _bert_positions(module: nn.Module, index: int, max_sequence_length: int) -> nn.Module:
    embeddings = cast("Any", module.get_submodule("embeddings"))
    # RoBERTa counts positions from padding_idx + 1.
    offset = embeddings.position_embeddings.padding_idx
    number = max_sequence_length + (0 if offset is None else offset + 1)
    zero_and_freeze_expand_position_embeddings(embeddings, number, "position_embeddings")
    device = embeddings.position_embeddings.weight.device
    positions = torch.arange(number, device=device)[None]
    embeddings.register_buffer("position_ids", positions, persistent=False)
    if hasattr(embeddings, "token_type_ids"):
        types = torch.zeros_like(positions)
        embeddings.register_buffer("token_type_ids", types, persistent=False)
    _note_positions(module, number)
    return module


def _note_positions(module: nn.Module, number: int) -> None:
    """Let the configuration, from which a model can be made again, say how many there are."""
    config: Any = module.config
    config.max_position_embeddings = number


_TRANSFORMERS: dict[str, dict[str, Policy]] = {
    "bert.modeling_bert": {"BertSelfAttention": _hf_attention, "BertModel": _bert_positions},
    "gpt2.modeling_gpt2": {"GPT2Attention": _hf_attention, "GPT2Model": _gpt2_positions},
    "roberta.modeling_roberta": {
        "RobertaModel": _bert_positions,
        "RobertaSelfAttention": _hf_attention,
    },
}
