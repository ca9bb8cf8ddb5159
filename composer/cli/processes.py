"""Start processes, watch them, stop them all when one fails, and say which one it was.

Each process leads a session of its own, so that all it starts can be ended with it. On Linux the
kernel also tells it to end should the launcher itself be killed. Only for POSIX systems.
"""

import contextlib
import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from composer.env import FAILURE_FILE
from composer.errors import PREEMPTED_EXIT_CODE, LaunchError

__all__ = ["Job", "run_jobs"]

# After the first failure: time for the others to fail by themselves, so that a rank that only lost
# its peer and happened to end first does not hide the one that is to blame.
_SETTLE_S = 0.5
_SHOWN_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Job:
    """One process to start.

    Attributes:
        rank: its number, for messages.
        command: program and arguments.
        environment: all of its environment variables.
        inherits_output: write where the launcher writes, instead of to files.
        stdout: file for its output; a temporary one if ``None``.
        stderr: file for its error output; a temporary one if ``None``.
    """

    rank: int
    command: Sequence[str]
    environment: Mapping[str, str]
    inherits_output: bool
    stdout: Path | None = None
    stderr: Path | None = None


@dataclass(slots=True)
class _Worker:
    job: Job
    process: "subprocess.Popen[bytes]"
    outputs: tuple[Path, ...]
    failure_file: Path
    ended_ns: int = 0

    @property
    def failed_ns(self) -> int:
        """When it failed, by its own account if it left one (see `composer.distributed.group`)."""
        try:
            return int(self.failure_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return self.ended_ns

    @property
    def exit_code(self) -> int | None:
        """As a shell has it: 128 + the number of the signal that ended the process."""
        code = self.process.returncode
        return code if code is None or code >= 0 else 128 - code


def run_jobs(
    jobs: Sequence[Job],
    *,
    grace_s: float,
    save_s: float,
    verbose: bool = False,
    signal_children: bool = False,
) -> int:
    """Run processes together until all have ended, or one has failed.

    Args:
        jobs: what to start.
        grace_s: seconds between asking processes to end, after one has failed, and killing them.
        save_s: the same where nothing has failed and they may have to save: after a signal to the
            launcher, or when one of them has ended because it was asked to make room.
        verbose: report starts and ends.
        signal_children: ask what the processes have started as well, not only them.

    Returns:
        0; the exit code of the first that failed; `PREEMPTED_EXIT_CODE` if they were asked to make
        room and have saved; or 128 + the number of the signal that ended the launcher.

    Raises:
        LaunchError: a process could not be started; those already running are stopped.
    """
    if os.name != "posix":
        raise LaunchError("the launcher needs Linux or macOS.")
    with _SignalInbox() as inbox, tempfile.TemporaryDirectory(prefix="composer-") as folder:
        crew = _Crew(inbox, grace_s, save_s, verbose, signal_children)
        try:
            crew.start(jobs, Path(folder))
            return crew.watch()
        finally:
            crew.kill()


class _Crew:
    """Processes that live and die together."""

    def __init__(
        self,
        inbox: "_SignalInbox",
        grace_s: float,
        save_s: float,
        verbose: bool,
        signal_children: bool,
    ) -> None:
        self._inbox = inbox
        self._grace_s = grace_s
        self._save_s = save_s
        self._verbose = verbose
        self._signal_children = signal_children
        self._stopping = False
        self._running: list[_Worker] = []
        self._failed: list[_Worker] = []
        self._preempted: list[_Worker] = []

    def start(self, jobs: Sequence[Job], folder: Path) -> None:
        """Start all jobs."""
        files = _OutputFiles(folder)
        with contextlib.closing(files):
            for job in jobs:
                worker = _start(job, files, folder / f"{job.rank}.failed")
                self._running.append(worker)
                self._say(f"rank {job.rank}: started as process {worker.process.pid}")

    def watch(self) -> int:
        """Wait for the end, whichever it is; returns the exit code."""
        while self._running and not self._failed and self._seconds_to_save != 0:
            received = self._collect(self._seconds_to_save)
            if received:
                return self._end_by(received)
        if not self._failed:
            return PREEMPTED_EXIT_CODE if self._preempted else 0
        deadline = time.monotonic() + _SETTLE_S
        while self._running and time.monotonic() < deadline:
            received = self._collect(deadline - time.monotonic())
            if received:
                return self._end_by(received)
        failed = sorted(self._failed, key=lambda worker: worker.failed_ns)
        self._report(failed)
        self._stop(signal.SIGTERM, self._grace_s)
        return failed[0].exit_code or 1

    @property
    def _seconds_to_save(self) -> float | None:
        """What is left to the others once one has saved and made room; ``None`` before."""
        if not self._preempted:
            return None
        first = min(worker.ended_ns for worker in self._preempted)
        return max(0.0, self._save_s - (time.monotonic_ns() - first) / 1e9)

    def kill(self) -> None:
        """End at once, with all they have started, the processes that still run."""
        for worker in self._running:
            _signal_group(worker, signal.SIGKILL)
        for worker in self._running:
            worker.process.wait()
        self._running.clear()

    def _end_by(self, received: int) -> int:
        name = signal.Signals(received).name
        _print(f"composer: {name} received, ending {len(self._running)} processes")
        how = signal.SIGINT if received == signal.SIGINT else signal.SIGTERM
        self._stop(how, self._save_s)
        has_saved = bool(self._preempted) and not self._failed and not self._running
        return PREEMPTED_EXIT_CODE if has_saved else 128 + received

    def _stop(self, how: signal.Signals, patience_s: float) -> None:
        """Ask the processes that still run to end, and wait; a second signal ends the waiting."""
        self._stopping = True
        self._pass_on(how)
        deadline = time.monotonic() + patience_s
        while self._running and (left := deadline - time.monotonic()) > 0:
            if self._collect(left):
                break
        for worker in self._running:
            _print(f"composer: rank {worker.job.rank} did not end, killing it")

    def _pass_on(self, signal_number: int) -> None:
        for worker in self._running:
            if self._signal_children:
                _signal_group(worker, signal.Signals(signal_number))
            else:
                worker.process.send_signal(signal_number)

    def _collect(self, timeout_s: float | None) -> int:
        """Wait for news and note who has ended; returns a signal that asks us to end, or 0."""
        received = self._inbox.wait(timeout_s)
        if received == signal.SIGUSR1:
            # A warning that the end is near: they save and end by themselves.
            _print("composer: SIGUSR1 received, passing it on")
            self._pass_on(received)
            received = 0
        for worker in list(self._running):
            if worker.process.poll() is not None:
                self._running.remove(worker)
                worker.ended_ns = time.monotonic_ns()
                self._say(f"rank {worker.job.rank}: ended with exit code {worker.exit_code}")
                if worker.exit_code == PREEMPTED_EXIT_CODE:
                    self._preempted.append(worker)
                elif worker.exit_code:
                    self._failed.append(worker)
                if worker.exit_code or self._stopping:
                    # What it started and left behind. Not later: its number may be given anew.
                    _signal_group(worker, signal.SIGKILL)
        return received

    def _report(self, failed: Sequence[_Worker]) -> None:
        for worker in failed:
            _print(f"composer: rank {worker.job.rank} failed with exit code {worker.exit_code}")
            for path in worker.outputs:
                _print_file(path, worker.job.rank)
        if self._running:
            ranks = ", ".join(str(worker.job.rank) for worker in self._running)
            _print(f"composer: ending rank {ranks}")

    def _say(self, text: str) -> None:
        if self._verbose:
            _print(f"composer: {text}")


class _OutputFiles:
    """Opened output files; ranks that are given the same file share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: dict[Path, int] = {}

    def get(self, path: Path | None, temporary_name: str) -> tuple[Path, int]:
        path = (self._folder / temporary_name if path is None else path).absolute()
        if path not in self._opened:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
                self._opened[path] = os.open(path, flags, 0o644)
            except OSError as error:
                raise LaunchError(f"cannot write output to {str(path)!r}: {error}") from error
        return path, self._opened[path]

    def close(self) -> None:
        for descriptor in self._opened.values():
            os.close(descriptor)


def _start(job: Job, files: _OutputFiles, failure_file: Path) -> _Worker:
    outputs: tuple[Path, ...] = ()
    streams: dict[str, int] = {}
    if not job.inherits_output:
        stdout, streams["stdout"] = files.get(job.stdout, f"{job.rank}.out")
        stderr, streams["stderr"] = files.get(job.stderr, f"{job.rank}.err")
        # The error output last: then a traceback is what stands at the bottom.
        outputs = (stdout, stderr) if stdout != stderr else (stdout,)
    try:
        process = subprocess.Popen(
            list(job.command),
            env={**job.environment, FAILURE_FILE.name: str(failure_file)},
            start_new_session=True,
            preexec_fn=_end_with_parent(),  # noqa: PLW1509 - the launcher has one thread
            stdin=subprocess.DEVNULL if streams else None,
            stdout=streams.get("stdout"),
            stderr=streams.get("stderr"),
        )
    except OSError as error:
        raise LaunchError(f"cannot start {job.command[0]!r}: {error}") from error
    return _Worker(job, process, outputs, failure_file)


def _end_with_parent() -> Callable[[], None] | None:
    """On Linux, what a new process must do so that the kernel ends it after its parent."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork
    set_parent_death_signal = 1
    parent = os.getpid()

    def ask_kernel() -> None:
        prctl(set_parent_death_signal, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died before the kernel was asked
            os._exit(1)

    return ask_kernel


def _signal_group(worker: _Worker, how: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker.process.pid, how)


class _SignalInbox:
    """Waits for signals: a child has ended, or someone wants the launcher to end.

    Signals arrive as bytes in a socket, so none is lost between looking and waiting. Outside the
    main thread Python delivers none; then waiting is polling.
    """

    _ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    _WAITED_FOR = (*_ENDING, signal.SIGUSR1)
    _POLL_S = 0.1

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._old_handlers: dict[int, Any] = {}
        self._old_descriptor = -1

    def __enter__(self) -> Self:
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        if threading.current_thread() is threading.main_thread():
            self._old_descriptor = signal.set_wakeup_fd(
                self._writer.fileno(), warn_on_full_buffer=False
            )
            for number in (*self._WAITED_FOR, signal.SIGCHLD):
                # Someone who started us with a signal ignored (nohup) means it.
                if number == signal.SIGCHLD or signal.getsignal(number) is not signal.SIG_IGN:
                    self._old_handlers[number] = signal.signal(number, _do_nothing)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._old_handlers:
            for number, handler in self._old_handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._old_descriptor)
        self._reader.close()
        self._writer.close()

    def wait(self, timeout_s: float | None) -> int:
        """Wait for any signal; returns one that asks to end, else SIGUSR1 if it came, else 0."""
        if not self._old_handlers:
            timeout_s = self._POLL_S if timeout_s is None else min(timeout_s, self._POLL_S)
        ready, _, _ = select.select([self._reader], [], [], timeout_s)
        received = self._reader.recv(4096) if ready else b""
        known = sorted(set(received) & set(self._WAITED_FOR), key=lambda n: n == signal.SIGUSR1)
        return known[0] if known else 0


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """The signal's number is in the socket; that is all there is to do."""


def _print_file(path: Path, rank: int) -> None:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _SHOWN_BYTES))
        text = file.read().decode(errors="replace")
    if not text:
        return
    cut = f" (the last {_SHOWN_BYTES >> 20} MiB of {size} bytes)" if size > _SHOWN_BYTES else ""
    _print(f"----- rank {rank}, {path.name}{cut}")
    _print(text.rstrip("\n"))
    _print(f"----- end of rank {rank}, {path.name}")


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
