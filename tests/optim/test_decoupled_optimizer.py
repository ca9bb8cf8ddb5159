"""Every group has an initial rate, wherever it comes from; high decay is pointed out."""

import logging

import pytest
import torch

from composer.optim.decoupled_optimizer import schedule_factor
from composer.optim.decoupled_weight_decay import DecoupledAdamW, DecoupledSGDW

BOTH = [DecoupledSGDW, DecoupledAdamW]


def weight():
    return torch.nn.Parameter(torch.ones(2))


def test_the_factor_is_the_share_of_the_initial_rate():
    assert schedule_factor(0.05, 0.2) == 0.25


def test_the_factor_is_one_where_the_initial_rate_is_zero():
    assert schedule_factor(0.0, 0.0) == 1.0


@pytest.mark.parametrize("cls", BOTH)
def test_a_group_added_later_gets_its_initial_rate(cls):
    optimizer = cls([weight()], lr=0.1)
    optimizer.add_param_group({"params": [weight()], "lr": 0.3})
    optimizer.add_param_group({"params": [weight()]})
    assert [g["initial_lr"] for g in optimizer.param_groups] == [0.1, 0.3, 0.1]


@pytest.mark.parametrize("cls", BOTH)
def test_a_group_may_bring_its_initial_rate(cls):
    optimizer = cls([{"params": [weight()], "lr": 0.1, "initial_lr": 0.4}], lr=0.1)
    assert optimizer.param_groups[0]["initial_lr"] == 0.4


@pytest.mark.parametrize("cls", BOTH)
def test_the_initial_rate_is_a_number_where_the_rate_is_a_tensor(cls):
    optimizer = cls([weight()], lr=torch.tensor(0.5))
    assert type(optimizer.param_groups[0]["initial_lr"]) is float


@pytest.mark.parametrize("cls", BOTH)
def test_a_high_decay_is_pointed_out(cls, caplog):
    cls([weight()], lr=0.1, weight_decay=0.01)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"weight_decay=0.01 is high for {cls.__name__}" in record.getMessage()
    assert "multiplies the weights by 0.99" in record.getMessage()


@pytest.mark.parametrize("cls", BOTH)
def test_a_high_decay_of_a_single_group_is_pointed_out(cls, caplog):
    cls([{"params": [weight()], "weight_decay": 1e-3}, {"params": [weight()]}], lr=1.0)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("cls", BOTH)
def test_a_usual_decay_is_not(cls, caplog):
    cls([weight()], lr=0.1, weight_decay=9e-4)
    assert not caplog.records
