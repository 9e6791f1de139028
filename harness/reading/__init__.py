"""Reading results: the samples of a run or a published row, filtered, compared and as tables."""

from harness.reading.frame import load_samples

__all__ = ["load_samples"]
