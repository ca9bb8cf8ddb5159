"""Changes to runs and projects."""

from typing import Any

from composer.tracking.protocol import ids, jsontext
from composer.tracking.protocol.refusal import BadRequestError, MissingError
from composer.tracking.protocol.shapes import as_object
from composer.tracking.server.graphql.context import Context
from composer.tracking.server.graphql.runs import ProjectNode, RunNode
from composer.tracking.store import artifacts, charts, files, runs
from composer.tracking.store.index import Reader, Row
from composer.tracking.store.writer import Tx

_SWEEPS = (
    "sweeps are not supported by this server. Start runs in a loop or from a script, and "
    "compare them "
    "in the project's table."
)
_MAX_FILES = 10_000


class RunMutations:
    """Resolves mutations of runs, projects, files and alerts."""

    _context: Context

    def upsert_bucket(self, input: dict[str, Any]) -> dict[str, Any]:
        """Create or change a run; a new one may be the fork of another."""
        context = self._context
        user = context.user

        def command(tx: Tx) -> tuple[Row, bool, int]:
            row, inserted = runs.upsert(tx, user, input)
            copied = self._fork(tx, user, row) if inserted else 0
            return runs.reload(tx, row["id"]), inserted, copied

        row, inserted, copied = context.do(command)
        node = RunNode(context, row)
        # A count would become the offset of the client's next post; only forks start beyond zero.
        node.history_line_count = copied
        return {"bucket": node, "inserted": inserted}

    def _fork(self, tx: Tx, user: Row, child: Row) -> int:
        inner = as_object(jsontext.loads_object(child["config"]).get("_wandb"))
        point = as_object(as_object(inner.get("value")).get("branch_point"))
        name, step = point.get("run_id"), point.get("step")
        if not isinstance(name, str) or not isinstance(step, (int, float)) or name == child["name"]:
            return 0
        parent = runs.find(tx, child["project_id"], name)
        if parent is None:
            raise MissingError(f"cannot fork: there is no run {name!r} in this project.")
        return self._context.store.ingest.fork(tx, parent, child, step)

    def rewind_run(self, input: dict[str, Any]) -> dict[str, Any]:
        """Cut a run's history after a step, so that it goes on from there."""
        context = self._context
        if input["metricName"] != "_step":
            raise BadRequestError("a run can only be rewound along '_step'.")
        user = context.user

        def command(tx: Tx) -> Row:
            run = _run(tx, user, input)
            return context.store.ingest.rewind(tx, run, input["metricValue"])

        return {"rewoundRun": RunNode(context, context.do(command))}

    def delete_run(self, input: dict[str, Any]) -> dict[str, Any]:
        """Delete a run."""
        user = self._context.user
        number = ids.decode_id("Run", input["id"])
        self._context.do(
            lambda tx: runs.delete(
                tx, runs.get(tx, user, number), bool(input.get("deleteArtifacts")), artifacts.delete
            )
        )
        return {"success": True, "clientMutationId": None}

    def stop_run(self, input: dict[str, Any]) -> dict[str, Any]:
        """Ask a run's process to stop; it hears of it with its next post."""
        user = self._context.user
        number = ids.decode_id("Run", input["id"])
        self._context.do(lambda tx: runs.request_stop(tx, runs.get(tx, user, number)))
        return {"success": True}

    def update_run_state(self, input: dict[str, Any]) -> dict[str, Any]:
        """Set a run's state by hand."""
        user = self._context.user

        def command(tx: Tx) -> None:
            opaque = input.get("id") or input.get("runID") or input.get("runId")
            run = (
                runs.get(tx, user, ids.decode_id("Run", opaque))
                if opaque
                else _run(tx, user, input)
            )
            runs.upsert(tx, user, {"id": ids.encode_id("Run", run["id"]), "state": input["state"]})

        self._context.do(command)
        return {"success": True}

    def upsert_model(self, input: dict[str, Any]) -> dict[str, Any]:
        """Create or describe a project."""
        user = self._context.user

        def command(tx: Tx) -> tuple[Row, bool]:
            found = runs.find_project(tx, user, input.get("entityName"), input.get("name"))
            project = found or runs.ensure_project(
                tx, user, input.get("entityName"), input.get("name")
            )
            changes = {
                key: input[key]
                for key in ("description", "access", "views")
                if input.get(key) is not None
            }
            if changes:
                runs.update_project(tx, project, **changes)
            return runs.project_by_id(tx, project["id"]), found is None

        row, inserted = self._context.do(command)
        node = ProjectNode(self._context, row)
        return {"project": node, "model": node, "inserted": inserted}

    def rename_project(self, input: dict[str, Any]) -> dict[str, Any]:
        """Give a project another name."""
        user = self._context.user

        def command(tx: Tx) -> Row:
            project = runs.find_project(tx, user, input["entityName"], input["oldProjectName"])
            if project is None:
                raise MissingError(f"project {input['oldProjectName']!r} not found.")
            runs.rename_project(tx, project, input["newProjectName"])
            return runs.project_by_id(tx, project["id"])

        return {"project": ProjectNode(self._context, self._context.do(command)), "inserted": False}

    def delete_model(self, input: dict[str, Any]) -> dict[str, Any]:
        """Delete a project with everything in it."""
        user = self._context.user
        number = ids.decode_id("Project", input["id"])
        self._context.do(lambda tx: runs.delete_project(tx, user, number, artifacts))
        return {"success": True}

    def create_run_files(self, input: dict[str, Any]) -> dict[str, Any]:
        """Say where a run's files are to be put."""
        context = self._context
        names: list[str] = input["files"]
        if len(names) > _MAX_FILES:
            raise BadRequestError(f"{len(names)} files at once; ask for up to {_MAX_FILES}.")
        run = _run(context.reader, context.user, input)
        nodes = [
            {
                "id": "",
                "name": name,
                "uploadUrl": context.urls.upload("run", run["id"], ids.check_path(name)),
            }
            for name in names
        ]
        return {"runID": ids.encode_id("Run", run["id"]), "uploadHeaders": [], "files": nodes}

    def mark_run_files_uploaded(self, input: dict[str, Any]) -> dict[str, Any]:
        """Nothing to do: a file counts once its bytes have come."""
        return {"success": True}

    def delete_files(self, input: dict[str, Any]) -> dict[str, Any]:
        """Delete files of runs."""
        user = self._context.user
        numbers = [ids.decode_id("File", each) for each in input["files"]]

        def command(tx: Tx) -> None:
            for number in numbers:
                row = tx.by_id("run_files", number)
                if row is not None:
                    runs.get(tx, user, row["run_id"])
                    files.delete(tx, row)

        self._context.do(command)
        return {"success": True}

    def notify_scriptable_run_alert(self, input: dict[str, Any]) -> dict[str, Any]:
        """Keep an alert and show it."""
        user = self._context.user
        self._context.do(
            lambda tx: runs.add_alert(
                tx,
                _run(tx, user, input),
                input["title"],
                input.get("text") or "",
                input.get("severity") or "INFO",
            )
        )
        return {"success": True}

    def create_custom_chart(self, input: dict[str, Any]) -> dict[str, Any]:
        """Keep the definition of a custom chart."""
        user = self._context.user
        entity = runs.find_entity(self._context.reader, user, input.get("entity"))
        self._context.do(lambda tx: charts.save(tx, entity, input))
        # Clients give this back as the name of the specification that a table is drawn with.
        return {"chart": {"id": f"{entity['name']}/{input['name']}"}}

    def upsert_sweep(self, input: dict[str, Any]) -> None:
        """Refused: sweeps are not supported."""
        raise BadRequestError(_SWEEPS)

    def create_agent(self, input: dict[str, Any]) -> None:
        """Refused: sweeps are not supported."""
        raise BadRequestError(_SWEEPS)


def _run(reader: Reader, user: Row, args: dict[str, Any]) -> Row:
    """The run that an input names.

    Raises:
        MissingError: there is none.
    """
    project = runs.find_project(reader, user, args.get("entityName"), args.get("projectName"))
    run = runs.find(reader, project["id"], args.get("runName") or "") if project else None
    if run is None:
        raise MissingError(
            f"run {str(args.get('runName'))[:80]!r} not found in {args.get('projectName')!r}."
        )
    return run
