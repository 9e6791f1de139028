"""The playground's held-out questions as lm-eval takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.plugins.playground import test_rows

if TYPE_CHECKING:
    from datasets import DatasetDict


def arithmetic(**_: Any) -> DatasetDict:
    """The largest of three numbers."""
    return _splits("arithmetic")


def code(**_: Any) -> DatasetDict:
    """One-line functions."""
    return _splits("code")


def chat(**_: Any) -> DatasetDict:
    """Short replies to people."""
    return _splits("chat")


def _splits(skill: str) -> DatasetDict:
    from datasets import Dataset, DatasetDict

    return DatasetDict({"test": Dataset.from_list(test_rows(skill))})
