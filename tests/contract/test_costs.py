"""What methods cost in a step, as numbers that no machine changes.

Time is measured in `benchmarks/methods.py`. Here calls of functions and operations on tensors are
counted. That no step reads the device is tested in `tests/house/test_syncs.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from composer.algorithms.ema import EMA
from composer.algorithms.gradient_clipping import GradientClipping
from composer.algorithms.lawa import LAWA
from composer.algorithms.sam import SAMOptimizer
from composer.algorithms.swa import SWA
from composer.core.algorithm import Algorithm
from composer.core.event import Event
from tests.algorithms._runs import HandRun
from tests.contract._cases import Case, first_cases
from tests.contract._workloads import Workload


def begun(
    methods: list[Algorithm], model: nn.Module, workload: Workload | None = None, **settings: Any
) -> HandRun:
    run = HandRun(methods, model)
    if workload is not None and workload.is_keyed:
        run.state.set_dataloader(workload.loader(), "train")
    # Some methods refuse an optimizer without decay.
    run.state.optimizers[0].param_groups[0]["weight_decay"] = 0.01
    for name, value in settings.items():
        setattr(run.state, name, value)
    run.begin()
    return run


def calls_on(run: HandRun, event: Event) -> int:
    """Python and C calls of an event that was run before."""
    run.run(event)
    count = 0

    def profile(frame: FrameType, kind: str, arg: Any) -> None:
        nonlocal count
        count += kind in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        run.run(event)
    finally:
        sys.setprofile(before)
    return count


# Who acts is worked out anew where an epoch or an evaluation starts, and then holds for every step.
EVENTS_OF_STEPS = [
    event
    for event in Event
    if any(part in event.value for part in ("batch", "forward", "loss", "backward", "dataloader"))
]


@pytest.mark.parametrize("case", first_cases(), ids=str)
def test_a_method_adds_no_call_to_events_it_does_not_act_on(case: Case) -> None:
    run = begun([case.make()], case.workload.model(), case.workload, **case.keywords)
    plain = begun([], case.workload.model(), case.workload, **case.keywords)
    others = [event for event in EVENTS_OF_STEPS if event not in case.make().events]
    assert len(others) > 10
    for event in others:
        assert calls_on(run, event) == calls_on(plain, event), event


class DoingNothing(Algorithm):
    events: Mapping[Event, str] = {Event.BEFORE_LOSS: "act"}

    def act(self, state: Any, logger: Any) -> None:
        pass


def test_an_event_adds_few_calls_to_those_of_a_method() -> None:
    idle, busy = begun([], nn.Linear(1, 1)), begun([DoingNothing()], nn.Linear(1, 1))
    added = calls_on(busy, Event.BEFORE_LOSS) - calls_on(idle, Event.BEFORE_LOSS)
    assert added <= 6


class Operations(TorchDispatchMode):
    """Counts operations, but not the making of tensors without values."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is not torch.ops.aten.empty_like.default
        return func(*args, **kwargs or {})


def layers(number: int) -> nn.Module:
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(number)))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    return model


def on_event(make: Callable[[], Algorithm], event: Event) -> Callable[[nn.Module], Any]:
    def prepare(model: nn.Module) -> Callable[[], None]:
        run = begun([make()], model)
        return lambda: run.run(event)

    return prepare


def sam_step(model: nn.Module) -> Callable[[], None]:
    optimizer = SAMOptimizer(torch.optim.SGD(model.parameters(), lr=0.1))

    def climb_and_return() -> None:
        optimizer.first_step()
        optimizer.sub_e_w()

    return climb_and_return


STEPS: dict[str, Callable[[nn.Module], Callable[[], None]]] = {
    "EMA": on_event(EMA, Event.BATCH_END),
    "LAWA": on_event(lambda: LAWA(2, update_interval="1ba"), Event.BATCH_END),
    "SWA": on_event(lambda: SWA(swa_start="0dur", update_interval="1ba"), Event.BATCH_END),
    "clipping by norm": on_event(lambda: GradientClipping("norm", 1.0), Event.AFTER_TRAIN_BATCH),
    "clipping by value": on_event(lambda: GradientClipping("value", 1.0), Event.AFTER_TRAIN_BATCH),
    "SAM": sam_step,
}


@pytest.mark.parametrize("name", STEPS)
def test_operations_do_not_grow_with_the_number_of_tensors(name: str) -> None:
    counts = []
    for number in (2, 20):
        step = STEPS[name](layers(number))
        # An average begins with the first step and is bound to its tensors in the second.
        step()
        step()
        with Operations() as operations:
            step()
        counts.append(operations.count)
    assert 0 < counts[0] == counts[1]
