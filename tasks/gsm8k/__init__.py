"""The GSM8K task."""
