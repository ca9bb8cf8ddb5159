"""One run of Weights & Biases, kept going whatever happens to it.

W&B takes the rows of a run in the order of their steps and refuses one that comes late; whoever
ends a run in a ``with`` block ends it for everybody; and a server may be gone. Here rows find a
place, an ended run is opened again, and without a server the run is written to disk.
"""

from __future__ import annotations

import atexit
import functools
import logging
import os
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from composer.loggers._plain import plain
from composer.utils.import_helpers import import_extra

__all__ = ["WandBRun", "import_wandb"]

log = logging.getLogger(__name__)

T = TypeVar("T")

# Options of `wandb.init` that say which run to open. They hold for the first time only.
_CHOOSES_RUN = ("id", "resume", "resume_from", "fork_from", "reinit")

# The runs of loggers that are open: a second logger must not write into the run of the first.
_owned: weakref.WeakSet[Any] = weakref.WeakSet()


def import_wandb() -> Any:
    """Import ``wandb``.

    Raises:
        ImportError: it is not installed; the message names the extra.
    """
    return import_extra("wandb", "wandb")


class WandBRun:
    """A run of W&B that goes on until :meth:`finish`.

    Args:
        options: keywords of ``wandb.init``.
        deliver: sends what was logged so far. It is called before the user's own ``run.log``, so
            that a row of a higher step does not overtake it.
        current_step: returns the step that the user's own ``run.log`` belongs to where it names
            none. Counting by itself, W&B would soon be ahead of the training.
    """

    def __init__(
        self,
        options: dict[str, Any],
        deliver: Callable[[], None],
        current_step: Callable[[], int],
    ) -> None:
        self._wandb = import_wandb()
        self._options = options
        self._deliver = deliver
        self._current_step = current_step
        self._run: Any = None
        self._log: Callable[..., None] | None = None
        # The lowest step that W&B still takes.
        self._open_step = 0
        # Names in the row of that step whose values belong to an earlier one.
        self._late: set[str] = set()
        self._warned_late = False
        self._is_exiting = False

    @property
    def run(self) -> Any:
        """The run, as ``wandb.init`` gave it."""
        return self._run

    # Opening.

    def open(self) -> None:
        """Open the run that the options describe."""
        self._adopt(self._init(self._options))

    def resume(self, run_id: str, step: int) -> bool:
        """Open an earlier run and forget what it logged at ``step`` and after it.

        Args:
            run_id: the run's id.
            step: the first step to be logged; 1 or more.

        Returns:
            Whether the run stands at ``step``. If not, it goes on where it ended.
        """
        others = {name: v for name, v in self._options.items() if name not in _CHOOSES_RUN}
        rewound = {**others, "resume_from": f"{run_id}?_step={step - 1}"}
        try:
            self._adopt(self._init(rewound, otherwise_offline=False))
        except self._wandb.Error as error:
            if "rewind" not in str(error).lower():
                self._adopt(self._init_offline(rewound, error))
                return True
            log.warning(
                "W&B cannot go back to step %d of the run %s (%s): it goes on where it ended, and "
                "what was logged twice is shown at later steps",
                step, run_id, _first_line(error),
            )  # fmt: skip
            self._make_room()
            self._adopt(self._init({**others, "id": run_id, "resume": "allow"}))
            return False
        return True

    def _reopen(self) -> None:
        """Go on in the run that somebody ended."""
        others = {name: v for name, v in self._options.items() if name not in _CHOOSES_RUN}
        # A run that is current now is somebody else's: leave it so.
        beside = {} if self._wandb.run is None else {"reinit": "create_new"}
        log.info("the W&B run %s was ended by other code; it is opened again", self._run.id)
        same = {"id": self._run.id, "resume": "allow", "project": self._run.project}
        self._adopt(self._init({**others, **same, **beside}))

    def _init(self, options: dict[str, Any], otherwise_offline: bool = True) -> Any:
        if self._wandb.run is not None and self._wandb.run in _owned:
            options = {"reinit": "finish_previous", **options}
        try:
            return self._wandb.init(**options)
        except self._wandb.Error as error:
            if not otherwise_offline or options.get("mode") == "offline":
                raise
            return self._init_offline(options, error)

    def _init_offline(self, options: dict[str, Any], error: Exception) -> Any:
        """Write the run to disk, because there is no server that takes it."""
        self._make_room()
        # Whoever ends the run later does not make us wait for the server once more.
        self._options = {**self._options, "mode": "offline"}
        run = self._wandb.init(**{**options, "mode": "offline"})
        log.warning(
            "W&B is not reached (%s). Training goes on; the run is written to %s. Send it later "
            "with: wandb sync %s",
            _first_line(error), run.dir, _folder(run),
        )  # fmt: skip
        return run

    def _make_room(self) -> None:
        """Make W&B forget a run that could not be opened; it holds on to the id."""
        if self._wandb.run is None:
            self._wandb.teardown()

    def _adopt(self, run: Any) -> None:
        self._run = run
        self._log = run.log
        self._open_step = _next_step(run)
        self._late.clear()
        _owned.add(run)
        if not run.disabled:
            self._listen(run)
            # W&B ends its runs when the program ends; what is left must be sent before.
            atexit.unregister(self._at_exit)
            atexit.register(self._at_exit)

    def _listen(self, run: Any) -> None:
        """Let what was logged before go first where the user logs to the run as well."""
        original = run.log

        @functools.wraps(original)
        def log_in_order(
            data: dict[str, Any], step: int | None = None, commit: bool | None = None
        ) -> None:
            self._deliver()
            if step is None and commit is not False:
                step, commit = self._current_step(), None
            if step is not None:
                step = max(step, self._open_step)
                self._move_to(step + bool(commit))
            original(data, step, commit)

        run.log = log_in_order
        if self._wandb.run is run:
            self._wandb.log = log_in_order

    def _at_exit(self) -> None:
        self._deliver()
        self._is_exiting = True

    # Logging.

    def log(self, row: dict[str, Any], step: int) -> None:
        """Log a row.

        Args:
            row: name -> value. What W&B cannot take is logged as text, with a warning.
            step: batches trained. Where W&B is ahead of that, the row finds the next place.
        """
        self.use(lambda run: self._send(row, self._place(row, step)))

    def use(self, function: Callable[[Any], T]) -> T | None:
        """Call a function with the run; if somebody has ended it, with the run opened again.

        Returns:
            What the function returned; ``None`` where the program is ending and W&B has ended.
        """
        run = self._run
        try:
            return function(run)
        except self._wandb.errors.UsageError:
            if self._wandb.run is run:
                raise
        if self._is_exiting:
            log.warning("logged after W&B had ended, and lost: call Trainer.close() to end in time")
            return None
        self._reopen()
        return function(self._run)

    def _place(self, row: dict[str, Any], step: int) -> int:
        """Return the step at which W&B takes the row, and move there."""
        place = max(step, self._open_step)
        if place == self._open_step and not self._late.isdisjoint(row):
            place += 1
        self._move_to(place)
        if place != step:
            self._late.update(row)
            self._warn_late(place, step)
        return place

    def _move_to(self, step: int) -> None:
        if step != self._open_step:
            self._open_step = step
            self._late.clear()

    def _warn_late(self, place: int, step: int) -> None:
        if not self._warned_late:
            self._warned_late = True
            log.warning(
                "the run is at step %d in W&B and at %d here, because something else logged to it "
                "or ended it: values are shown at the next free step (time/batch has the true one)",
                place, step,
            )  # fmt: skip

    def _send(self, row: dict[str, Any], step: int) -> None:
        assert self._log is not None
        try:
            self._log(row, step)
        except (TypeError, ValueError, AttributeError, OverflowError):
            for name, value in row.items():
                self._send_one(name, value, step)

    def _send_one(self, name: str, value: Any, step: int) -> None:
        assert self._log is not None
        try:
            self._log({name: value}, step)
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            text = str(plain(value))
            log.warning(
                "W&B cannot take %r (%s); it is logged as the text %.60r",
                name, _first_line(error), text,
            )  # fmt: skip
            self._log({str(name): text}, step)

    # Ending.

    def finish(self, exit_code: int) -> None:
        """End the run.

        Args:
            exit_code: 0 if training went well.
        """
        atexit.unregister(self._at_exit)
        _owned.discard(self._run)
        # At the end of the program W&B ends its runs itself, before the Trainer can.
        if self._is_exiting:
            return
        self._run.finish(exit_code)
        # A setting would raise an error, also where a callback of the user's ends the run.
        if getattr(self._run, "_finish_timed_out", False):
            log.warning(
                "W&B has not taken all of the run in time. It is on disk; send it later with: "
                "wandb sync --include-online %s",
                _folder(self._run),
            )


def _next_step(run: Any) -> int:
    """Return the lowest step that a run still takes."""
    if run.disabled or run.settings.mode == "shared":
        return 0
    # Of a run that goes on, the first is right at once; of one that the user has used, the second.
    return max(run.starting_step, run.step)


def _folder(run: Any) -> str:
    """Return the folder of a run, as ``wandb sync`` takes it."""
    return os.path.dirname(run.dir)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
