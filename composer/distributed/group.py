"""The process group: making it, checking it, ending it.

Every rank calls `connect` once, the Trainer at the start and users through `initialize_dist`. With
several ranks this makes two groups: torch's default group for tensors (NCCL on GPUs, gloo on CPUs)
and a small gloo group for numbers and flags, so that counting samples never waits for a GPU and
never mixes with collectives that run in another thread (asynchronous checkpoints).
"""

import atexit
import contextlib
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist

from composer.devices.device import Device
from composer.devices.select import get_device
from composer.distributed.ranks import get_global_rank, get_world_size, is_initialized
from composer.env import FAILURE_FILE, MASTER_ADDR, MASTER_PORT, RANK, WORLD_SIZE
from composer.errors import ConfigError, DistributedError

__all__ = ["connect", "control_group", "disconnect", "initialize_dist", "is_alone"]


@dataclass(frozen=True, slots=True)
class _Link:
    """What `connect` has set up."""

    default: dist.ProcessGroup | None
    control: dist.ProcessGroup | None


_link: _Link | None = None


def initialize_dist(device: str | Device | None = None, timeout: float = 300.0) -> None:
    """Make the process group, also for a single process; nothing happens if it is there already.

    All ranks must call this. Code that only wants collectives to work may leave it to the Trainer.

    Args:
        device: where the tensors will live: ``'cpu'``, ``'gpu'``, a `Device`, or ``None`` for a
            GPU if there is one.
        timeout: seconds a rank waits for the others before it gives up; over 0.

    Raises:
        DistributedError: there is a group that does not serve this device, the environment
            contradicts it, or variables that place this process are missing.
        ConfigError: `timeout` is not over 0, or the device cannot train with several processes.
    """
    connect(device, timeout, group_for_one=True)


def connect(
    device: str | Device | None = None, timeout: float = 300.0, *, group_for_one: bool = False
) -> None:
    """Join the other ranks; for one process without `group_for_one`, only note that it is alone.

    A process group of one makes torchmetrics and others synchronize with nobody at a cost, so the
    Trainer asks for it only where torch itself insists on one.

    Args:
        device: as in `initialize_dist`.
        timeout: as in `initialize_dist`.
        group_for_one: make a group even if there is one process.

    Raises:
        DistributedError: as in `initialize_dist`.
        ConfigError: as in `initialize_dist`.
    """
    global _link  # noqa: PLW0603 - there is one process group per process
    device = get_device(device)
    if not timeout > 0:
        raise ConfigError(f"timeout={timeout!r} must be over 0 seconds, e.g. 300.")
    if is_initialized():
        _check_backend(device)
    elif get_world_size() > 1:
        _start_group(device, timeout)
    elif group_for_one:
        dist.init_process_group(_backend_for(device), store=dist.HashStore(), world_size=1, rank=0)
    _link = _linked(_link, timeout)


def disconnect() -> None:
    """End the process group, if there is one, and forget it.

    All ranks should call this. It runs by itself when the program ends.
    """
    global _link  # noqa: PLW0603 - there is one process group per process
    _link = None
    if is_initialized():
        dist.destroy_process_group()


def is_alone(operation: str) -> bool:
    """Whether there is no other rank to speak with.

    Called at the head of each collective, so it looks at one or two attributes only.

    Args:
        operation: what is about to be done, for the message.

    Raises:
        DistributedError: there should be others, and no process group reaches them.
    """
    if dist.is_initialized():
        return dist.get_world_size() == 1
    if _link is not None and _link.default is None:
        return True
    if get_world_size() == 1:
        return True
    raise DistributedError(
        f"{operation} needs the other {get_world_size() - 1} of {get_world_size()} processes and "
        "there is no process group. Call composer.utils.dist.initialize_dist() first, or make "
        "the Trainer, which does so."
    )


def control_group() -> dist.ProcessGroup:
    """The gloo group for numbers and flags.

    Raises:
        DistributedError: `connect` was not called, or not for the group that exists now.
    """
    if _link is None or _link.control is None or _link.default is not dist.group.WORLD:
        raise DistributedError(
            "ranks are not connected: call composer.utils.dist.initialize_dist() on all of them."
        )
    return _link.control


def _linked(link: _Link | None, timeout: float) -> _Link:
    if not is_initialized():
        return _Link(None, None)
    get_world_size()  # both check that the environment and the group agree
    get_global_rank()
    default = dist.group.WORLD
    if link is not None and link.default is default:
        return link
    alone = dist.get_world_size() == 1
    control = None if alone else _gloo_group(timeout)
    return _Link(default, control)


def _gloo_group(timeout: float) -> dist.ProcessGroup | None:
    group = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout))
    return group if isinstance(group, dist.ProcessGroup) else None


def _start_group(device: Device, timeout: float) -> None:
    needed = (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT)
    missing = [variable.name for variable in needed if not variable.is_set()]
    if missing:
        raise DistributedError(
            f"WORLD_SIZE={get_world_size()} and {', '.join(missing)} not set, so the processes "
            "cannot find each other. Start them with `composer -n N script.py` or torchrun."
        )
    dist.init_process_group(_backend_for(device), timeout=timedelta(seconds=timeout))
    # A group that is still open when Python ends can abort the process: gloo's threads are then
    # destroyed while they run, and a run that went well would count as failed.
    atexit.unregister(_leave)
    atexit.register(_leave)


def _leave() -> None:
    if getattr(sys, "last_value", None) is not None:
        _note_failure()
        if is_initialized() and "nccl" in str(dist.get_backend_config()):
            return  # closing NCCL may wait for ranks that will not come; the error must get out
    disconnect()


def _note_failure() -> None:
    """Tell the launcher when an error ended this rank: before other ranks could notice it.

    They fail as soon as they lose this one, and may well end before it. The time tells which rank
    is to blame.
    """
    path = FAILURE_FILE.get()
    if path is not None:
        with contextlib.suppress(OSError):
            Path(path).write_text(str(time.monotonic_ns()), encoding="utf-8")


def _backend_for(device: Device) -> str:
    if device.dist_backend == "nccl":
        # Tensors on the GPU go through NCCL; objects and CPU tensors go through gloo.
        return "cpu:gloo,cuda:nccl"
    if device.dist_backend:
        return device.dist_backend
    if get_world_size() > 1:
        raise ConfigError(
            f"device={device.name!r} trains with one process and WORLD_SIZE={get_world_size()}. "
            "Start one process, or use device='cpu' or 'gpu'."
        )
    return "gloo"


def _check_backend(device: Device) -> None:
    serving = dict(
        pair.split(":", 1) for pair in str(dist.get_backend_config()).split(",") if ":" in pair
    )
    wanted = device.dist_backend or "gloo"
    found = serving.get(device.torch_device.type)
    if found != wanted and device.torch_device.type != "mps":
        raise DistributedError(
            f"there is a process group already, which serves {device.torch_device.type} tensors "
            f"by {found!r}, and device={device.name!r} needs {wanted!r}. Leave making the group "
            f"to Composer, or make it with backend={_backend_for(device)!r}."
        )
