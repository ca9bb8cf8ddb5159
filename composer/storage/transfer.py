"""Carry one file after another to a store: here, or in a helper process.

A helper process keeps the work of sending large files (checksums, encryption, Python code of
clients) off the interpreter that trains. It imports nothing of the user's script and no torch. It
is told what to do over its standard input, and ends when that closes, so it never outlives its
parent.
"""

from __future__ import annotations

import json
import os
import pickle
import queue
import subprocess
import sys
import threading
from contextlib import suppress
from typing import IO, Any, Protocol

from composer.errors import StorageError, StorageTransientError
from composer.storage.object_store import ObjectStore, Progress

__all__ = ["Carrier", "HelperProcess", "InThisProcess", "serve"]

SMALL_BYTES = 16 * 2**20
"""Files up to this size are sent without a helper: starting one would be the greater work."""

# Runs in the helper. The path comes first, so that it finds the same package as its parent.
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from composer.storage.transfer import serve; serve()"
)
_TELL_EVERY_BYTES = 2**20


class Carrier(Protocol):
    """Something that carries files to a store, one at a time."""

    def upload(self, name: str, path: str, callback: Progress) -> None:
        """Store the file at ``path`` under ``name``."""
        ...

    def close(self) -> None:
        """End it; an upload that is under way is given up."""
        ...


class InThisProcess:
    """Carries files in the calling thread.

    Args:
        store: where to.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def upload(self, name: str, path: str, callback: Progress) -> None:
        """Store the file at ``path`` under ``name``."""
        self._store.upload_object(name, path, callback)

    def close(self) -> None:
        """Nothing to end."""


class HelperProcess:
    """Carries large files in a process of its own, which is started when it is first needed.

    Args:
        store: where to; it must be picklable, which all stores of this library are.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._here = InThisProcess(store)
        self._store = pickle.dumps(store)
        self._process: subprocess.Popen[bytes] | None = None

    def upload(self, name: str, path: str, callback: Progress) -> None:
        """Store the file at ``path`` under ``name``.

        Raises:
            ObjectStoreTransientError: worth another try; the helper's death as well.
            StorageError: any other failure.
        """
        if os.path.getsize(path) <= SMALL_BYTES:
            self._here.upload(name, path, callback)
            return
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps({"name": name, "path": path}).encode() + b"\n")
            process.stdin.flush()
            while True:
                answer = json.loads(process.stdout.readline())
                if "sent" in answer:
                    callback(answer["sent"], answer["total"])
                    continue
                break
        except (OSError, ValueError) as error:
            self.close()
            raise StorageTransientError(
                f"the process that uploads {name!r} has ended (exit status {process.poll()})"
            ) from error
        if "error" in answer:
            kind = StorageTransientError if answer["transient"] else StorageError
            raise kind(answer["error"])

    def close(self) -> None:
        """End the process; an upload that is under way is given up."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
            process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, package],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # Ctrl-C in a terminal is for the parent; it decides what becomes of uploads.
                start_new_session=True,
            )
            assert process.stdin is not None
            process.stdin.write(len(self._store).to_bytes(8, "big") + self._store)
            self._process = process
        return self._process


def serve() -> None:
    """Be a helper process: read orders from standard input until it closes."""
    orders = sys.stdin.buffer
    # A client library that prints must not disturb the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    length = int.from_bytes(orders.read(8), "big")
    # It comes through a pipe from the parent, which may do anything here anyway.
    store: ObjectStore = pickle.loads(orders.read(length))  # noqa: S301
    waiting: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(orders, waiting), daemon=True).start()
    while True:
        order = waiting.get()
        _answer(answers, **_carry_out(store, order, answers))


def _listen(orders: IO[bytes], waiting: queue.SimpleQueue[dict[str, str]]) -> None:
    for line in orders:
        waiting.put(json.loads(line))
    # The parent is gone. What it has queued is taken over by whoever resumes its run; to go on
    # here could overwrite what that one uploads.
    os._exit(0)


def _carry_out(store: ObjectStore, order: dict[str, str], answers: IO[bytes]) -> dict[str, Any]:
    told = 0

    def tell(sent: int, total: int) -> None:
        nonlocal told
        if sent - told >= _TELL_EVERY_BYTES or sent < told:
            told = sent
            _answer(answers, sent=sent, total=total)

    try:
        store.upload_object(order["name"], order["path"], tell)
    except Exception as error:  # noqa: BLE001 - the parent raises it
        return {"error": str(error), "transient": isinstance(error, StorageTransientError)}
    return {"done": True}


def _answer(answers: IO[bytes], **values: Any) -> None:
    answers.write(json.dumps(values).encode() + b"\n")
    answers.flush()
