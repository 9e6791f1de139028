"""Benchmarks: ask, store, score."""
