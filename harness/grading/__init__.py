"""Answers that people grade: the sheets on which they do it, and scores that a file brings."""
