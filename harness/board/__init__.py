"""Rows, ledger, statistics and the leaderboard."""
