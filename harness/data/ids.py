"""Ids of a dataset's conversations: as texts one after another in memory or in a file, not as so many objects."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, SupportsIndex

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_DIGEST = 16
_ODD = "surrogatepass"
"""JSON can spell half a character, and an id may hold one."""


@dataclass(frozen=True)
class Ids:
    """Id i is `text[offsets[i]:offsets[i + 1]]` in UTF-8."""

    text: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: SupportsIndex) -> str:
        return self.encoded(index).tobytes().decode(errors=_ODD)

    def encoded(self, index: SupportsIndex) -> npt.NDArray[np.uint8]:
        """The bytes of an id."""
        return self.text[self.offsets[index] : self.offsets[index.__index__() + 1]]

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))

    def take(self, indices: npt.NDArray[np.int64]) -> Ids:
        """Some of them."""
        collector = IdCollector()
        for index in indices:
            collector.add(self[index])
        return collector.ids()


class IdCollector:
    """Takes the ids that rows give themselves, None for a row that gives none; they are told once all rows are known.

    Ids are the rows' own where every row has one and no two are equal, else the row's index, from 0.
    """

    def __init__(self) -> None:
        self._text, self._ends = bytearray(), array("q", [0])
        self._digests = bytearray()
        self._own = True

    def __len__(self) -> int:
        return len(self._ends) - 1

    def add(self, own: str | None) -> None:
        """The next row's."""
        self._own = self._own and own is not None
        text = (own or "").encode(errors=_ODD)
        self._text += text
        self._ends.append(len(self._text))
        if self._own:
            self._digests += hashlib.blake2b(text, digest_size=_DIGEST).digest()

    @property
    def distinct(self) -> bool:
        """Whether every row has an id of its own, and no two are equal."""
        import numpy as np

        digests = np.frombuffer(bytes(self._digests), dtype=np.dtype((np.void, _DIGEST)))
        return self._own and len(np.unique(digests)) == len(self)

    def ids(self) -> Ids:
        """The ids of the rows so far."""
        import numpy as np

        text, ends = self._text, self._ends
        if not self.distinct:
            text, ends = bytearray(), array("q", [0])
            for index in range(len(self)):
                text += str(index).encode()
                ends.append(len(text))
        return Ids(np.frombuffer(bytes(text), dtype=np.uint8), np.frombuffer(ends.tobytes(), dtype=np.int64))
