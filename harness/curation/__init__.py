"""Curated data: what a curation declares, and the job that does it."""
