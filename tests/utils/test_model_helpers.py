"""Evaluation mode, number formats, sharded or not."""

import pytest
import torch
from torch import nn

from composer.utils.model_helpers import (
    STR_TO_DTYPE,
    is_model_fsdp,
    is_model_fsdp2,
    model_eval_mode,
)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("fp32", torch.float32), ("fp16", torch.float16), ("bf16", torch.bfloat16)],
)
def test_formats_are_known_by_name(name, dtype):
    assert STR_TO_DTYPE[name] is dtype


def test_the_mode_comes_back_and_frozen_layers_stay_frozen():
    model = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2))
    model[1].eval()
    with model_eval_mode(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == [True, True, False]


def test_the_mode_comes_back_after_an_error():
    model = nn.Dropout()
    with pytest.raises(RuntimeError), model_eval_mode(model):
        raise RuntimeError
    assert model.training


def test_a_plain_model_is_not_sharded():
    assert not is_model_fsdp(nn.Linear(1, 1))
    assert not is_model_fsdp2(nn.Linear(1, 1))
