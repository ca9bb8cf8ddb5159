"""The tables of the index. All of it can be rebuilt from the journal.

`ROW_TABLES` are written through the journal's operations; `DERIVED` follow from chunks of rows. A
change here is made by raising `INDEX_VERSION`: an index of another version is rebuilt, so that
there are no migrations to get wrong.
"""

from typing import Final

INDEX_VERSION: Final = 3

# Columns of every table that rows are put into; `id` is the key of each.
ROW_TABLES: Final[dict[str, str]] = {
    "entities": "name TEXT, kind TEXT, created_at TEXT",
    "users": (
        "name TEXT, email TEXT, key_hash TEXT, is_admin INTEGER, entity_id INTEGER, created_at TEXT"
    ),
    "projects": (
        "entity_id INTEGER, name TEXT, description TEXT, access TEXT, views TEXT, created_at TEXT, "
        "updated_at TEXT, num_created INTEGER"
    ),
    "runs": (
        "project_id INTEGER, name TEXT, display_name TEXT, user_id INTEGER, state TEXT, "
        "exit_code INTEGER, "
        "grp TEXT, job_type TEXT, sweep TEXT, program TEXT, repo TEXT, host TEXT, "
        "commit_hash TEXT, "
        "description TEXT, notes TEXT, tags TEXT, config TEXT, summary TEXT, created_at TEXT, "
        "updated_at TEXT, heartbeat_at TEXT, stop_requested INTEGER, reset_pending INTEGER, "
        "source TEXT, history_lines INTEGER, event_lines INTEGER, log_lines INTEGER, "
        # The place among the project's runs, which never changes; and, in the trash, from where.
        "ordinal INTEGER, trashed_from INTEGER, trashed_at TEXT"
    ),
    "branches": "run_id INTEGER, mark TEXT, rows TEXT, created_at TEXT",
    "views": "project_id INTEGER, name TEXT, query TEXT, created_at TEXT, updated_at TEXT",
    "series": "run_id INTEGER, stream INTEGER, key TEXT",
    "run_files": (
        "run_id INTEGER, path TEXT, sha256 TEXT, md5 TEXT, size INTEGER, mimetype TEXT, "
        "updated_at TEXT"
    ),
    "alerts": "run_id INTEGER, title TEXT, text TEXT, severity TEXT, created_at TEXT",
    "charts": (
        "entity_id INTEGER, name TEXT, display_name TEXT, kind TEXT, access TEXT, "
        "spec TEXT, created_at TEXT"
    ),
    "artifact_types": "project_id INTEGER, name TEXT, description TEXT, created_at TEXT",
    "collections": (
        "project_id INTEGER, type_id INTEGER, name TEXT, kind TEXT, description TEXT, tags TEXT, "
        "created_at TEXT, updated_at TEXT, next_version INTEGER"
    ),
    "artifacts": (
        "collection_id INTEGER, state TEXT, version INTEGER, digest TEXT, algorithm TEXT, "
        "description TEXT, "
        "metadata TEXT, size INTEGER, file_count INTEGER, run_id INTEGER, user_id INTEGER, "
        "history_step INTEGER, client_id TEXT, sequence_client_id TEXT, distributed_id "
        "TEXT, base_id INTEGER, "
        "tags TEXT, wanted_aliases TEXT, ttl INTEGER, commit_hash TEXT, created_at TEXT, "
        "updated_at TEXT"
    ),
    "memberships": "collection_id INTEGER, artifact_id INTEGER, version INTEGER, created_at TEXT",
    "aliases": "collection_id INTEGER, artifact_id INTEGER, alias TEXT",
    "manifests": (
        "artifact_id INTEGER, kind TEXT, name TEXT, digest TEXT, base_id INTEGER, sha256 TEXT"
    ),
    "artifact_files": (
        "artifact_id INTEGER, entity_id INTEGER, path TEXT, md5 TEXT, sha256 TEXT, size INTEGER"
    ),
    "uses": "run_id INTEGER, artifact_id INTEGER, used_as TEXT, created_at TEXT",
    "settings": "name TEXT, value TEXT",
}

DERIVED: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE chunks (
    run_id INTEGER, stream INTEGER, first_line INTEGER, num_rows INTEGER, low REAL, high REAL,
    segment INTEGER, offset INTEGER, length INTEGER, data BLOB);
CREATE UNIQUE INDEX chunks_by_line ON chunks (run_id, stream, first_line);
CREATE TABLE rollups (
    series_id INTEGER, level INTEGER, page INTEGER, data BLOB, PRIMARY KEY (series_id, level, page)
) WITHOUT ROWID;
CREATE TABLE series_stats (
    series_id INTEGER PRIMARY KEY, run_id INTEGER, num_numbers INTEGER, num_strings INTEGER,
    num_others INTEGER, is_monotonic INTEGER, last TEXT);
CREATE INDEX series_stats_by_run ON series_stats (run_id);
CREATE TABLE logs (
    run_id INTEGER, line INTEGER, text TEXT, PRIMARY KEY (run_id, line)
) WITHOUT ROWID;
"""

INDEXES: Final = """
CREATE UNIQUE INDEX entities_by_name ON entities (name);
CREATE UNIQUE INDEX users_by_name ON users (name);
CREATE INDEX users_by_key ON users (key_hash);
CREATE UNIQUE INDEX projects_by_name ON projects (entity_id, name);
CREATE UNIQUE INDEX runs_by_name ON runs (project_id, name);
CREATE INDEX runs_by_state ON runs (state);
CREATE INDEX runs_in_trash ON runs (trashed_from) WHERE trashed_from IS NOT NULL;
CREATE UNIQUE INDEX views_by_name ON views (project_id, name);
CREATE UNIQUE INDEX series_by_key ON series (run_id, stream, key);
CREATE UNIQUE INDEX run_files_by_path ON run_files (run_id, path);
CREATE INDEX run_files_by_content ON run_files (sha256);
CREATE INDEX branches_by_run ON branches (run_id);
CREATE INDEX alerts_by_run ON alerts (run_id);
CREATE UNIQUE INDEX artifact_types_by_name ON artifact_types (project_id, name);
CREATE UNIQUE INDEX collections_by_name ON collections (project_id, name);
CREATE INDEX artifacts_by_collection ON artifacts (collection_id, digest);
CREATE INDEX artifacts_by_run ON artifacts (run_id);
CREATE INDEX artifacts_by_client_id ON artifacts (client_id);
CREATE INDEX artifacts_by_sequence_client_id ON artifacts (sequence_client_id);
CREATE INDEX artifacts_by_distributed_id ON artifacts (distributed_id);
CREATE UNIQUE INDEX memberships_by_version ON memberships (collection_id, version);
CREATE INDEX memberships_by_artifact ON memberships (artifact_id);
CREATE UNIQUE INDEX aliases_by_name ON aliases (collection_id, alias);
CREATE INDEX aliases_by_artifact ON aliases (artifact_id);
CREATE INDEX manifests_by_artifact ON manifests (artifact_id);
CREATE INDEX artifact_files_by_md5 ON artifact_files (md5, entity_id);
CREATE INDEX artifact_files_by_content ON artifact_files (sha256);
CREATE INDEX artifact_files_by_artifact ON artifact_files (artifact_id);
CREATE INDEX uses_by_run ON uses (run_id);
CREATE INDEX uses_by_artifact ON uses (artifact_id);
CREATE UNIQUE INDEX settings_by_name ON settings (name);
"""


def create_script() -> str:
    """The SQL that makes an empty index."""
    tables = "".join(
        f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, {columns});\n"
        for name, columns in ROW_TABLES.items()
    )
    return tables + DERIVED + INDEXES


def column_names(table: str) -> list[str]:
    """Names of a row table's columns, ``id`` first."""
    return ["id", *(each.split()[0] for each in ROW_TABLES[table].split(", "))]
