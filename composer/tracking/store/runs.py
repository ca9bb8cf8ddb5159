"""Projects and runs: finding, creating, changing, deleting."""

import secrets
import string
from collections.abc import Callable
from typing import Any, Final

from composer.tracking.protocol import ids, jsontext
from composer.tracking.protocol.refusal import BadRequestError, ConflictError, MissingError
from composer.tracking.store import users
from composer.tracking.store.clock import now
from composer.tracking.store.index import Reader, Row
from composer.tracking.store.writer import Tx

DEFAULT_PROJECT: Final = "uncategorized"
ACTIVE: Final = ("running", "pending", "preempting")
_STATES: Final = {
    "running",
    "pending",
    "preempting",
    "preempted",
    "finished",
    "failed",
    "crashed",
    "killed",
}
_RUN_ID_CHARS: Final = string.ascii_lowercase + string.digits

# Argument of an upsert -> column; text as it is.
_TEXT_FIELDS: Final = {
    "groupName": "grp",
    "jobType": "job_type",
    "displayName": "display_name",
    "notes": "notes",
    "description": "description",
    "commit": "commit_hash",
    "host": "host",
    "jobProgram": "program",
    "jobRepo": "repo",
    "sweep": "sweep",
}


def find_entity(reader: Reader, user: Row, name: str | None) -> Row:
    """The named entity, or the user's own.

    Raises:
        MissingError: there is none, or the user may not see it.
    """
    entity = reader.by_id("entities", user["entity_id"]) if not name else users.entity(reader, name)
    if entity is None or not users.can_use(user, entity):
        raise MissingError(f"entity {name!r} not found. Your own is {user['name']!r}.")
    return entity


def find_project(
    reader: Reader, user: Row, entity_name: str | None, name: str | None
) -> Row | None:
    """A project with its ``entity_name``; None if there is none the user may see."""
    try:
        entity = find_entity(reader, user, entity_name)
    except MissingError:
        return None
    row = reader.one(
        "SELECT * FROM projects WHERE entity_id = ? AND name = ?",
        entity["id"],
        name or DEFAULT_PROJECT,
    )
    return None if row is None else {**row, "entity_name": entity["name"]}


def project_by_id(reader: Reader, number: int) -> Row:
    """A project with its ``entity_name``.

    Raises:
        MissingError: it has been deleted.
    """
    row = reader.one(
        "SELECT p.*, e.name AS entity_name FROM projects p JOIN entities e ON e.id = p.entity_id "
        "WHERE p.id = ?",
        number,
    )
    if row is None:
        raise MissingError("the project does not exist any more.")
    return row


def ensure_project(tx: Tx, user: Row, entity_name: str | None, name: str | None) -> Row:
    """The project, made if there is none.

    Raises:
        MissingError: the entity does not exist for this user.
        BadRequestError: the name is not allowed.
    """
    entity = find_entity(tx, user, entity_name)
    found = find_project(tx, user, entity["name"], name)
    if found is not None:
        return found
    name = ids.check_project_name(name or DEFAULT_PROJECT)
    number = tx.put(
        "projects",
        entity_id=entity["id"],
        name=name,
        description="",
        access="PRIVATE",
        views="",
        created_at=now(),
        updated_at=now(),
        num_created=0,
    )
    tx.announce(kind="project", entity=entity["name"], project=name)
    return project_by_id(tx, number)


def list_projects(reader: Reader, entity_ids: list[int]) -> list[Row]:
    """Projects of entities with run counts, last used first."""
    marks = ",".join("?" * len(entity_ids))
    return reader.all(
        "SELECT p.*, e.name AS entity_name, (SELECT count(*) FROM runs WHERE project_id = "
        "p.id) AS num_runs, "
        "(SELECT max(created_at) FROM runs WHERE project_id = p.id) AS last_run_at FROM "
        "projects p "
        f"JOIN entities e ON e.id = p.entity_id WHERE p.entity_id IN ({marks}) "
        f"ORDER BY coalesce(last_run_at, p.created_at) DESC, p.id DESC",
        *entity_ids,
    )


def find(reader: Reader, project_id: int, name: str) -> Row | None:
    """A run by its id in the project."""
    return reader.one("SELECT * FROM runs WHERE project_id = ? AND name = ?", project_id, name)


def in_project(reader: Reader, project_id: int) -> list[Row]:
    """Every run of a project, newest first."""
    return reader.all(
        "SELECT * FROM runs WHERE project_id = ? ORDER BY created_at DESC, id DESC", project_id
    )


def in_trash(reader: Reader, project_id: int) -> list[Row]:
    """Runs thrown away from a project, last thrown away first."""
    return reader.all(
        "SELECT * FROM runs WHERE trashed_from = ? ORDER BY trashed_at DESC, id DESC", project_id
    )


def get(reader: Reader, user: Row, number: int) -> Row:
    """A run by its number, if the user may see it.

    Raises:
        MissingError: there is none.
    """
    run = reader.by_id("runs", number)
    if run is not None:
        project = project_by_id(reader, run["project_id"])
        entity = reader.by_id("entities", project["entity_id"])
        if entity is not None and users.can_use(user, entity):
            return run
    raise MissingError("the run does not exist.")


def upsert(tx: Tx, user: Row, args: dict[str, Any]) -> tuple[Row, bool]:
    """Create or change a run as the ``upsertBucket`` mutation says.

    Args:
        tx: the transaction.
        user: who asks.
        args: the mutation's input; null members leave things alone.

    Returns:
        The run and whether it is new.

    Raises:
        RefusedError: a name is not allowed, or a thing named does not exist.
    """
    run = _target(tx, user, args)
    if run is None:
        return _insert(tx, user, args), True
    changes = _changes(args)
    if args.get("id") is None and "state" not in changes:
        # A new process took the name: a resume, a repeated sync or a fresh start.
        changes |= {
            "state": "running",
            "heartbeat_at": now(),
            "stop_requested": 0,
            "reset_pending": 1,
        }
    tx.set("runs", run["id"], **changes)
    tx.announce(kind="run", run=run["id"])
    return _must(tx, run["id"]), False


def _target(tx: Tx, user: Row, args: dict[str, Any]) -> Row | None:
    if args.get("id"):
        return get(tx, user, ids.decode_id("Run", args["id"]))
    project = find_project(tx, user, args.get("entityName"), args.get("modelName"))
    return find(tx, project["id"], args["name"]) if project and args.get("name") else None


def _insert(tx: Tx, user: Row, args: dict[str, Any]) -> Row:
    project = ensure_project(tx, user, args.get("entityName"), args.get("modelName"))
    name = ids.check_run_name(args.get("name") or make_run_id())
    count = (project["num_created"] or 0) + 1
    tx.set("projects", project["id"], num_created=count, updated_at=now())
    time = now()
    row: dict[str, Any] = {
        "project_id": project["id"],
        "name": name,
        "user_id": user["id"],
        "state": "running",
        "display_name": ids.invent_display_name(count),
        "tags": "[]",
        "config": "{}",
        "summary": "{}",
        "created_at": time,
        "updated_at": time,
        "heartbeat_at": time,
        "stop_requested": 0,
        "reset_pending": 0,
        "source": "sdk",
        "history_lines": 0,
        "event_lines": 0,
        "log_lines": 0,
        "ordinal": count,
    }
    number = tx.put("runs", **(row | _changes(args)))
    tx.announce(kind="run", run=number)
    return _must(tx, number)


def _changes(args: dict[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {
        column: args[name] for name, column in _TEXT_FIELDS.items() if args.get(name) is not None
    }
    if not changes.get("display_name", "x"):
        del changes["display_name"]
    if args.get("tags") is not None:
        changes["tags"] = jsontext.dumps(sorted(set(args["tags"])))
    for name, column in (("config", "config"), ("summaryMetrics", "summary")):
        if args.get(name) is not None:
            changes[column] = _object_text(name, args[name])
    if args.get("state"):
        if args["state"] not in _STATES:
            raise BadRequestError(f"state {args['state'][:40]!r} is none of {sorted(_STATES)}.")
        changes["state"] = args["state"]
    changes["updated_at"] = now()
    return changes


def _object_text(name: str, text: str) -> str:
    try:
        value = jsontext.loads(text)
    except ValueError as error:
        raise BadRequestError(f"{name} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadRequestError(f"{name} must be a JSON object.")
    return jsontext.clean_text(text)


def _must(reader: Reader, number: int) -> Row:
    run = reader.by_id("runs", number)
    if run is None:
        raise MissingError("the run does not exist any more.")
    return run


def make_run_id() -> str:
    """A run id of eight letters and digits, as clients make them."""
    return "".join(secrets.choice(_RUN_ID_CHARS) for _ in range(8))


def set_state(tx: Tx, run: Row, state: str, exit_code: int | None = None) -> None:
    """Change a run's state and tell listeners."""
    tx.set("runs", run["id"], state=state, exit_code=exit_code, updated_at=now())
    tx.announce(kind="run", run=run["id"], state=state)


def mark_crashed(tx: Tx, run_ids: list[int]) -> int:
    """Mark those of the runs that are still active as crashed; returns how many."""
    count = 0
    for number in run_ids:
        run = tx.by_id("runs", number)
        if run is not None and run["state"] in ACTIVE:
            set_state(tx, run, "crashed")
            count += 1
    return count


def active(reader: Reader) -> list[Row]:
    """Runs that have not ended, without the pending ones, which no process has taken up yet."""
    return reader.all("SELECT id, state, source FROM runs WHERE state IN ('running', 'preempting')")


def delete(
    tx: Tx, run: Row, with_artifacts: bool, delete_artifact: Callable[[Tx, Row], None]
) -> None:
    """Delete a run with its rows, files and console; artifacts it made only if asked."""
    if with_artifacts:
        for artifact in tx.all("SELECT * FROM artifacts WHERE run_id = ?", run["id"]):
            delete_artifact(tx, artifact)
    tx.drop_run(run["id"])
    tx.announce(kind="run", run=run["id"], state="deleted")


def rename_project(tx: Tx, project: Row, name: str) -> None:
    """Give a project another name.

    Raises:
        ConflictError: the name is taken.
    """
    ids.check_project_name(name)
    if tx.one(
        "SELECT id FROM projects WHERE entity_id = ? AND name = ?", project["entity_id"], name
    ):
        raise ConflictError(f"there is a project {name!r} already.")
    tx.set("projects", project["id"], name=name, updated_at=now())


def update_project(tx: Tx, project: Row, **changes: Any) -> None:
    """Change a project's description, access or views."""
    tx.set("projects", project["id"], **changes, updated_at=now())


def add_alert(tx: Tx, run: Row, title: str, text: str, severity: str) -> None:
    """Keep an alert and tell listeners."""
    tx.put("alerts", run_id=run["id"], title=title, text=text, severity=severity, created_at=now())
    tx.announce(kind="alert", run=run["id"], title=title, text=text, severity=severity)


def alerts(reader: Reader, run_id: int) -> list[Row]:
    """Alerts of a run, oldest first."""
    return reader.all("SELECT * FROM alerts WHERE run_id = ? ORDER BY id", run_id)


def reload(reader: Reader, number: int) -> Row:
    """A run after a change.

    Raises:
        MissingError: it does not exist any more.
    """
    return _must(reader, number)


def request_stop(tx: Tx, run: Row) -> None:
    """Ask a run's process to stop; a run that is not running is left alone."""
    if run["state"] in ACTIVE:
        tx.set("runs", run["id"], stop_requested=1)
        tx.announce(kind="run", run=run["id"], state=run["state"])


def delete_project(tx: Tx, user: Row, number: int, artifacts: Any) -> None:
    """Delete a project with its runs and artifacts.

    Args:
        tx: the transaction.
        user: who asks.
        number: the project.
        artifacts: the module of artifacts, which builds on this one.

    Raises:
        MissingError: there is none the user may touch.
    """
    project = project_by_id(tx, number)
    find_entity(tx, user, project["entity_name"])
    for run in [*in_project(tx, number), *in_trash(tx, number)]:
        delete(tx, run, False, artifacts.delete)
    for view in tx.all("SELECT id FROM views WHERE project_id = ?", number):
        tx.delete("views", view["id"])
    for collection in artifacts.collections(tx, number):
        artifacts.delete_collection(tx, collection)
    for kind in artifacts.types(tx, number):
        tx.delete("artifact_types", kind["id"])
    tx.delete("projects", number)
    tx.announce(kind="project", entity=project["entity_name"], project=project["name"])
