"""Every method and every callback in the library resumes exactly: the certificate, cell by cell.

What is tried is found by registry, with the arguments of the other contract tests. Each is tried in
one configuration, in turn; all combinations are part of the full matrices.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from composer.testing.verify import verify_resume
from composer.trainer.trainer import Trainer
from tests.contract import test_callbacks
from tests.contract._cases import Case, first_cases
from tests.contract._method_runs import make_trainer
from tests.trainer import _runs

BATCHES_PER_EPOCH = 4


@dataclass(frozen=True)
class Configuration:
    """How a run is made, and where it is interrupted."""

    precision: str
    num_workers: int
    microbatch_size: int | None
    stops: tuple[str, ...]

    @property
    def keywords(self) -> dict[str, Any]:
        given = {"precision": self.precision, "max_duration": self.max_duration}
        if self.microbatch_size is not None:
            given["device_train_microbatch_size"] = self.microbatch_size
        return given

    @property
    def max_duration(self) -> str:
        return "4ep" if "3ep" in self.stops else "2ep"

    def __str__(self) -> str:
        parts = [self.precision, f"{self.num_workers} workers", f"at {' '.join(self.stops)}"]
        if self.microbatch_size is not None:
            parts.append(f"microbatches of {self.microbatch_size}")
        return ", ".join(parts)


MID_EPOCH, BETWEEN_EPOCHS = ("6ba",), ("1ep",)
THREE_TIMES, THREE_EPOCHS = ("2ba", "4ba", "7ba"), ("1ep", "2ep", "3ep")
ALL = [
    Configuration(*each)
    for each in itertools.product(
        ("fp32", "amp_bf16"),
        (0, 2),
        (None, 3),
        (MID_EPOCH, BETWEEN_EPOCHS, THREE_TIMES, THREE_EPOCHS),
    )
]
# Each value of each property, with few worker processes, which take most of the time.
IN_TURN = [
    Configuration("fp32", 0, None, THREE_TIMES),
    Configuration("amp_bf16", 0, 3, MID_EPOCH),
    Configuration("fp32", 0, 3, BETWEEN_EPOCHS),
    Configuration("amp_bf16", 0, None, THREE_EPOCHS),
    Configuration("fp32", 2, 3, MID_EPOCH),
]
METHODS = first_cases()
# Microbatches of 3 leave one sample of each batch, and a ghost batch is 2.
WITH_EVEN_MICROBATCHES = {"GhostBatchNorm"}
CALLBACKS = [case for case in test_callbacks.CASES if case.name != "CheckpointSaver"]


def in_turn(cells: list[Any]) -> list[tuple[Any, Configuration]]:
    return list(zip(cells, itertools.cycle(IN_TURN), strict=False))


def check(make: Callable[[], Trainer], configuration: Configuration) -> None:
    certificate = verify_resume(make, interrupt_at=configuration.stops)
    certificate.require()
    assert len(certificate.resumed_at) == len(configuration.stops)


def check_method(case: Case, configuration: Configuration) -> None:
    def make() -> Trainer:
        workload = case.workload
        given = {
            "train_dataloader": workload.loader(
                shuffle=True, num_workers=configuration.num_workers
            ),
            "eval_dataloader": workload.loader(8),
            **configuration.keywords,
        }
        if configuration.microbatch_size and case.name in WITH_EVEN_MICROBATCHES:
            given["device_train_microbatch_size"] = 2
        return make_trainer(case, **{**given, **case.keywords})

    check(make, configuration)


def check_callback(case: Any, configuration: Configuration, folder: Path) -> None:
    def make() -> Trainer:
        loader = _runs.loader(shuffle=True, num_workers=configuration.num_workers)
        return _runs.make_trainer(
            callbacks=[case.make(folder)],
            train_dataloader=loader,
            eval_dataloader=_runs.loader(),
            eval_interval="2ba",
            **configuration.keywords,
        )

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*CUDA devices")  # off CUDA some say so
        check(make, configuration)


@pytest.mark.parametrize(("case", "configuration"), in_turn(METHODS), ids=str)
def test_a_run_with_any_method_resumes_exactly(case: Case, configuration: Configuration) -> None:
    check_method(case, configuration)


@pytest.mark.parametrize(("case", "configuration"), in_turn(CALLBACKS), ids=str)
def test_a_run_with_any_callback_resumes_exactly(
    case: Any, configuration: Configuration, tmp_path: Path
) -> None:
    check_callback(case, configuration, tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("configuration", ALL, ids=str)
@pytest.mark.parametrize("case", METHODS, ids=str)
def test_a_run_with_any_method_resumes_exactly_in_every_configuration(
    case: Case, configuration: Configuration
) -> None:
    check_method(case, configuration)


@pytest.mark.full
@pytest.mark.parametrize("configuration", ALL, ids=str)
@pytest.mark.parametrize("case", CALLBACKS, ids=str)
def test_a_run_with_any_callback_resumes_exactly_in_every_configuration(
    case: Any, configuration: Configuration, tmp_path: Path
) -> None:
    check_callback(case, configuration, tmp_path)


def test_the_configurations_in_turn_have_every_value_of_every_property() -> None:
    for name in ("precision", "num_workers", "microbatch_size", "stops"):
        assert {getattr(each, name) for each in IN_TURN} >= {getattr(each, name) for each in ALL}
    assert min(len(METHODS), len(CALLBACKS)) >= len(IN_TURN)
