"""``composer track``: a tracking server on this machine, and what can be done with its folder."""

import argparse
import logging
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from composer.errors import ConfigError, TrackingError, unknown_name

if TYPE_CHECKING:
    from composer.tracking.store.index import Reader, Row
    from composer.tracking.store.store import Store

DEFAULT_FOLDER = "~/.local/share/composer/tracker"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a ``composer track`` command.

    Args:
        argv: the words after ``composer track``.

    Returns:
        The exit status.
    """
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    return arguments.run(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="composer track", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_serve(commands)
    _add_others(commands)
    return parser


def _add_folder(parser: argparse.ArgumentParser) -> None:
    default = os.environ.get("COMPOSER_TRACKER_FOLDER", DEFAULT_FOLDER)
    parser.add_argument(
        "--folder",
        type=lambda text: Path(text).expanduser(),
        default=Path(default).expanduser(),
        help="where everything is kept (default: %(default)s)",
    )


def _add_serve(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("serve", help="start the server")
    _add_folder(parser)
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this machine only)"
    )
    parser.add_argument(
        "--port", type=int, default=8080, help="port to listen on; 0 takes a free one"
    )
    parser.add_argument(
        "--public-url", help="address as others see it, with its path, behind a proxy"
    )
    parser.add_argument(
        "--allowed-host", action="append", default=[], help="a further host name to answer to"
    )
    parser.add_argument(
        "--require-key", action="store_true", help="ask for a key even from this machine"
    )
    parser.add_argument(
        "--watch", action="append", type=Path, default=[], help="a folder of runs written offline"
    )
    parser.add_argument(
        "--crash-after", type=float, default=300.0, help="seconds of silence that mean a crash"
    )
    parser.set_defaults(run=_serve)


def _serve(arguments: argparse.Namespace) -> int:
    from composer.tracking.server.options import ServerOptions
    from composer.tracking.server.serve import serve

    options = ServerOptions(
        folder=arguments.folder,
        host=arguments.host,
        port=arguments.port,
        public_url=arguments.public_url,
        allowed_hosts=tuple(arguments.allowed_host),
        require_key=arguments.require_key,
        watch=tuple(arguments.watch),
        crash_after_s=arguments.crash_after,
    )
    serve(options, _announce)
    return 0


def _announce(address: str, key: str | None, needs_key: bool) -> None:
    print(f"Composer tracker: {address}")
    print("Point wandb at it:")
    shown = key or "YOUR_KEY"
    print(f"  export WANDB_BASE_URL={address} WANDB_API_KEY={shown}", flush=True)
    if needs_key:
        print("The page asks for the key as well.", flush=True)


def _add_others(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    ls = _command(commands, "ls", _ls, "list projects, or the runs of one")
    ls.add_argument("project", nargs="?", help="a project, as PROJECT or ENTITY/PROJECT")
    export = _command(commands, "export", _export, "write a project's runs as Parquet and JSON")
    export.add_argument("project", help="a project, as PROJECT or ENTITY/PROJECT")
    export.add_argument("target", type=Path, help="the folder to write to")
    export.add_argument("--files", action="store_true", help="also copy the runs' files")
    bring = _command(commands, "import", _import, "bring runs in")
    bring.add_argument(
        "kind", choices=["offline", "tensorboard", "ablation", "wandb"], help="what the source is"
    )
    bring.add_argument("source", help="a folder or file, or ENTITY/PROJECT of a W&B server")
    bring.add_argument("--project", default="imported", help="for runs that name no project")
    bring.add_argument("--files", action="store_true", help="also fetch files from the W&B server")
    copy = _command(commands, "backup", _backup, "copy everything, also while the server runs")
    copy.add_argument(
        "target", type=Path, help="the folder to copy to; use it as --folder to restore"
    )
    _command(commands, "gc", _gc, "remove what nothing refers to; the server must not run")
    doctor = _command(commands, "doctor", _doctor, "check everything; the server must not run")
    doctor.add_argument(
        "--rebuild", action="store_true", help="make the index anew from the journal"
    )
    doctor.add_argument("--contents", action="store_true", help="also read every file")
    user = _command(commands, "user", _user, "add, remove and list users; the server must not run")
    user.add_argument("action", choices=["add", "remove", "list"])
    user.add_argument("name", nargs="?")
    user.add_argument("--key", help="the user's key (default: a new one)")
    user.add_argument("--email", default="")
    user.add_argument("--admin", action="store_true", help="may manage users and see every entity")


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text)
    _add_folder(parser)
    parser.set_defaults(run=run)
    return parser


@contextmanager
def _open(folder: Path) -> Generator["Store"]:
    from composer.tracking.store.store import Store

    if not (folder / "journal").is_dir():
        raise TrackingError(
            f"there is no tracker in {str(folder)!r}. Start one with `composer track serve`."
        )
    store = Store(folder)
    try:
        yield store
    finally:
        store.close()


def _project(reader: "Reader", path: str) -> "Row":
    from composer.tracking.store import runs, users

    admin = next(row for row in users.everyone(reader) if row["is_admin"])
    entity, _, name = path.rpartition("/")
    found = runs.find_project(reader, admin, entity or None, name)
    if found is None:
        every = [row["id"] for row in users.visible_entities(reader, admin)]
        known = [f"{row['entity_name']}/{row['name']}" for row in runs.list_projects(reader, every)]
        raise unknown_name("project", path, known)
    return found


def _ls(arguments: argparse.Namespace) -> int:
    from composer.tracking.store import runs, users

    with _open(arguments.folder) as store, store.reading() as reader:
        if arguments.project is None:
            admin = next(row for row in users.everyone(reader) if row["is_admin"])
            every = [row["id"] for row in users.visible_entities(reader, admin)]
            for row in runs.list_projects(reader, every):
                print(
                    f"{row['entity_name']}/{row['name']}\t{row['num_runs']} "
                    f"runs\t{row['last_run_at'] or ''}"
                )
            return 0
        for row in runs.in_project(reader, _project(reader, arguments.project)["id"]):
            fields = (
                row["name"],
                row["state"],
                row["display_name"],
                f"{row['history_lines']} rows",
                row["created_at"],
            )
            print("\t".join(fields))
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from composer.tracking.store.exporting import export_project

    with _open(arguments.folder) as store, store.reading() as reader:
        project = _project(reader, arguments.project)
        count = export_project(store, reader, project, arguments.target, arguments.files)
    print(f"wrote {count} runs to {arguments.target}")
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from composer.tracking.store import importing, users
    from composer.tracking.store.store import Store

    store = Store(arguments.folder)
    try:
        store.ensure_first_user()
        with store.reading() as reader:
            user = users.everyone(reader)[0]
        if arguments.kind == "offline":
            count = importing.import_offline(store, Path(arguments.source))
        elif arguments.kind == "tensorboard":
            count = importing.import_tensorboard(
                store, user, Path(arguments.source), arguments.project
            )
        elif arguments.kind == "ablation":
            count = importing.import_ablation(
                store, user, Path(arguments.source), arguments.project
            )
        else:
            count = importing.import_wandb(store, user, arguments.source, arguments.files)
    finally:
        store.close()
    print(f"imported {count} runs")
    return 0


def _backup(arguments: argparse.Namespace) -> int:
    from composer.tracking.store.maintenance import backup

    copied = backup(arguments.folder, arguments.target)
    print(f"copied {copied} bytes to {arguments.target}")
    return 0


def _gc(arguments: argparse.Namespace) -> int:
    from composer.tracking.store.maintenance import collect_garbage

    with _open(arguments.folder) as store:
        found = collect_garbage(store)
    print(
        f"removed {found['files']} files of {found['bytes']} bytes; "
        f"the journal went from {found['journal_before']} to {found['journal_after']} bytes"
    )
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from composer.tracking.store.maintenance import check, rebuild

    if arguments.rebuild:
        rebuild(arguments.folder)
    found = check(arguments.folder, arguments.contents)
    for problem in found["problems"]:
        print(f"problem: {problem}")
    print(f"{found['records']} records, {len(found['problems'])} problems")
    return 1 if found["problems"] else 0


def _user(arguments: argparse.Namespace) -> int:
    from composer.tracking.protocol import ids
    from composer.tracking.store import users
    from composer.tracking.store.store import Store

    if arguments.action != "list" and not arguments.name:
        raise ConfigError(f"`composer track user {arguments.action}` needs a name.")
    store = Store(arguments.folder)
    try:
        store.ensure_first_user()
        if arguments.action == "list":
            with store.reading() as reader:
                for row in users.everyone(reader):
                    print(
                        "\t".join(
                            (row["name"], "admin" if row["is_admin"] else "user", row["created_at"])
                        )
                    )
        elif arguments.action == "add":
            key = arguments.key or ids.make_key()
            store.do(
                lambda tx: users.add(tx, arguments.name, key, arguments.email, arguments.admin)
            )
            print(f"{arguments.name}\t{key}")
        else:
            store.do(lambda tx: users.remove(tx, arguments.name))
    finally:
        store.close()
    return 0
