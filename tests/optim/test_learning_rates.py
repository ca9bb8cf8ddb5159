"""Learning rates that are set from outside the optimizer."""

from __future__ import annotations

import torch

from composer.optim.learning_rates import set_number, set_rate


def test_a_number_is_replaced() -> None:
    group = {"lr": 0.1}
    set_rate(group, 0.2)
    assert group["lr"] == 0.2


def test_a_tensor_stays_the_one_that_a_captured_graph_reads() -> None:
    rate = torch.tensor(0.1)
    group = {"lr": rate}
    set_rate(group, torch.tensor(0.25))
    assert group["lr"] is rate
    assert rate.item() == 0.25


def test_other_numbers_of_a_group_are_set_alike() -> None:
    decay = torch.tensor(0.1)
    group = {"weight_decay": decay, "momentum": 0.9}
    set_number(group, "weight_decay", 0.25)
    set_number(group, "momentum", 0.5)
    assert group == {"weight_decay": decay, "momentum": 0.5}
    assert decay.item() == 0.25
