"""Judges: models behind a server that say how good an answer is. Whatever they were paid for is kept."""
