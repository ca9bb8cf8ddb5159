"""Looking after a store: check it, copy it while it is used, remove what nothing refers to."""

import hashlib
import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any, BinaryIO, Final

from composer.errors import TrackingError
from composer.tracking.store import files
from composer.tracking.store.journal import Journal, Position
from composer.tracking.store.store import Store

log = logging.getLogger(__name__)

# Contents younger than this may belong to an upload whose record is still on its way.
YOUNG_S: Final = 3600.0


def check(folder: Path, with_contents: bool = False) -> dict[str, Any]:
    """Read the whole journal and, if asked, every file; changes nothing.

    Args:
        folder: the store's folder; nothing may have it open.
        with_contents: also compare every file with its SHA-256.

    Returns:
        Counts, and ``problems`` as a list of sentences.

    Raises:
        TrackingError: the folder is in use or is no store.
    """
    if not (folder / "journal").is_dir():
        raise TrackingError(f"{str(folder)!r} is no tracker's folder: it has no journal.")
    problems: list[str] = []
    num_records = 0
    journal = Journal(folder / "journal")
    try:
        for _ in journal.read(Position(0, 0)):
            num_records += 1
    except TrackingError as error:
        problems.append(str(error))
    store = Store(folder)
    try:
        problems += _check_index(store)
        problems += _check_contents(store, with_contents)
        was_rebuilt = store.was_rebuilt
    finally:
        store.close()
    return {"records": num_records, "index_rebuilt": was_rebuilt, "problems": problems}


def _check_index(store: Store) -> list[str]:
    with store.reading() as reader:
        found = [row["integrity_check"] for row in reader.all("PRAGMA integrity_check")]
        problems = [f"index: {each}" for each in found if each != "ok"]
        for row in reader.each("SELECT * FROM chunks"):
            try:
                store.applier.history.chunk_bytes(row)
            except TrackingError as error:
                problems.append(f"rows of run {row['run_id']}: {error}")
    return problems


def _check_contents(store: Store, is_thorough: bool) -> list[str]:
    with store.reading() as reader:
        used = files.used_contents(reader)
    problems: list[str] = []
    for sha256 in sorted(used):
        path = store.blobs.path(sha256)
        if not path.exists():
            problems.append(f"contents {sha256} are missing")
        elif is_thorough and _sha256(path) != sha256:
            problems.append(f"contents {sha256} are damaged")
    return problems


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def rebuild(folder: Path) -> None:
    """Make the index anew from the journal.

    Raises:
        TrackingError: the folder is in use.
    """
    store = Store(folder)
    index = store.index
    store.close()
    index.delete()
    Store(folder).close()


def collect_garbage(store: Store, older_than_s: float = YOUNG_S) -> dict[str, int]:
    """Remove contents that nothing refers to, and write the journal anew without what was deleted.

    Returns:
        Files and bytes removed, and the journal's size before and after.
    """
    with store.reading() as reader:
        used = files.used_contents(reader)
    limit = time.time() - older_than_s
    num_files = num_bytes = 0
    for sha256, size in store.blobs.all_names():
        if sha256 not in used and store.blobs.path(sha256).stat().st_mtime < limit:
            store.blobs.delete(sha256)
            num_files += 1
            num_bytes += size
    shutil.rmtree(store.folder / "cache", ignore_errors=True)
    before = store.journal.size_bytes()
    store.compact()
    after = store.journal.size_bytes()
    return {
        "files": num_files,
        "bytes": num_bytes,
        "journal_before": before,
        "journal_after": after,
    }


def backup(folder: Path, target: Path) -> int:
    """Copy a store while it may be in use; returns the bytes copied.

    The journal only grows, so its bytes up to a moment are a whole store as of that moment.
    Contents are never changed once there; they are linked where the file system allows, else
    copied. A later backup to the same place copies only what is new. To restore, use the copy as
    ``--folder``.

    Raises:
        TrackingError: the folder is no store.
    """
    if not (folder / "journal").is_dir():
        raise TrackingError(f"{str(folder)!r} is no tracker's folder: it has no journal.")
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    copied = _copy_journal(folder, target)
    copied += _copy_contents(folder / "blobs", target / "blobs")
    for name in ("secret", "key"):
        if (folder / name).exists():
            shutil.copy2(folder / name, target / name)
    for name in ("index.db", "index.db-wal", "index.db-shm"):
        (target / name).unlink(missing_ok=True)
    return copied


def _copy_journal(folder: Path, target: Path) -> int:
    """Copy segments, the last one up to its last whole record."""
    (target / "journal").mkdir(exist_ok=True)
    copied = 0
    journal = Journal(folder / "journal")
    for number in journal.segments:
        source, copy = journal.path(number), target / "journal" / f"{number:08d}.log"
        size = source.stat().st_size
        if number == journal.segments[-1]:
            size = max(
                (each.next.offset for each in journal.read(Position(number, 0))), default=size
            )
        if copy.exists() and copy.stat().st_size == size and number != journal.segments[-1]:
            continue
        temporary = copy.with_suffix(".new")
        with source.open("rb") as reading, temporary.open("wb") as writing:
            _copy_bytes(reading, writing, size)
            writing.flush()
            os.fsync(writing.fileno())
        os.replace(temporary, copy)
        copied += size
    for extra in (target / "journal").glob("????????.log"):
        if int(extra.stem) not in journal.segments:
            extra.unlink()
    return copied


def _copy_bytes(source: BinaryIO, target: BinaryIO, size: int) -> None:
    while size > 0 and (data := source.read(min(size, 1 << 20))):
        target.write(data)
        size -= len(data)


def _copy_contents(source: Path, target: Path) -> int:
    copied = 0
    for folder in sorted(source.glob("??")):
        (target / folder.name).mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            copy = target / folder.name / path.name
            if not copy.exists():
                try:
                    os.link(path, copy)
                except OSError:
                    temporary = copy.with_name(copy.name + ".new")
                    shutil.copy2(path, temporary)
                    os.replace(temporary, copy)
                copied += path.stat().st_size
    return copied
