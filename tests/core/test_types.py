"""The shared types."""

import pytest
import torch

from composer.core.types import MemoryFormat, TrainerMode


@pytest.mark.parametrize("member", MemoryFormat)
def test_memory_formats_are_those_of_torch(member):
    assert isinstance(getattr(torch, member.value), torch.memory_format)


def test_the_trainer_has_three_modes():
    assert [mode.value for mode in TrainerMode] == ["train", "eval", "predict"]
