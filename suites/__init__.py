"""Benchmarks that are declared together, in advance, with the rule of their composite."""
