"""Every exception Composer raises on purpose, in one tree.

    ComposerError
    |-- ConfigError (ValueError)              an argument or setting cannot work
    |   |-- UnknownNameError                  a name that nobody knows; the near ones are listed
    |   `-- TimeFormatError                   text that is not a time
    |-- ArgumentTypeError (TypeError)         an argument has the wrong type
    |-- DataError (ValueError)                a batch or dataset cannot be handled as asked
    |   |-- BatchSplitError (NotImplementedError)  no rule how to count or split such a batch
    |   `-- TargetShapeError (RuntimeError)   targets and model outputs do not fit together
    |-- TimeUnitError (RuntimeError)          times in units that do not combine
    |-- StateError (RuntimeError)             called too early, too late, or after close
    |-- TrainingError (RuntimeError)          training went wrong: NaN loss, out of memory
    |-- DistributedError (RuntimeError)       ranks disagree, or the process group is missing
    |-- LaunchError (RuntimeError)            the launcher could not start or keep its processes
    |-- MissingDependencyError (ImportError)  an optional package is needed and not installed
    |-- CheckpointError (RuntimeError)        a checkpoint could not be saved, found or restored
    |   |-- CheckpointNotFoundError (FileNotFoundError)
    |   |-- CheckpointExistsError (FileExistsError)
    |   |-- CorruptCheckpointError (ValueError)  half-written, damaged, or not a checkpoint
    |   `-- UntrustedCheckpointError          loading it would run code; trust was not given
    |-- StorageError (RuntimeError)           a file or object could not be read or written
    |   |-- ObjectExistsError (FileExistsError)
    |   |-- ObjectNotFoundError (FileNotFoundError)
    |   |-- StorageTransientError             worth another try: the network, a busy service
    |   `-- UploadError                       a background upload failed for good
    `-- TrackingError (RuntimeError)          the tracking server or its store refused something

`Preempted` is no error and stands outside the tree: it ends the program.

Each class also derives from the built-in exception people already catch in that place. A message
says what was given (as ``repr``), what is allowed, and what to do next; `did_you_mean` and
`unknown_name` write the sentence about near names, so that it reads the same everywhere.
"""

import difflib
from collections.abc import Iterable

__all__ = [
    "PREEMPTED_EXIT_CODE",
    "ArgumentTypeError",
    "BatchSplitError",
    "CheckpointError",
    "CheckpointExistsError",
    "CheckpointNotFoundError",
    "ComposerError",
    "ConfigError",
    "CorruptCheckpointError",
    "DataError",
    "DistributedError",
    "LaunchError",
    "MissingDependencyError",
    "ObjectExistsError",
    "ObjectNotFoundError",
    "Preempted",
    "StateError",
    "StorageError",
    "StorageTransientError",
    "TargetShapeError",
    "TimeFormatError",
    "TimeUnitError",
    "TrackingError",
    "TrainingError",
    "UnknownNameError",
    "UntrustedCheckpointError",
    "UploadError",
    "did_you_mean",
    "unknown_name",
]


PREEMPTED_EXIT_CODE: int = 75
"""How a program ends that was asked to make room and has saved: run it again and it goes on.

What sysexits.h calls EX_TEMPFAIL. It is neither 1, which any error ends with, nor above 128, which
says that a signal ended the program before it could save.
"""


class ComposerError(Exception):
    """Base of everything Composer raises on purpose."""


class ConfigError(ComposerError, ValueError):
    """An argument or setting has a value that cannot work."""


class UnknownNameError(ConfigError):
    """A name that nobody knows. Best made by `unknown_name`, which lists the near ones."""


class TimeFormatError(ConfigError):
    """A text that is not a time such as ``'10ep'`` or ``'500ba'``."""


class ArgumentTypeError(ComposerError, TypeError):
    """An argument has a type that cannot work."""


class DataError(ComposerError, ValueError):
    """A batch or dataset cannot be handled as asked."""


class BatchSplitError(DataError, NotImplementedError):
    """No rule says how to count or split such a batch; the user can give one in a ``DataSpec``."""


class TargetShapeError(DataError, RuntimeError):
    """Targets and model outputs have shapes that do not fit together."""


class TimeUnitError(ComposerError, RuntimeError):
    """Times in units that do not combine, or a bare number where a unit is needed."""


class StateError(ComposerError, RuntimeError):
    """Something was called too early, too late, or after it was closed."""


class TrainingError(ComposerError, RuntimeError):
    """Training itself went wrong."""


class DistributedError(ComposerError, RuntimeError):
    """Ranks disagree, or the process group that is needed does not exist."""


class LaunchError(ComposerError, RuntimeError):
    """The launcher could not start its processes, or one of them died."""


class MissingDependencyError(ComposerError, ImportError):
    """An optional package is needed and not installed."""


class CheckpointError(ComposerError, RuntimeError):
    """A checkpoint could not be saved, found or restored."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """There is no checkpoint where one was asked for."""


class CheckpointExistsError(CheckpointError, FileExistsError):
    """Saving would overwrite a checkpoint, and overwriting was not allowed."""


class CorruptCheckpointError(CheckpointError, ValueError):
    """A checkpoint is half-written, damaged, or not a checkpoint at all."""


class UntrustedCheckpointError(CheckpointError):
    """Loading the checkpoint would run code from it, and the caller did not say it is trusted."""


class StorageError(ComposerError, RuntimeError):
    """A file or object could not be read or written."""


class ObjectExistsError(StorageError, FileExistsError):
    """Storing would overwrite an object, and overwriting was not allowed."""


class ObjectNotFoundError(StorageError, FileNotFoundError):
    """There is no such object in the store."""


class StorageTransientError(StorageError):
    """A failure that may pass by itself: the network, a busy service. Worth another try."""


class UploadError(StorageError):
    """A background upload failed for good."""


class TrackingError(ComposerError, RuntimeError):
    """The tracking server or its store refused something."""


class Preempted(SystemExit):
    """Training was asked to make room: it has saved, and the program ends with its own exit code.

    No error, and not caught by ``except Exception``; see `PREEMPTED_EXIT_CODE`.
    """

    def __init__(self) -> None:
        super().__init__(PREEMPTED_EXIT_CODE)


def did_you_mean(name: object, known: Iterable[str], max_listed: int = 12) -> str:
    """Write the sentence that follows a wrong name in an error message.

    Args:
        name: what was given.
        known: the names that would have been right.
        max_listed: list all known names when there are at most this many and none is near.

    Returns:
        ``" Did you mean 'a' or 'b'?"``, ``" Known: 'a', 'b'."`` or ``""``; the text starts with a
        space, so that it can be put straight after the first sentence.
    """
    names = sorted(known)
    by_lower = {each.lower(): each for each in names}
    near = difflib.get_close_matches(str(name).lower(), by_lower, n=3, cutoff=0.6)
    if near:
        return f" Did you mean {' or '.join(repr(by_lower[each]) for each in near)}?"
    if 0 < len(names) <= max_listed:
        return f" Known: {', '.join(map(repr, names))}."
    return ""


def unknown_name(
    kind: str, name: object, known: Iterable[str], advice: str = ""
) -> UnknownNameError:
    """Make the error for a name that nobody knows; the caller raises it.

    Args:
        kind: what the name should name, e.g. ``"algorithm"`` or ``"key of fsdp_config"``.
        name: what was given.
        known: the names that would have been right.
        advice: one more sentence on what to do, if there is something to say.

    Returns:
        The error, with a message such as ``unknown algorithm 'MixUpp'. Did you mean 'MixUp'?``
    """
    known = list(known)
    hint = did_you_mean(name, known) or f" There are {len(known)} known names."
    return UnknownNameError(f"unknown {kind} {name!r}.{hint}{' ' + advice if advice else ''}")
