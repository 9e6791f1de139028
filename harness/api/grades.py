"""Grades that people give: how a grading sheet and its reader name the same answer."""

from __future__ import annotations

import hashlib


def answer_digest(text: str) -> str:
    """SHA-256 of an answer, whatever a spreadsheet made of its line ends and of the space around it."""
    return hashlib.sha256(text.replace("\r\n", "\n").strip().encode()).hexdigest()
