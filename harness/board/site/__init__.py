"""The leaderboard as a page: one `index.html` that opens from disk, and pages of data that it loads when asked for."""
