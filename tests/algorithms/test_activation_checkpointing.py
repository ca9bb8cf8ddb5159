from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointPolicy

from composer.algorithms.activation_checkpointing import (
    ActivationCheckpointing,
    apply_activation_checkpointing,
)
from composer.errors import ArgumentTypeError, ConfigError, UnknownNameError
from composer.utils.warnings import NoEffectWarning
from tests.contract._workloads import LANGUAGE, LanguageModel, TransformerBlock

SAVES: list[Any] = ["nothing", "attention", "matmuls", ["mm", "aten.addmm"]]


def language_model() -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel()


def backward(model: LanguageModel) -> int:
    """Do a step's two passes; return the bytes that were kept between them."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    given = LANGUAGE.batch()
    torch.manual_seed(1)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model.loss(model(given), given)
    loss.backward()
    return sum(kept.values())


@pytest.mark.parametrize("save", SAVES, ids=str)
def test_gradients_are_the_same_dropout_included(save: Any) -> None:
    plain, checkpointed = language_model(), language_model()
    apply_activation_checkpointing(checkpointed, "blocks.*", save)
    backward(plain)
    backward(checkpointed)
    for own, other in zip(checkpointed.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad)


class Counting(nn.Module):
    """A product and an activation, which count how often they are computed."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4))
        self.runs = 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        return torch.mm(x, self.weight).exp()


class Products(torch.utils._python_dispatch.TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def operations(save: Any) -> list[str]:
    model = nn.Sequential(Counting())
    apply_activation_checkpointing(model, Counting, save)
    x = torch.randn(2, 4, requires_grad=True)
    loss = model(x).sum()
    with Products() as products:
        loss.backward()
    assert model[0].runs == 2
    return products.names


def test_what_is_saved_is_not_computed_again() -> None:
    # The backward pass of a product takes two.
    assert operations("nothing").count("mm") == 3
    assert operations("matmuls").count("mm") == 2
    assert operations("matmuls").count("exp") == 1
    assert operations(["exp"]).count("mm") == 3
    assert "exp" not in operations(["aten.exp"])


def test_a_policy_may_be_a_function() -> None:
    def policy(context: Any, operator: Any, *args: Any, **keywords: Any) -> CheckpointPolicy:
        is_exp = operator is torch.ops.aten.exp.default
        return CheckpointPolicy.MUST_SAVE if is_exp else CheckpointPolicy.PREFER_RECOMPUTE

    assert "exp" not in operations(policy)


def test_less_is_kept_between_the_passes() -> None:
    whole, products, nothing = (language_model() for _ in range(3))
    apply_activation_checkpointing(products, TransformerBlock, "matmuls")
    apply_activation_checkpointing(nothing, TransformerBlock, "nothing")
    # Torch keeps saved results aside, out of the hooks' sight: only inputs are seen here.
    assert backward(nothing) < backward(whole) / 2
    assert backward(products) < backward(whole) / 2


def test_names_of_weights_and_evaluation_stay() -> None:
    plain, checkpointed = language_model(), language_model()
    apply_activation_checkpointing(checkpointed, "blocks.*")
    assert plain.state_dict().keys() == checkpointed.state_dict().keys()
    plain.eval()
    checkpointed.eval()
    given = LANGUAGE.batch()
    assert torch.equal(plain(given), checkpointed(given))


def test_a_copy_trains_its_own_weights() -> None:
    model = language_model()
    apply_activation_checkpointing(model, "blocks.*")
    again = copy.deepcopy(model)
    backward(again)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.grad is not None for parameter in again.parameters())


def test_modules_inside_others_are_left_to_them() -> None:
    model = language_model()
    apply_activation_checkpointing(model, ["TransformerBlock", "Linear"])
    assert "forward" in vars(model.blocks[0])
    assert "forward" not in vars(model.blocks[0].attention.qkv)
    assert "forward" in vars(model.head)


@pytest.mark.parametrize("use_cache", [True, False])
def test_models_of_transformers_know_their_blocks(use_cache: bool) -> None:
    transformers = pytest.importorskip("transformers", reason="the model is one of its own")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        n_layer=2, n_embd=16, n_head=2, vocab_size=50, n_positions=16, bos_token_id=0,
        eos_token_id=0, use_cache=use_cache,
    )  # fmt: skip
    plain = transformers.GPT2LMHeadModel(config).train()
    checkpointed = copy.deepcopy(plain)
    apply_activation_checkpointing(checkpointed)
    assert all("forward" in vars(block) for block in checkpointed.transformer.h)
    ids = torch.randint(50, (2, 8))
    for model in (plain, checkpointed):
        torch.manual_seed(1)
        model(input_ids=ids, labels=ids).loss.backward()
    for own, other in zip(checkpointed.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad)
    written = checkpointed.eval().generate(ids[:1], max_new_tokens=3, do_sample=False)
    assert written.shape == (1, 11)


def test_batch_norm_is_refused_because_it_would_see_a_batch_twice() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    with pytest.raises(ConfigError, match=r"0 \(Sequential\) holds batch norm"):
        apply_activation_checkpointing(model, "0")


def test_a_model_without_such_a_module_is_told_of() -> None:
    with pytest.warns(NoEffectWarning, match=r"'layers\.\*', and found none"):
        apply_activation_checkpointing(language_model(), "layers.*")
    with pytest.warns(NoEffectWarning, match="the blocks of a transformers model"):
        apply_activation_checkpointing(language_model())


@pytest.mark.parametrize(
    ("save", "error"),
    [("matmul", UnknownNameError), (["mmm"], ConfigError), ([3], ArgumentTypeError)],
    ids=str,
)
def test_what_is_no_operator_is_refused(save: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        ActivationCheckpointing("blocks.*", save)
