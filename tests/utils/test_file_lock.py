"""A lock that ends with its holder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from composer.utils.file_lock import hold_file

HOLD = (
    "import os, sys, time; from composer.utils.file_lock import hold_file; "
    "hold_file(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)); print('held', flush=True); "
    "time.sleep(100)"
)


def test_a_file_is_held_until_its_holder_is_gone_however_it_went(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, env=environment
    )
    assert holder.stdout is not None
    with holder.stdout:
        assert holder.stdout.readline() == b"held\n"
    handle = os.open(path, os.O_RDWR)
    try:
        with pytest.raises(BlockingIOError):
            hold_file(handle)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        hold_file(handle)
    finally:
        os.close(handle)
