"""How progress is drawn: a bar in a terminal or a notebook, now and then a line elsewhere.

A meter is told where things stand a few times a second at most; it does not know what it counts.
Drawing in a terminal is tqdm's work.
"""

from __future__ import annotations

import functools
import sys
import time
from typing import Any, Protocol

from composer.loggers._terminal import Screen

__all__ = ["BarMaker", "LineMaker", "Meter", "MeterMaker", "Reading", "choose_maker", "is_notebook"]

BAR_INTERVAL_S = 0.1
LINE_INTERVAL_S = 10.0
# A run of hours needs fewer lines.
LONG_RUN_S = 600.0
LONG_LINE_INTERVAL_S = 60.0
DEFAULT_COLUMNS = 80
_SHORTEST_NAME = 3
# The rate may get longer between measuring the line and drawing it.
_RATE_SLACK = 3
_NAMES = {"ba": "batch", "sp": "sample", "tok": "token"}


class Reading:
    """Where things stand.

    Args:
        title: what is measured, such as ``'train epoch 1/3'``.
        unit: what is counted: ``'ba'``, ``'sp'`` or ``'tok'``.
        n: how many are done.
        total: how many there are; ``None`` where nobody knows.
        values: name -> text of what is shown besides.
    """

    __slots__ = ("n", "title", "total", "unit", "values")

    def __init__(
        self, title: str, unit: str, n: int, total: int | None, values: dict[str, str]
    ) -> None:
        self.title = title
        self.unit = unit
        self.n = n
        self.total = total
        self.values = values


class Meter(Protocol):
    """Shows progress of one thing."""

    def show(self, reading: Reading) -> None:
        """Draw."""
        ...

    def pause(self) -> None:
        """Stop the clock."""
        ...

    def resume(self) -> None:
        """Let the clock go on."""
        ...

    def close(self, reading: Reading | None) -> None:
        """Draw for the last time; without a reading, as it was drawn last."""
        ...


class MeterMaker(Protocol):
    """Makes meters, and says when they want to be told again."""

    def open(self, reading: Reading, elapsed_s: float = 0.0) -> Meter:
        """Begin a meter.

        Args:
            reading: where things stand.
            elapsed_s: seconds that were spent before, in a run that goes on.
        """
        ...

    def next_show_s(self) -> float:
        """Return the time, on ``time.perf_counter``'s clock, before which nothing is drawn."""
        ...


def choose_maker(screen: Screen) -> MeterMaker:
    """Return bars where lines can be drawn over, else plain lines."""
    if is_notebook():
        bar_class = _notebook_bar()
    else:
        bar_class = _terminal_bar() if screen.is_terminal else None
    if bar_class is None:
        return LineMaker(screen)
    # A terminal that does not know its width says 0, in which nothing fits.
    has_no_width = screen.is_terminal and screen.columns == 0
    return BarMaker(bar_class, screen, DEFAULT_COLUMNS if has_no_width else None)


def is_notebook() -> bool:
    """Return whether this program is a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


@functools.cache
def _terminal_bar() -> Any:
    from tqdm import tqdm

    return _without_monitor(tqdm)


@functools.cache
def _notebook_bar() -> Any:
    try:
        from tqdm import notebook
    except ImportError:
        return None
    # Without ipywidgets the class is there and cannot be made.
    has_widgets = getattr(notebook, "IProgress", None) is not None
    return _without_monitor(notebook.tqdm_notebook) if has_widgets else None


def _without_monitor(bar_class: Any) -> Any:
    """Return a bar class without the thread that watches for bars nobody updates."""
    return type("Bar", (bar_class,), {"monitor_interval": 0})


class BarMaker:
    """Makes tqdm bars.

    Args:
        bar_class: a tqdm class.
        screen: the terminal.
        columns: the bars' width; ``None`` for that of the terminal, also when it changes.
    """

    def __init__(self, bar_class: Any, screen: Screen, columns: int | None = None) -> None:
        self._class = bar_class
        self._screen = screen
        self._columns = columns

    def open(self, reading: Reading, elapsed_s: float = 0.0) -> _Bar:
        """Begin a bar; see :class:`MeterMaker`."""
        bar = self._class(
            total=reading.total,
            initial=reading.n,
            desc=self._screen.showable(reading.title),
            unit=f" {reading.unit}",
            unit_scale=reading.unit in ("sp", "tok"),
            file=self._screen.stream,
            ncols=self._columns,
            dynamic_ncols=self._columns is None,
            # How often to draw is decided before a bar is asked.
            mininterval=0,
            miniters=0,
        )
        # Bars may be switched off by a variable of tqdm's own. Then they have no clock.
        if elapsed_s and not bar.disable:
            # The rate is that of the whole run, over the time of the whole run.
            bar.start_t -= elapsed_s
            bar.initial = 0
        return _Bar(bar, self._screen, self._columns)

    def next_show_s(self) -> float:
        """Return when to draw again."""
        return time.perf_counter() + BAR_INTERVAL_S


class _Bar:
    """A tqdm bar."""

    def __init__(self, bar: Any, screen: Screen, columns: int | None) -> None:
        self._bar = bar
        self._screen = screen
        self._columns = columns
        self._paused_at: float | None = None

    def show(self, reading: Reading) -> None:
        self._set(reading)
        self._bar.update(reading.n - self._bar.n)

    def pause(self) -> None:
        self._paused_at = time.time()

    def resume(self) -> None:
        if self._paused_at is not None and not self._bar.disable:
            pause_s = time.time() - self._paused_at
            self._bar.start_t += pause_s
            self._bar.last_print_t += pause_s
            self._paused_at = None
        self._bar.refresh()

    def close(self, reading: Reading | None) -> None:
        if reading is not None:
            self._set(reading)
            self._bar.n = reading.n
        self._bar.close()

    def _set(self, reading: Reading) -> None:
        self._bar.total = reading.total
        self._bar.set_description_str(self._screen.showable(reading.title), refresh=False)
        values = {self._screen.showable(name): text for name, text in reading.values.items()}
        self._bar.set_postfix_str(_joined(values, self._room(reading)), refresh=False)

    def _room(self, reading: Reading) -> int | None:
        """Return how many characters there are for values; ``None`` where a bar may be long."""
        columns = self._screen.columns or self._columns
        if not columns or not self._screen.is_terminal:
            return None
        # Drawn without a width, it has a bar of ten characters, of which one must remain.
        given = {**self._bar.format_dict, "n": reading.n, "ncols": None, "postfix": None}
        rest = len(self._bar.format_meter(**given)) - (0 if reading.total is None else 9)
        return columns - rest - len(", ") - _RATE_SLACK


class LineMaker:
    """Makes meters that print a line now and then.

    Args:
        screen: where lines go.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._first_s: float | None = None
        self._last_s = 0.0

    def open(self, reading: Reading, elapsed_s: float = 0.0) -> _Lines:
        """Begin a meter; see :class:`MeterMaker`."""
        return _Lines(self, reading, elapsed_s)

    def next_show_s(self) -> float:
        """Return when the next line is due: at once for the first."""
        if self._first_s is None:
            return 0.0
        is_long = self._last_s - self._first_s > LONG_RUN_S
        return self._last_s + (LONG_LINE_INTERVAL_S if is_long else LINE_INTERVAL_S)

    def print(self, line: str) -> None:
        """Print a line."""
        self._last_s = time.perf_counter()
        if self._first_s is None:
            self._first_s = self._last_s
        self._screen.print(line)


class _Lines:
    """Progress as lines; the rate is that since the line before."""

    def __init__(self, maker: LineMaker, reading: Reading, elapsed_s: float) -> None:
        self._maker = maker
        self._start_s = self._shown_s = time.perf_counter()
        self._paused_at = 0.0
        self._start_n = 0 if elapsed_s else reading.n
        self._shown_n = reading.n
        self._start_s -= elapsed_s

    def show(self, reading: Reading) -> None:
        now = time.perf_counter()
        rate = _rate(reading.n - self._shown_n, now - self._shown_s)
        self._shown_n, self._shown_s = reading.n, now
        left = None if reading.total is None or not rate else (reading.total - reading.n) / rate
        times = [] if left is None else [f"{_clock(left)} left"]
        self._print(reading, rate, times)

    def pause(self) -> None:
        self._paused_at = time.perf_counter()

    def resume(self) -> None:
        pause_s = time.perf_counter() - self._paused_at
        self._start_s += pause_s
        self._shown_s += pause_s

    def close(self, reading: Reading | None) -> None:
        if reading is None:
            return
        elapsed_s = time.perf_counter() - self._start_s
        rate = _rate(reading.n - self._start_n, elapsed_s)
        self._print(reading, rate, [f"took {_clock(elapsed_s)}"])

    def _print(self, reading: Reading, rate: float, times: list[str]) -> None:
        place = f"{_NAMES[reading.unit]} {reading.n}"
        if reading.total is not None:
            place += f"/{reading.total} ({100 * reading.n // max(reading.total, 1)}%)"
        speed = [f"{rate:.3g} {reading.unit}/s" if rate < 1000 else f"{rate:.0f} {reading.unit}/s"]
        line = ", ".join([f"[{reading.title}] {place}", *speed, *times])
        values = _joined(reading.values)
        self._maker.print(f"{line} | {values}" if values else line)


def _joined(values: dict[str, str], room: int | None = None) -> str:
    """Return values as text; where there is little room, long names are cut before values are."""
    longest = max(map(len, values), default=0)
    while True:
        names = [name if len(name) <= longest else name[: longest - 1] + "." for name in values]
        pairs = zip(names, values.values(), strict=True)
        text = ", ".join(f"{name}={value}" for name, value in pairs)
        if room is None or len(text) <= room or longest <= _SHORTEST_NAME:
            return text
        longest -= 1


def _rate(count: int, seconds: float) -> float:
    return count / seconds if seconds > 0 else 0.0


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
