"""Every answer on disk before anyone sees it: what was asked once is never asked again, whatever dies in between."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.canonical import Json, canonical, digest, utf8
from harness.engines.protocol import Answer, GenerateRequest, Generation, Loglikelihood, Request, Told, Unanswered
from harness.errors import Failure
from harness.jobs import EngineSettings

SYNC_SECONDS = 1.0


class Responses:
    """An append-only file of an engine's answers, one JSON record a line.

    A record is `{"key", "value", "left"}`: the digest of all that decides the answer, the answer, and how many records
    of its lot follow. A lot is kept whole or not at all, so that after a crash the engine computes together what it
    would have computed together anyway, and its rounding is the same.
    """

    def __init__(self, path: Path, *, settings: EngineSettings, model_key: str) -> None:
        self._path = path
        self._identity: Json = {"engine": settings.model_dump(mode="json"), "model": model_key}
        self._answers, size = _read(path)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        os.ftruncate(self._file, size)
        os.lseek(self._file, size, os.SEEK_SET)
        self._synced = time.monotonic()
        self.tokens_generated = 0
        """By what was stored since the file was opened."""

    def key(self, request: Request) -> str:
        """The digest of all that decides the answer."""
        if isinstance(request, GenerateRequest):
            prompt = request.prompt_ids or request.asked["prompt"]
            asked = {"kind": "generate", "prompt": prompt, "sampling": asdict(request.sampling)}
        else:
            pair = {"context": request.context_ids, "continuation": request.continuation_ids}
            asked = {"kind": "loglikelihood", **(pair if request.context_ids else request.asked)}
        return digest({**asked, **self._identity})

    def get(self, key: str) -> Answer | None:
        """The stored answer, if there is one."""
        value = self._answers.get(key)
        if value is None:
            return None
        if "logprob" in value:
            return Loglikelihood(**value)
        return Generation(**{**value, "token_ids": tuple(value["token_ids"])})

    def store(self, answers: Mapping[str, Told]) -> None:
        """Keep a lot, by keys; it is in the file when this returns, and on the disk within a second.

        What could not be answered is left out.
        """
        values = {key: _value(answer) for key, answer in answers.items() if not isinstance(answer, Unanswered)}
        if not values:
            return
        lines = [
            canonical({"key": key, "left": left, "value": value})
            for left, (key, value) in zip(reversed(range(len(values))), values.items(), strict=True)
        ]
        data = memoryview(utf8("\n".join(lines) + "\n"))
        try:
            while data:
                data = data[os.write(self._file, data) :]
            if time.monotonic() - self._synced >= SYNC_SECONDS:
                os.fsync(self._file)
                self._synced = time.monotonic()
        except OSError as error:
            raise self._failure(error) from error
        self._answers.update(values)
        self.tokens_generated += sum(answer.tokens for answer in answers.values() if isinstance(answer, Generation))

    def close(self) -> None:
        """Sync and close the file."""
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

    def _failure(self, error: OSError) -> Failure:
        return Failure(
            f"cannot store responses in {self._path}: {error.strerror}",
            "make room and run the same command again: what is stored is kept",
        )


def _value(answer: Answer) -> dict[str, Json]:
    """The answer as JSON, without what only servers tell where nothing told it."""
    return {name: value for name, value in asdict(answer).items() if value is not None}


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
