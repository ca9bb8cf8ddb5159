"""Artifacts, for pages: what a project has, what is in a version, what came from what."""

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from composer.tracking.protocol import jsontext, manifest
from composer.tracking.protocol.refusal import MissingError
from composer.tracking.protocol.shapes import as_list
from composer.tracking.server.api.lookup import (
    find_project,
    find_run,
    posted_project,
    posted_text,
)
from composer.tracking.server.services import (
    Services,
    in_thread,
    json_response,
    read_json,
    services,
)
from composer.tracking.server.urls import Urls
from composer.tracking.store import artifacts, runs
from composer.tracking.store.index import Reader, Row
from composer.tracking.store.writer import Tx

_MAX_FILES: Final = 5000
# A graph of more things than this helps nobody.
_MAX_NODES: Final = 120


async def listing(request: Request) -> Response:
    """Collections of a project with all their versions, newest version first."""
    shared = services(request)

    def read() -> Response:
        with shared.store.reading() as reader:
            project = find_project(shared, request, reader)
            kinds = {row["id"]: row["name"] for row in artifacts.types(reader, project["id"])}
            found = [
                {
                    "name": row["name"],
                    "type": kinds.get(row["type_id"]),
                    "description": row["description"],
                    "is_link": row["kind"] == artifacts.PORTFOLIO,
                    "versions": _members(reader, row),
                }
                for row in artifacts.collections(reader, project["id"])
            ]
        return json_response(found)

    return await in_thread(read)


def _members(reader: Reader, collection: Row) -> list[dict[str, Any]]:
    members = artifacts.members(reader, collection["id"])
    rows = reader.by_ids("artifacts", [member["artifact_id"] for member in members])
    aliases: dict[int, list[str]] = {}
    for row in artifacts.collection_aliases(reader, collection["id"]):
        aliases.setdefault(row["artifact_id"], []).append(row["alias"])
    return [
        {
            "version": f"v{member['version']}",
            "aliases": aliases.get(member["artifact_id"], []),
            "digest": rows[member["artifact_id"]]["digest"],
            "size": rows[member["artifact_id"]]["size"],
            "files": rows[member["artifact_id"]]["file_count"],
            "created_at": rows[member["artifact_id"]]["created_at"],
        }
        for member in members
        if member["artifact_id"] in rows
    ]


async def show(request: Request) -> Response:
    """One version: its description, its files, and the runs that made and used it."""
    shared = services(request)

    def read() -> Response:
        urls = shared.urls(request)
        with shared.store.reading() as reader:
            collection, row = _find(shared, request, reader)
            maker = reader.by_id("runs", row["run_id"]) if row["run_id"] else None
            found = {
                "name": collection["name"],
                "version": f"v{row['version']}",
                "digest": row["digest"],
                "description": row["description"],
                "metadata": jsontext.loads_object(row["metadata"]),
                "created_at": row["created_at"],
                "size": row["size"],
                "files": _files(shared, reader, urls, row),
                "made_by": _run(reader, maker) if maker else None,
                "used_by": [_run(reader, each) for each in artifacts.used_by(reader, row["id"])],
            }
        return json_response(found)

    return await in_thread(read)


async def set_aliases(request: Request) -> Response:
    """Give a version aliases and take others away; answers with where each was before."""
    shared = services(request)
    body = await read_json(request)
    name, version = posted_text(body, "name"), posted_text(body, "version")
    add, remove = ([str(each) for each in as_list(body.get(key))] for key in ("add", "remove"))
    with shared.store.reading() as reader:
        project = posted_project(shared, request, reader, body)

    def change(tx: Tx) -> dict[str, str | None]:
        collection, row = _version(tx, project, name, version)
        moved = {alias: artifacts.member(tx, collection["id"], alias) for alias in add}
        for alias in add:
            artifacts.set_alias(tx, collection["id"], row["id"], alias)
        for alias in remove:
            artifacts.remove_alias(tx, collection["id"], row["id"], alias)
        return {alias: f"v{old['version']}" if old else None for alias, old in moved.items()}

    return json_response({"before": await in_thread(lambda: shared.store.do(change))})


def _find(shared: Services, request: Request, reader: Reader) -> tuple[Row, Row]:
    """The collection and version that a request names.

    Raises:
        MissingError: there is none.
    """
    project = find_project(shared, request, reader)
    query = request.query_params
    return _version(reader, project, query.get("name", ""), query.get("version", "latest"))


def _version(reader: Reader, project: Row, name: str, wanted: str) -> tuple[Row, Row]:
    collection = artifacts.find_collection(reader, project["id"], name)
    member = artifacts.member(reader, collection["id"], wanted) if collection else None
    if collection is None or member is None:
        raise MissingError(f"there is no artifact {f'{name}:{wanted}'[:80]!r}.")
    return collection, artifacts.get_row(reader, member["artifact_id"])


def _entries(shared: Services, reader: Reader, artifact: Row) -> manifest.Entries:
    row = artifacts.manifest_of(reader, artifact["id"])
    return shared.store.manifests.entries(row["sha256"]) if row else {}


def _files(shared: Services, reader: Reader, urls: Urls, artifact: Row) -> list[dict[str, Any]]:
    entity_id = artifacts.entity_id_of(reader, artifact)
    found: list[dict[str, Any]] = []
    for path, entry in sorted(_entries(shared, reader, artifact).items())[:_MAX_FILES]:
        content = artifacts.has_content(reader, entity_id, entry["digest"])
        found.append(
            {
                "name": path,
                "size": entry.get("size") or 0,
                "digest": entry["digest"],
                "reference": entry.get("ref"),
                "url": urls.download(content["sha256"], path) if content else None,
            }
        )
    return found


def _run(reader: Reader, row: Row) -> dict[str, Any]:
    found = {"name": row["name"], "display_name": row["display_name"], "ordinal": row["ordinal"]}
    if row["project_id"] is None:  # In the trash.
        return found
    project = runs.project_by_id(reader, row["project_id"])
    return found | {"entity": project["entity_name"], "project": project["name"]}


async def lineage(request: Request) -> Response:
    """What a run or an artifact came from and what came of it, as nodes and arrows."""
    shared = services(request)

    def read() -> Response:
        with shared.store.reading() as reader:
            if request.query_params.get("run"):
                start = ("run", find_run(shared, request, reader)["id"])
            else:
                start = ("artifact", _find(shared, request, reader)[1]["id"])
            nodes, edges = _walk(reader, start)
            found = [_node(reader, kind, number) for kind, number in nodes]
        return json_response(
            {
                "nodes": [node for node in found if node],
                "edges": [[f"{a[0]}{a[1]}", f"{b[0]}{b[1]}"] for a, b in edges],
                "start": f"{start[0]}{start[1]}",
            }
        )

    return await in_thread(read)


_Thing = tuple[str, int]


def _walk(reader: Reader, start: _Thing) -> tuple[list[_Thing], list[tuple[_Thing, _Thing]]]:
    """Everything within reach of a thing along its arrows, up to a number of things."""
    seen = {start: None}
    edges: dict[tuple[_Thing, _Thing], None] = {}
    for is_forward in (False, True):
        waiting = [start]
        while waiting and len(seen) < _MAX_NODES:
            thing = waiting.pop(0)
            for each in _next(reader, thing, is_forward):
                edges[(thing, each) if is_forward else (each, thing)] = None
                if each not in seen and len(seen) < _MAX_NODES:
                    seen[each] = None
                    waiting.append(each)
    return list(seen), [edge for edge in edges if edge[0] in seen and edge[1] in seen]


def _next(reader: Reader, thing: _Thing, is_forward: bool) -> list[_Thing]:
    kind, number = thing
    if kind == "run":
        find = artifacts.outputs_of if is_forward else artifacts.inputs_of
        return [("artifact", row["id"]) for row in find(reader, number)]
    if is_forward:
        return [("run", row["id"]) for row in artifacts.used_by(reader, number)]
    row = reader.by_id("artifacts", number)
    return [("run", row["run_id"])] if row and row["run_id"] else []


def _node(reader: Reader, kind: str, number: int) -> dict[str, Any] | None:
    row = reader.by_id("runs" if kind == "run" else "artifacts", number)
    if row is None:
        return None
    if kind == "run":
        return {"id": f"run{number}", "kind": "run", **_run(reader, row)}
    collection = reader.by_id("collections", row["collection_id"])
    if collection is None:
        return None
    project = runs.project_by_id(reader, collection["project_id"])
    type_row = reader.by_id("artifact_types", collection["type_id"])
    return {
        "id": f"artifact{number}",
        "kind": "artifact",
        "name": collection["name"],
        "version": f"v{row['version']}",
        "type": type_row["name"] if type_row else None,
        "entity": project["entity_name"],
        "project": project["name"],
    }
