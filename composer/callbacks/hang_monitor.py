"""Notice that training has stopped moving, say why, and end the process."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from composer.callbacks._hang_report import RankReport, explain, write_flight_record
from composer.core.callback import Callback
from composer.core.logger import Logger
from composer.core.naming import format_name_with_dist
from composer.core.state import State
from composer.distributed import comm
from composer.distributed.notice_board import NoticeBoard
from composer.errors import ConfigError
from composer.utils.atomic import write_text

__all__ = ["HANG_EXIT_CODE", "HangMonitor"]

log = logging.getLogger(__name__)

HANG_EXIT_CODE = 76
"""With what a process ends that was found to hang."""

_ALARM, _DONE = "alarm", "done"
# How long a tracker may take to receive the report before the process ends.
_TRACKER_S = 10.0


class HangMonitor(Callback):
    """Reports when no batch begins or ends for a long time, on any rank, and ends the run.

    A thread of its own watches. When it finds no progress, every rank writes the Python stacks of
    all its threads to ``rank<r>.txt`` and, where PyTorch's flight recorder is on, what it holds of
    NCCL's collectives to ``rank<r>_flight_record.json``. Rank 0 collects the ranks' reports and
    says which collective waits for whom, in ``report.txt``, in the log and to every logger. Then
    all processes end with exit code 76, so that whoever started them can start them again.

    A pause between calls of ``fit``, ``eval`` and ``predict`` is no hang.

    Args:
        timeout_s: seconds without progress that are too many, above 0. It should be below the
            Trainer's ``dist_timeout``, or a collective gives up before the reason is known, and
            above what the slowest step, checkpoint included, takes.
        first_timeout_s: the same until the first batch has ended, while a model may be compiled;
            by default three times as long.
        exit_on_hang: whether the process ends; otherwise it reports and goes on watching.
        folder: where the files are written; ``{run_name}`` is filled in.
        grace_s: seconds for the ranks to report to rank 0, above 0.

    Raises:
        ValueError: an argument that cannot work.
    """

    def __init__(
        self,
        timeout_s: float = 240.0,
        first_timeout_s: float | None = None,
        exit_on_hang: bool = True,
        folder: str = "{run_name}/hang",
        grace_s: float = 15.0,
    ) -> None:
        first_timeout_s = 3 * timeout_s if first_timeout_s is None else first_timeout_s
        for name, value in (
            ("timeout_s", timeout_s),
            ("first_timeout_s", first_timeout_s),
            ("grace_s", grace_s),
        ):
            if value <= 0:
                raise ConfigError(f"{name}={value!r} must be above 0 seconds")
        self.timeout_s = timeout_s
        self.first_timeout_s = first_timeout_s
        self.exit_on_hang = exit_on_hang
        self.folder = folder
        self.grace_s = grace_s
        self._board: NoticeBoard | None = None
        self._thread: threading.Thread | None = None
        self._is_over = threading.Event()
        self._runner = 0
        self._is_watching = False
        self._moved_at = 0.0
        self._limit_s = first_timeout_s

    def __getstate__(self) -> dict[str, Any]:
        own = {"_board": None, "_thread": None, "_is_over": None, "_is_watching": False}
        return {**self.__dict__, **own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = {**state, "_is_over": threading.Event()}

    def init(self, state: State, logger: Logger) -> None:
        """Let ranks reach each other without collectives, and start the thread."""
        self._board = NoticeBoard()
        self._is_over.clear()
        self._thread = threading.Thread(
            target=self._watch, args=(state, logger), name="HangMonitor", daemon=True
        )
        self._thread.start()

    def close(self, state: State, logger: Logger) -> None:
        """End the thread."""
        del state, logger
        self._is_watching = False
        self._is_over.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
            self._thread = None

    # What counts as progress.

    def fit_start(self, state: State, logger: Logger) -> None:
        """Begin to watch."""
        del state, logger
        self._begin()

    def batch_start(self, state: State, logger: Logger) -> None:
        """Note that training moves."""
        del state, logger
        self._moved_at = time.monotonic()

    def batch_end(self, state: State, logger: Logger) -> None:
        """Note that training moves, and at its usual pace from now on."""
        del state, logger
        self._moved_at = time.monotonic()
        self._limit_s = self.timeout_s

    def fit_end(self, state: State, logger: Logger) -> None:
        """Watch no more."""
        del state, logger
        self._is_watching = False

    def eval_start(self, state: State, logger: Logger) -> None:
        """Begin to watch, or note that training moves."""
        del state, logger
        if self._is_watching:
            self._moved_at = time.monotonic()
        else:
            self._begin()

    def eval_batch_end(self, state: State, logger: Logger) -> None:
        """Note that the evaluation moves."""
        del state, logger
        self._moved_at = time.monotonic()

    def eval_end(self, state: State, logger: Logger) -> None:
        """Note that the evaluation moves."""
        del state, logger
        self._moved_at = time.monotonic()

    def eval_standalone_end(self, state: State, logger: Logger) -> None:
        """Watch no more."""
        del state, logger
        self._is_watching = False

    def predict_start(self, state: State, logger: Logger) -> None:
        """Begin to watch."""
        del state, logger
        self._begin()

    def predict_batch_end(self, state: State, logger: Logger) -> None:
        """Note that prediction moves."""
        del state, logger
        self._moved_at = time.monotonic()

    def predict_end(self, state: State, logger: Logger) -> None:
        """Watch no more."""
        del state, logger
        self._is_watching = False

    def _begin(self) -> None:
        self._runner = threading.get_ident()
        self._limit_s = self.first_timeout_s
        self._moved_at = time.monotonic()
        self._is_watching = True

    # The thread.

    def _watch(self, state: State, logger: Logger) -> None:
        tick = min(5.0, self.timeout_s / 4, self.grace_s / 4)
        while not self._is_over.wait(tick):
            if not self._is_watching:
                continue
            stalled_s = time.monotonic() - self._moved_at
            if stalled_s > self._limit_s and not _is_in_a_run(self._runner):
                # An error has ended the run, and somebody has caught it.
                self._is_watching = False
            elif stalled_s > self._limit_s or self._is_alarmed():
                self._alarm(state, logger, stalled_s)
                if self.exit_on_hang:
                    self._exit()
                # Said once; the next time is when it has moved and stopped again.
                self._moved_at = time.monotonic() + 1e9

    def _is_alarmed(self) -> bool:
        """Whether another rank has found that it hangs: then all say where they are."""
        return self.exit_on_hang and self._board is not None and self._board.has(_ALARM)

    def _alarm(self, state: State, logger: Logger, stalled_s: float) -> None:
        folder = format_name_with_dist(self.folder, state.run_name)
        os.makedirs(folder, exist_ok=True)
        own = os.path.join(folder, f"rank{comm.get_global_rank()}")
        report = RankReport.of_this_rank(str(state.timestamp), stalled_s, f"{own}.txt")
        log.error("no progress for %.0f s; the stacks are in %s.txt", stalled_s, own)
        if self._board is not None:
            self._board.post(_ALARM, "")
            self._board.post(f"report {report.rank}", report.to_json())
        with suppress(Exception):
            write_flight_record(f"{own}_flight_record.json")
        if report.rank == 0:
            self._publish(self._collect(report), folder, state, logger)
            if self._board is not None:
                self._board.post(_DONE, "")
        elif self._board is not None:
            self._board.read(_DONE, self.grace_s + _TRACKER_S)

    def _collect(self, own: RankReport) -> list[RankReport]:
        deadline = time.monotonic() + self.grace_s
        reports = [own]
        for rank in range(1, comm.get_world_size()):
            left = deadline - time.monotonic()
            text = None if self._board is None else self._board.read(f"report {rank}", left)
            if text is not None:
                reports.append(RankReport.from_json(text))
        return reports

    def _publish(
        self, reports: list[RankReport], folder: str, state: State, logger: Logger
    ) -> None:
        summary = explain(reports, comm.get_world_size())
        log.error("training hangs:\n%s", summary)
        path = os.path.join(folder, "report.txt")
        stacks = [f"--- rank {report.rank} ---\n{report.stacks}" for report in reports]
        write_text(path, "\n\n".join([summary, *stacks]))
        # A tracker may be what hangs: it gets some time, and no more.
        sender = threading.Thread(
            target=_tell_loggers, args=(reports, summary, path, state, logger), daemon=True
        )
        sender.start()
        sender.join(_TRACKER_S)

    def _exit(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        # Not sys.exit: the thread that trains is stuck and would never come to see it.
        os._exit(HANG_EXIT_CODE)


def _tell_loggers(
    reports: list[RankReport], summary: str, path: str, state: State, logger: Logger
) -> None:
    columns = ["rank", "host", "waits in collective", "has begun", "stacks"]
    rows: list[list[Any]] = [
        [each.rank, each.host, each.waiting_in, each.count, each.stacks] for each in reports
    ]
    step = state.timestamp.batch.value
    for destination in logger.destinations:
        # Each by itself, and not through the logger, in which the run may be stuck.
        with suppress(Exception):
            destination.log_table(columns, rows, "hang", step)
        with suppress(Exception):
            destination.log_hyperparameters({"hang": summary})
    with suppress(Exception):
        logger.upload_file("{run_name}/hang/report.txt", path, overwrite=True)
    for destination in logger.destinations:
        with suppress(Exception):
            destination.interrupted()


def _is_in_a_run(thread: int) -> bool:
    """Whether a thread is inside a loop of the Trainer."""
    frame = sys._current_frames().get(thread)
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("composer.trainer."):
            return True
        frame = frame.f_back
    return False
