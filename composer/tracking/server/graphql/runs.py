"""Projects and runs as clients read them."""

import math
from typing import Any

from composer.tracking.protocol import ids, jsontext
from composer.tracking.protocol.refusal import BadRequestError
from composer.tracking.protocol.shapes import as_list, as_object
from composer.tracking.server.graphql.artifacts import (
    CollectionNode,
    MembershipNode,
    TypeNode,
    artifact_page,
)
from composer.tracking.server.graphql.context import Context, Page, page
from composer.tracking.server.graphql.files import RunFileNode
from composer.tracking.server.graphql.viewer import EntityNode, UserNode
from composer.tracking.store import artifacts, files, logs, runs, users
from composer.tracking.store.history import EVENTS, HISTORY
from composer.tracking.store.index import Row
from composer.tracking.store.reading import history_keys
from composer.tracking.store.select import select_runs

_MAX_SAMPLES = 100_000


class ProjectNode:
    """A project."""

    typename = "Project"
    is_benchmark = False
    read_only = False
    total_sweeps = 0
    allow_all_artifact_types_in_registry = True

    def __init__(self, context: Context, row: Row) -> None:
        self._context = context
        self.row = row
        self.id = ids.encode_id("Project", row["id"])
        self.internal_id = ids.encode_id("ProjectInternalId", row["id"])
        self.name = row["name"]
        self.entity_name = row["entity_name"]
        self.description = row["description"]
        self.access = row["access"]
        self.views = row["views"] or "{}"
        self.created_at = row["created_at"]
        self.updated_at = row["updated_at"]

    @property
    def entity(self) -> EntityNode:
        """The entity that owns the project."""
        row = users.entity(self._context.reader, self.entity_name)
        assert row is not None
        return EntityNode(self._context, row)

    @property
    def user(self) -> UserNode:
        """The user of the project's entity."""
        row = users.by_name(self._context.reader, self.entity_name)
        return UserNode(self._context, row or users.by_id(self._context.reader, 0))

    def run_count(self, filters: str | None = None) -> int:
        """How many runs pass a filter."""
        return len(select_runs(self._context.reader, self.row["id"], filters, None))

    def run(self, name: str) -> "RunNode | None":
        """A run by its id."""
        row = runs.find(self._context.reader, self.row["id"], name)
        return RunNode(self._context, row, self) if row else None

    def bucket(self, name: str, missing_ok: bool | None = None) -> "RunNode | None":
        """A run by its id, as a resuming client asks for it."""
        return self.run(name)

    def runs(
        self,
        filters: str | None = None,
        after: str | None = None,
        first: int | None = None,
        order: str | None = None,
    ) -> Page:
        """Runs that pass a filter, in an order."""
        found = select_runs(self._context.reader, self.row["id"], filters, order)
        return page(found, lambda row: RunNode(self._context, row, self), first, after)

    def sweeps(self, **_: Any) -> Page:
        """None: sweeps are not supported."""
        return Page([], False, 0)

    def all_views(self, **_: Any) -> Page:
        """None: reports are not supported."""
        return Page([], False, 0)

    def artifact(self, name: str) -> Any:
        """An artifact by ``collection:alias``."""
        found = self.artifact_collection_membership(name)
        return found.artifact if found else None

    def artifact_type(self, name: str) -> TypeNode | None:
        """An artifact type by name."""
        row = artifacts.find_type(self._context.reader, self.row["id"], name)
        return TypeNode(self._context, row, self) if row else None

    def artifact_types(self, after: str | None = None, first: int | None = None, **_: Any) -> Page:
        """Artifact types of the project."""
        rows = artifacts.types(self._context.reader, self.row["id"])
        return page(rows, lambda row: TypeNode(self._context, row, self), first, after)

    def artifact_collection(self, name: str) -> CollectionNode | None:
        """An artifact collection by name."""
        row = artifacts.find_collection(self._context.reader, self.row["id"], name)
        return CollectionNode(self._context, row, self) if row else None

    def artifact_collections(
        self, after: str | None = None, first: int | None = None, **_: Any
    ) -> Page:
        """Artifact collections of the project."""
        rows = artifacts.collections(self._context.reader, self.row["id"])
        return page(rows, lambda row: CollectionNode(self._context, row, self), first, after)

    def artifact_collection_membership(self, name: str) -> MembershipNode | None:
        """A version by ``collection:alias``."""
        collection, _, alias = name.partition(":")
        found = self.artifact_collection(collection)
        return found.artifact_membership(alias or "latest") if found else None


class RunNode:
    """A run."""

    typename = "Run"
    read_only = False
    sweep = None

    def __init__(self, context: Context, row: Row, project: ProjectNode | None = None) -> None:
        self._context = context
        self._project = project
        self.row = row
        self.id = ids.encode_id("Run", row["id"])
        self.project_id = row["project_id"]
        self.name = row["name"]
        self.display_name = row["display_name"]
        self.state = row["state"]
        self.sweep_name = row["sweep"]
        self.config = row["config"] or "{}"
        self.summary_metrics = row["summary"] or "{}"
        self.notes = row["notes"]
        self.description = row["description"]
        self.group = self.group_name = row["grp"]
        self.job_type = row["job_type"]
        self.commit = row["commit_hash"]
        self.host = row["host"]
        self.program = row["program"]
        self.repo = row["repo"]
        self.created_at = row["created_at"]
        self.updated_at = row["updated_at"]
        self.heartbeat_at = row["heartbeat_at"]
        self.stopped = bool(row["stop_requested"])
        self.history_line_count = row["history_lines"] or 0
        self.events_line_count = row["event_lines"] or 0
        self.log_line_count = row["log_lines"] or 0

    @property
    def tags(self) -> list[str]:
        """Tags of the run."""
        return jsontext.loads(self.row["tags"] or "[]")

    @property
    def project(self) -> ProjectNode:
        """The run's project."""
        if self._project is None:
            row = runs.project_by_id(self._context.reader, self.row["project_id"])
            self._project = ProjectNode(self._context, row)
        return self._project

    @property
    def user(self) -> UserNode:
        """Who logged the run."""
        return UserNode(self._context, users.by_id(self._context.reader, self.row["user_id"]))

    @property
    def system_metrics(self) -> str:
        """The last system metrics."""
        rows = self._context.store.rows.tail(self._context.reader, self.row["id"], EVENTS)
        kept = {
            key: value
            for key, value in (rows[-1] if rows else {}).items()
            if key.startswith("system.")
        }
        return jsontext.dumps(kept)

    def wandb_config(self, keys: list[str] | None = None) -> str:
        """Members of the config's ``_wandb``."""
        inner = as_object(jsontext.loads_object(self.config).get("_wandb"))
        values = as_object(inner.get("value"))
        return jsontext.dumps({key: values[key] for key in keys or values if key in values})

    def _tail(self, stream: int) -> str:
        rows = self._context.store.rows.tail(self._context.reader, self.row["id"], stream)
        return jsontext.dumps([jsontext.dumps(row) for row in rows])

    @property
    def history_tail(self) -> str:
        """The last row, as a list in JSON."""
        return self._tail(HISTORY)

    @property
    def events_tail(self) -> str:
        """The last system metrics, as a list in JSON."""
        return self._tail(EVENTS)

    @property
    def history_keys(self) -> Any:
        """What is known of each key."""
        return history_keys(self._context.store.rows, self._context.reader, self.row)

    def history(
        self, min_step: Any = None, max_step: Any = None, samples: int | None = None
    ) -> list[str]:
        """Rows as JSON: a page by steps, or a sample."""
        rows = self._context.store.rows
        count = _samples(samples)
        if min_step is None and max_step is None:
            found = rows.sample(self._context.reader, self.row["id"], HISTORY, count)
        else:
            low, high = _number(min_step, -math.inf), _number(max_step, math.inf)
            found = rows.by_step(self._context.reader, self.row["id"], low, high, count)
        return [jsontext.dumps(row) for row in found]

    def events(self, samples: int | None = None) -> list[str]:
        """A sample of the system metrics, as JSON."""
        found = self._context.store.rows.sample(
            self._context.reader, self.row["id"], EVENTS, _samples(samples)
        )
        return [jsontext.dumps(row) for row in found]

    def sampled_history(self, specs: list[str] | None = None) -> list[Any]:
        """Per spec, rows that have all the keys it names."""
        return [self._sampled(spec) for spec in (specs or [])[:100]]

    def _sampled(self, text: str) -> list[Any]:
        spec = jsontext.loads_object(text)
        keys = None if spec.get("keys") is None else as_list(spec["keys"])
        if keys is not None and not all(isinstance(key, str) for key in keys):
            raise BadRequestError("'keys' of a sampled history must be a list of names.")
        low = _number(spec.get("minStep"), -math.inf)
        high = _number(spec.get("maxStep"), math.inf)
        count = _samples(spec.get("samples"))
        # New clients mean `maxStep` to be part of a page; old ones ask for one step more than a
        # page holds, and mean the step after it.
        past = high if high - low == count else math.nextafter(high, math.inf)
        found = self._context.store.rows.sample(
            self._context.reader, self.row["id"], HISTORY, count, keys, low=low, high=past
        )
        return jsontext.finite(found)

    def parquet_history(self, live_keys: list[str] | None = None) -> dict[str, Any]:
        """Where an ended run's rows lie as Parquet; nothing if they must be read page by page."""
        row = self.row
        if row["state"] in runs.ACTIVE or not row["history_lines"]:
            return {"parquetUrls": [], "liveData": []}
        if not self._context.store.exports.is_possible(self._context.reader, row):
            return {"parquetUrls": [], "liveData": []}
        url = self._context.urls.parquet(row["id"], f"{row['history_lines']}")
        return {"parquetUrls": [url], "liveData": []}

    def log_lines(
        self, first: int | None = None, last: int | None = None, after: str | None = None, **_: Any
    ) -> Page:
        """Console lines, from the start or the end."""
        total = self.log_line_count
        start = ids.decode_id("C", after) if after else 0
        count = 1000 if first is None and last is None else max(0, min(first or last or 0, 10_000))
        if last is not None:
            start = max(0, total - count)
        rows = logs.read(self._context.reader, self.row["id"], start, start + count)
        edges = [
            {"node": logs.parse(row), "cursor": ids.encode_id("C", row["line"] + 1)} for row in rows
        ]
        return Page(edges, bool(rows) and rows[-1]["line"] + 1 < total, total)

    @property
    def file_count(self) -> int:
        """How many files the run has."""
        return files.count(self._context.reader, self.row["id"])

    def files(
        self,
        names: list[str] | None = None,
        after: str | None = None,
        first: int | None = None,
        pattern: str | None = None,
    ) -> Page:
        """Files of the run."""
        start = ids.decode_id("C", after) if after else 0
        count = 1000 if first is None else max(0, min(first, 10_000))
        rows = files.listing(self._context.reader, self.row["id"], names, pattern, start, count + 1)
        edges = [
            {"node": RunFileNode(self._context, row), "cursor": ids.encode_id("C", row["id"])}
            for row in rows[:count]
        ]
        return Page(edges, len(rows) > count, self.file_count)

    def output_artifacts(self, after: str | None = None, first: int | None = None) -> Page:
        """Artifacts the run made."""
        rows = artifacts.outputs_of(self._context.reader, self.row["id"])
        return artifact_page(self._context, rows, first, after)

    def input_artifacts(self, after: str | None = None, first: int | None = None) -> Page:
        """Artifacts the run used."""
        rows = artifacts.inputs_of(self._context.reader, self.row["id"])
        return artifact_page(self._context, rows, first, after)


def _samples(value: Any) -> int:
    return max(1, min(value, _MAX_SAMPLES)) if isinstance(value, int) else 500


def _number(value: Any, default: float) -> float:
    return float(value) if isinstance(value, (int, float)) and abs(value) < 2**63 else default
