"""The playground tasks."""
