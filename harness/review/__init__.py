"""Curation by a person: candidates, what somebody decided on each, and how far two people agree."""
