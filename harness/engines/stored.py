"""Every answer on disk before anyone sees it: what was asked once is never asked again, whatever dies in between."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from harness.canonical import Json, canonical, digest
from harness.engines.protocol import (
    Engine,
    GenerateRequest,
    Generation,
    Loglikelihood,
    LoglikelihoodRequest,
    Lot,
    Tokenizer,
)
from harness.errors import Failure
from harness.jobs import EngineSettings

SYNC_SECONDS = 1.0

Request = TypeVar("Request", GenerateRequest, LoglikelihoodRequest)
Answer = TypeVar("Answer", Generation, Loglikelihood)


class StoredEngine:
    """An engine before an append-only file of its answers, one JSON record a line.

    A record is `{"key", "value", "left"}`: the digest of all that decides the answer, the answer, and how many records
    of its lot follow. A lot is kept whole or not at all, so that after a crash the engine computes together what it
    would have computed together anyway, and its rounding is the same.
    """

    def __init__(self, engine: Engine, path: Path, *, settings: EngineSettings, model_key: str) -> None:
        self._engine = engine
        self._path = path
        self._identity: Json = {"engine": settings.model_dump(mode="json"), "model": model_key}
        self._answers, size = _read(path)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        os.ftruncate(self._file, size)
        os.lseek(self._file, size, os.SEEK_SET)
        self._synced = time.monotonic()
        self.asked = 0
        """Requests that the engine has answered."""
        self.stored = 0
        """Requests answered from the file."""
        self.tokens_generated = 0

    @property
    def tokenizer(self) -> Tokenizer:
        """The engine's."""
        return self._engine.tokenizer

    @property
    def max_length(self) -> int:
        """The engine's."""
        return self._engine.max_length

    def generate(self, requests: Sequence[GenerateRequest]) -> Iterator[Lot[Generation]]:
        """Stored answers at once, in one lot; then the engine's, each lot on disk before it is handed on."""
        yield from self._answered(requests, self._generate_key, self._engine.generate, _generation)

    def loglikelihood(self, requests: Sequence[LoglikelihoodRequest]) -> Iterator[Lot[Loglikelihood]]:
        """As `generate`."""
        yield from self._answered(requests, self._loglikelihood_key, self._engine.loglikelihood, _loglikelihood)

    def close(self) -> None:
        """Sync and close the file; the engine goes on."""
        try:
            os.fsync(self._file)
        except OSError as error:
            raise self._failure(error) from error
        finally:
            os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answered(
        self,
        requests: Sequence[Request],
        key_of: Callable[[Request], str],
        ask: Callable[[Sequence[Request]], Iterator[Lot[Answer]]],
        read: Callable[[Json], Answer],
    ) -> Iterator[Lot[Answer]]:
        keys = {request.id: key_of(request) for request in requests}
        known = [(i, read(self._answers[key])) for i, key in keys.items() if key in self._answers]
        self.stored += len(known)
        if known:
            yield known
        sharing: dict[str, list[str]] = {}
        missing: list[Request] = []
        for request in requests:
            key = keys[request.id]
            if key not in self._answers:
                if key not in sharing:
                    missing.append(request)
                sharing.setdefault(key, []).append(request.id)
        for lot in ask(missing) if missing else ():
            self._store({keys[i]: asdict(answer) for i, answer in lot})
            self.asked += len(lot)
            yield [(sharer, answer) for i, answer in lot for sharer in sharing[keys[i]]]

    def _store(self, values: dict[str, Json]) -> None:
        lines = [
            canonical({"key": key, "left": left, "value": value})
            for left, (key, value) in zip(reversed(range(len(values))), values.items(), strict=True)
        ]
        data = memoryview(("\n".join(lines) + "\n").encode())
        try:
            while data:
                data = data[os.write(self._file, data) :]
            if time.monotonic() - self._synced >= SYNC_SECONDS:
                os.fsync(self._file)
                self._synced = time.monotonic()
        except OSError as error:
            raise self._failure(error) from error
        self._answers.update(values)
        self.tokens_generated += sum(len(value.get("token_ids", ())) for value in values.values())

    def _failure(self, error: OSError) -> Failure:
        return Failure(
            f"cannot store responses in {self._path}: {error.strerror}",
            "make room and run the same command again: what is stored is kept",
        )

    def _generate_key(self, request: GenerateRequest) -> str:
        asked = {"kind": "generate", "prompt": request.prompt_ids, "sampling": asdict(request.sampling)}
        return digest({**asked, **self._identity})

    def _loglikelihood_key(self, request: LoglikelihoodRequest) -> str:
        asked = {"kind": "loglikelihood", "context": request.context_ids, "continuation": request.continuation_ids}
        return digest({**asked, **self._identity})


def _read(path: Path) -> tuple[dict[str, Json], int]:
    """The answers of all whole lots, and the bytes they take; what a crash tore off at the end is left out."""
    answers: dict[str, Json] = {}
    lot: dict[str, Json] = {}
    position = size = 0
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    for number, line in enumerate(lines, start=1):
        position += len(line)
        try:
            record = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            record = None
        if record is None and number < len(lines):
            raise Failure(f"{path}, line {number}, is damaged", "remove the file to ask everything again")
        if record is None:
            break
        if record["key"] in answers or record["key"] in lot:
            raise Failure(f"{path}, line {number}, answers a request twice", "remove the file to ask everything again")
        lot[record["key"]] = record["value"]
        if record["left"] == 0:
            answers |= lot
            lot, size = {}, position
    return answers, size


def _generation(value: Json) -> Generation:
    return Generation(**{**value, "token_ids": tuple(value["token_ids"])})


def _loglikelihood(value: Json) -> Loglikelihood:
    return Loglikelihood(**value)
