"""The version of Composer; the one place it is written."""

__version__ = "1.0.0.dev0"
