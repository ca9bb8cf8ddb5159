from __future__ import annotations

import pathlib
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from composer.core.logger import Logger, format_log_data_value
from composer.core.logger_destination import LoggerDestination
from composer.core.state import State
from tests.core._doubles import Memory, make_state


class Accelerator(TorchDispatchMode):
    """Lets meta tensors stand for those of a device: copies to the host give ones, and count."""

    def __init__(self) -> None:
        super().__init__()
        self.num_reads = 0
        self.num_copies = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        place = kwargs.get("device")
        if func is torch.ops.aten._to_copy.default and place == torch.device("cpu"):
            self.num_reads += 1
            return torch.ones(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        self.num_copies += func is torch.ops.aten.clone.default
        return func(*args, **kwargs)


class FileStore(LoggerDestination):
    """A destination that keeps files, by name."""

    def __init__(self) -> None:
        self.uploads: list[tuple[str, pathlib.Path, bool]] = []

    def upload_file(
        self, state: State, remote_file_name: str, file_path: pathlib.Path, *, overwrite: bool
    ) -> None:
        self.uploads.append((remote_file_name, file_path, overwrite))

    def can_upload_files(self) -> bool:
        return True


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def logger(memory: Memory) -> Logger:
    return Logger(make_state(), memory)


def test_what_one_step_logs_arrives_as_one_dict(logger: Logger, memory: Memory) -> None:
    logger.log_metrics({"a": 1})
    logger.log_metrics({"b": 2})
    assert memory.metrics == []
    logger.flush()
    assert memory.metrics == [(0, {"a": 1, "b": 2})]


def test_the_step_is_the_batch_count_unless_given(logger: Logger, memory: Memory) -> None:
    logger._state.timestamp = logger._state.timestamp.to_next_batch()
    logger.log_metrics({"a": 1})
    logger.log_metrics({"a": 2}, step=7)
    logger.flush()
    assert memory.metrics == [(1, {"a": 1}), (7, {"a": 2})]


def test_steps_arrive_in_the_order_of_logging(logger: Logger, memory: Memory) -> None:
    for step in (3, 1, 3):
        logger.log_metrics({"a": step}, step)
    logger.flush()
    assert [step for step, _ in memory.metrics] == [3, 1, 3]


def test_a_name_logged_twice_in_a_step_arrives_twice(logger: Logger, memory: Memory) -> None:
    logger.log_metrics({"a": 1})
    logger.log_metrics({"a": 2, "b": 3})
    logger.flush()
    assert memory.metrics == [(0, {"a": 1}), (0, {"a": 2, "b": 3})]


def test_flushing_twice_delivers_once(logger: Logger, memory: Memory) -> None:
    logger.log_metrics({"a": 1})
    logger.flush()
    logger.flush()
    assert len(memory.metrics) == 1


def test_one_element_tensors_arrive_as_numbers(logger: Logger, memory: Memory) -> None:
    logger.log_metrics({"a": torch.tensor(1.5), "b": torch.tensor([[2]]), "c": torch.ones(2)})
    logger.flush()
    values = memory.metrics[0][1]
    assert (values["a"], values["b"]) == (1.5, 2)
    assert type(values["b"]) is int
    assert torch.equal(values["c"], torch.ones(2))


def test_nothing_is_read_from_a_device_before_the_flush_and_then_all_at_once(
    logger: Logger, memory: Memory
) -> None:
    with Accelerator() as device:
        for step in range(3):
            tensors = {name: torch.ones((), device="meta") for name in "abc"}
            logger.log_metrics(tensors, step)
        before = device.num_reads
        logger.flush()
    assert before == 0
    assert device.num_reads == 1
    assert memory.metrics[2] == (2, {"a": 1.0, "b": 1.0, "c": 1.0})


def test_a_tensor_that_changes_after_it_was_logged_arrives_as_it_was(
    logger: Logger, memory: Memory
) -> None:
    running = torch.tensor(1.0)
    logger.log_metrics({"a": running})
    running.add_(1)
    logger.flush()
    assert memory.metrics[0][1]["a"] == 1.0


def test_a_tensor_on_a_device_is_kept_apart_from_the_one_that_was_logged(logger: Logger) -> None:
    running = torch.ones((), device="meta")
    with Accelerator() as device:
        logger.log_metrics({"a": running})
    assert device.num_copies == 1


def test_a_logged_loss_does_not_keep_its_graph(logger: Logger) -> None:
    weight = torch.ones((), requires_grad=True, device="meta")
    logger.log_metrics({"a": weight * 2})
    assert not logger._steps[-1].tensors[0][1].requires_grad


def test_without_a_destination_that_takes_metrics_none_are_kept() -> None:
    logger = Logger(make_state(), FileStore())
    assert not logger.listens_to_metrics
    assert not logger.listens_to_traces
    logger.log_metrics({"a": torch.tensor(1.0)})
    assert logger._steps == []
    logger.flush()


def test_every_destination_gets_everything() -> None:
    left, right = Memory(), Memory()
    logger = Logger(make_state(), [left, right])
    logger.log_metrics({"a": 1})
    logger.log_hyperparameters({"lr": 2})
    logger.flush()
    assert left.metrics == right.metrics == [(0, {"a": 1})]
    assert left.hyperparameters == right.hyperparameters == {"lr": 2}


def test_what_a_destination_logs_while_flushing_is_kept_for_the_next_flush() -> None:
    class Echo(Memory):
        def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
            super().log_metrics(metrics, step)
            if "echo" not in metrics:
                logger.log_metrics({"echo": 1})

    echo = Echo()
    logger = Logger(make_state(), echo)
    logger.log_metrics({"a": 1})
    logger.flush()
    logger.flush()
    assert [metrics for _, metrics in echo.metrics] == [{"a": 1}, {"echo": 1}]


def test_tables_and_images_come_after_the_metrics_logged_before_them() -> None:
    order: list[Any] = []

    class Ordered(LoggerDestination):
        def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
            order.append(metrics)

        def log_table(self, columns: Any, rows: Any, name: Any = "Table", step: Any = None) -> None:
            order.append((name, columns, rows, step))

        def log_images(self, images: Any, name: str = "Images", *rest: Any, **more: Any) -> None:
            order.append(name)

    logger = Logger(make_state(), Ordered())
    logger.log_metrics({"a": 1})
    logger.log_table(["x"], [[1]], "T")
    logger.log_images([torch.zeros(2, 2)], "I")
    assert order == [{"a": 1}, ("T", ["x"], [[1]], 0), "I"]


def test_placeholders_of_file_names_are_filled() -> None:
    store = FileStore()
    logger = Logger(make_state(), [Memory(), store])
    assert logger.has_file_upload_destination()
    logger.upload_file("{run_name}/ba{batch}", "/tmp/{run_name}-{rank}.txt", overwrite=True)
    assert store.uploads == [("a-run/ba0", pathlib.Path("/tmp/a-run-0.txt"), True)]


def test_it_is_known_that_no_destination_keeps_files(logger: Logger) -> None:
    assert not logger.has_file_upload_destination()


def test_a_destination_that_keeps_no_files_gives_none_back() -> None:
    with pytest.raises(NotImplementedError, match="Memory cannot give files back"):
        Memory().download_file("a", "b")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        ("a", '"a"'),
        (1.23456, "1.2346"),
        (3, "3"),
        (True, "True"),
        (torch.tensor(0.5), "0.5000"),
        (torch.tensor([7]), "7"),
        (torch.zeros(2, 3), "Tensor of shape (2, 3)"),
        ({"a": 1.0}, '{ "a": 1.0000 }'),
        ([1, "b"], '[1, "b"]'),
        (pathlib.PurePosixPath("x"), "x"),
    ],
)
def test_values_are_shown_short(value: Any, text: str) -> None:
    assert format_log_data_value(value) == text


class Failing(LoggerDestination):
    """Raises whenever something is logged."""

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        raise OSError("disk full")

    def log_hyperparameters(self, hyperparameters: dict[str, Any]) -> None:
        raise OSError("disk full")


def test_a_destination_that_raises_is_reported_once_and_gets_nothing_more(
    memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    failing = Failing()
    logger = Logger(make_state(), [failing, memory])
    for step in range(3):
        logger.log_metrics({"a": step}, step)
        logger.flush()
    logger.log_hyperparameters({"lr": 1})
    assert memory.metrics == [(0, {"a": 0}), (1, {"a": 1}), (2, {"a": 2})]
    assert [record.message for record in caplog.records] == [
        "Failing failed and is switched off; training goes on without it"
    ]
    assert not logger.works(failing)
    assert logger.works(memory)


def test_when_all_are_switched_off_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    logger = Logger(make_state(), Failing())
    assert logger.listens_to_metrics
    logger.log_metrics({"a": 1})
    logger.flush()
    assert not logger.listens_to_metrics


def test_the_error_of_an_essential_destination_is_raised() -> None:
    class Essential(Failing):
        is_essential = True

    logger = Logger(make_state(), Essential())
    with pytest.raises(OSError, match="disk full"):
        logger.log_hyperparameters({"lr": 1})
