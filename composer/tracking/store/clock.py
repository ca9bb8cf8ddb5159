"""Wall-clock time as the store writes it: UTC, ISO 8601, whole seconds."""

from datetime import UTC, datetime


def now() -> str:
    """The time, such as ``2026-01-31T12:00:00Z``."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
