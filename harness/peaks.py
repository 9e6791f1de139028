"""What GPUs can do at most, as their makers say: the measure of a training's speed."""

from __future__ import annotations

import re

PEAK_TFLOPS: tuple[tuple[str, float], ...] = (
    # Dense bfloat16 with tensor cores, from NVIDIA's datasheets, which halve the figures that assume sparsity.
    (r"GB200|B200", 2250.0),
    (r"H200 NVL", 835.5),
    (r"H200", 989.4),
    (r"GH200", 989.4),
    (r"H100 NVL", 835.5),
    (r"H100 PCIe", 756.4),
    (r"H100", 989.4),
    (r"H20\b", 148.0),
    (r"A100", 312.0),
    (r"A40\b", 149.7),
    (r"A30\b", 165.0),
    (r"A10\b", 125.0),
    (r"L40S", 362.1),
    (r"L40\b", 181.1),
    (r"L4\b", 121.0),
    (r"RTX A6000", 154.8),
    (r"RTX 4090", 165.2),
    (r"RTX 3090", 71.0),
    (r"V100", 125.0),  # float16, for it knows no bfloat16
    # From AMD's.
    (r"MI300X", 1307.4),
)
"""Beginnings of names of GPUs as torch tells them, after the vendor's; the first that matches holds."""


def datasheet_peak(name: str) -> float | None:
    """The peak of a GPU by the name that torch gives it."""
    return next((peak for pattern, peak in PEAK_TFLOPS if re.search(rf"\b{pattern}", name)), None)
