"""The server as data: its routes."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from composer.tracking.server import uploads
from composer.tracking.server.api import (
    ablation,
    admin,
    artifacts,
    changes,
    charts,
    history,
    media,
    projects,
    session,
    stream,
    views,
)
from composer.tracking.server.api import runs as run_api
from composer.tracking.server.filestream import file_stream
from composer.tracking.server.graphql.endpoint import graphql
from composer.tracking.server.heartbeats import Heartbeats
from composer.tracking.server.middleware import Gate
from composer.tracking.server.options import ServerOptions
from composer.tracking.server.pages import page, static
from composer.tracking.server.services import Endpoint, Services, guarded, json_response
from composer.tracking.store.store import Store


async def ready(request: Request) -> Response:
    """Say that the server is up."""
    return json_response({"ready": True})


def _route(path: str, endpoint: Endpoint, method: str) -> BaseRoute:
    return Route(path, guarded(endpoint), methods=[method])


def routes() -> list[BaseRoute]:
    """Every path the server answers."""
    return [
        # First, since a page asks for dozens of these at once.
        _route("/ui/{version}/{path:path}", static, "GET"),
        _route("/graphql", graphql, "POST"),
        _route("/files/{entity}/{project}/{run}/file_stream", file_stream, "POST"),
        _route("/upload/{token}", uploads.upload, "PUT"),
        _route("/download/{token}/{name}", uploads.download, "GET"),
        _route("/artifacts/{entity}/{md5}", uploads.artifact_file, "GET"),
        _route(
            "/artifactsV2/{region}/{entity}/{project}/{collection}/{birth}/{md5}/{name}",
            uploads.artifact_file,
            "GET",
        ),
        _route(
            "/artifactsV2/{region}/{entity}/{project}/{collection}/{id}/{birth}/{md5}/{name}",
            uploads.artifact_file,
            "GET",
        ),
        _route("/ready", ready, "GET"),
        _route("/health", ready, "GET"),
        _route("/api/session", session.show, "GET"),
        _route("/api/login", session.login, "POST"),
        _route("/api/logout", session.logout, "POST"),
        _route("/api/projects", projects.listing, "GET"),
        _route("/api/runs", run_api.listing, "GET"),
        _route("/api/run", run_api.show, "GET"),
        _route("/api/run/logs", run_api.logs, "GET"),
        _route("/api/run/files", run_api.files, "GET"),
        _route("/api/run/file", media.file, "GET"),
        _route("/api/run/frame", media.frame, "GET"),
        _route("/api/run/values", media.values, "GET"),
        _route("/api/runs/edit", changes.edit, "POST"),
        _route("/api/runs/stop", changes.stop, "POST"),
        _route("/api/runs/trash", run_api.trash, "GET"),
        _route("/api/runs/trash", changes.throw_away, "POST"),
        _route("/api/runs/restore", changes.restore, "POST"),
        _route("/api/views", views.listing, "GET"),
        _route("/api/views", views.save, "POST"),
        _route("/api/views/delete", views.delete, "POST"),
        _route("/api/artifacts", artifacts.listing, "GET"),
        _route("/api/artifact", artifacts.show, "GET"),
        _route("/api/artifact/aliases", artifacts.set_aliases, "POST"),
        _route("/api/lineage", artifacts.lineage, "GET"),
        _route("/api/chart", history.chart, "GET"),
        _route("/api/ablation", ablation.take, "POST"),
        _route("/api/custom_chart", charts.show, "GET"),
        _route("/api/frame/{kind}", charts.frame, "GET"),
        _route("/api/stream", stream.events, "GET"),
        _route("/api/users", admin.listing, "GET"),
        _route("/api/users", admin.add, "POST"),
        _route("/api/users/{name}", admin.remove, "DELETE"),
        _route("/", page, "GET"),
        _route("/authorize", page, "GET"),
        _route("/{entity}", page, "GET"),
        _route("/{entity}/{project}", page, "GET"),
        _route("/{entity}/{project}/{rest:path}", page, "GET"),
    ]


def build_app(store: Store, options: ServerOptions) -> Starlette:
    """The application.

    Args:
        store: an open store; the caller closes it.
        options: the settings.
    """
    app = Starlette(routes=routes(), middleware=[Middleware(Gate, options=options)])
    app.state.services = Services(store, options, Heartbeats(store, options.crash_after_s))
    return app
