"""Every parameter goes where a reader would put it, with a reason."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from composer.errors import ConfigError
from composer.optim.parameter_split import split_parameters


class Language(nn.Module):
    """Embedding, a layer, and an output layer that may be tied to the embedding."""

    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 4)
        self.hidden = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 11, bias=False)
        if tied:
            self.head.weight = self.embed.weight


@pytest.mark.parametrize("tied", [False, True])
def test_a_language_model_keeps_embedding_and_head_out(tied: bool) -> None:
    split = split_parameters(Language(tied))
    assert list(split.matrices) == ["hidden.weight"]
    assert split.reasons["embed.weight"] == "an embedding"
    assert split.reasons["norm.weight"] == "a vector or a number"
    assert ("head.weight" in split.others) is not tied


def test_a_vision_model_keeps_grouped_convolutions_and_the_last_layer_out() -> None:
    net = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Linear(8, 2))
    split = split_parameters(net)
    assert list(split.matrices) == ["0.weight"]
    assert split.reasons["1.weight"] == "a grouped convolution"
    assert split.reasons["2.weight"] == "the output layer"


def test_a_matrix_of_the_users_own_counts_and_a_stack_of_them_does_not() -> None:
    net = nn.Module()
    net.matrix = nn.Parameter(torch.zeros(3, 4))
    net.experts = nn.Parameter(torch.zeros(2, 3, 4))
    split = split_parameters(net)
    assert list(split.matrices) == ["matrix"]
    assert "3 dimensions" in split.reasons["experts"]


def test_frozen_parameters_are_in_neither_part() -> None:
    net = Language(tied=False)
    net.hidden.weight.requires_grad_(False)
    split = split_parameters(net)
    assert "hidden.weight" not in split.matrices | split.others


def test_names_can_be_excluded_and_must_exist() -> None:
    split = split_parameters(Language(tied=False), exclude=["hid*"])
    assert split.reasons["hidden.weight"] == "excluded by name"
    with pytest.raises(ConfigError, match="matches no parameter"):
        split_parameters(Language(tied=False), exclude=["hiden*"])


def test_its_text_names_every_parameter() -> None:
    text = str(split_parameters(Language(tied=False)))
    assert "1 hidden matrices (16 weights)" in text
    assert all(name in text for name, _ in Language(tied=False).named_parameters())
