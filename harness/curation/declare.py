"""What a curation declares for its key. Planning imports this: nothing heavy here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.api import TFIDF, Curated, Curation, Files
from harness.canonical import Json, canonical, digest, share
from harness.data.facts import file_digest_cached
from harness.data.resolve import Places
from harness.data.sources import declare_files, declared_fields
from harness.discovery import suggestion
from harness.errors import UserError
from harness.jobs import BenchmarkItems, DataDeclaration, EngineSettings, MixtureItem, PrepareData

_PORTION = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Declarer:
    """Declares the curations of one plug-in, `name version`; reads files to know their digests."""

    plugin: str
    engine: EngineSettings
    judge: Json
    """Who judges; None where nobody does."""
    places: Places
    benchmarks: Mapping[str, BenchmarkItems] = field(default_factory=dict)
    """The run's, where the curation looks at them."""

    def declare(self, data: Curated, items: Sequence[MixtureItem], seed: int) -> PrepareData:
        """The job that makes all portions of a curation of these items.

        Raises UserError for a portion that it does not make, for a model or a judge that is missing or not asked for,
        and for fields that are no JSON.
        """
        curation = data.curation
        _check(data, self._curator)
        return PrepareData(
            items=tuple(items),
            plugin=self.plugin,
            curation=_fields(curation, self._curator),
            portions=curation.portions,
            data=self._data(curation),
            embedder=None if curation.embedder is None else self._embedder(curation.embedder),
            engine=self.engine if "model" in curation.needs else None,
            judge=self._judge(curation),
            benchmarks=self.benchmarks,
            seed=seed,
        )

    @property
    def _curator(self) -> str:
        """The plug-in without its version."""
        return self.plugin.partition(" ")[0]

    def _judge(self, curation: Curation) -> Json:
        if "judge" not in curation.needs:
            return None
        if not isinstance(self.judge, Mapping):
            raise UserError(
                f"{self._curator} asks a judge, and the recipe names none",
                "--set judge.model=NAME --set judge.base_url=URL",
            )
        return self.judge

    def _data(self, curation: Curation) -> tuple[DataDeclaration, ...]:
        return tuple(
            declare_files(
                "files" if isinstance(location, Files) else location.id,
                location,
                self.plugin,
                data_root=self.places.data_root,
                cache=self.places.cache,
            )
            for location in curation.data
        )

    def _embedder(self, name: str) -> Json:
        """A folder is what its files are, wherever it lies."""
        if (folder := embedder_folder(name)) is None:
            return {"name": name}
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        contents = {str(path.relative_to(folder)): file_digest_cached(path, self.places.cache) for path in files}
        return {"content": digest(contents)}


def embedder_folder(name: str) -> Path | None:
    """The folder of this machine that an embedder names; None for `tfidf` and for a hub id."""
    folder = Path(name).expanduser()
    return folder if name != TFIDF and folder.is_dir() else None


def require_embedder(embedder: Json) -> None:
    """Raise UserError where what embeds is not installed; nothing is imported."""
    if embedder not in (None, {"name": TFIDF}) and find_spec("sentence_transformers") is None:
        raise UserError(
            f"embeddings of {embedder.get('name', 'a folder')} need sentence-transformers, which is not installed",
            f"pip install 'instruct-harness[embeddings]', or take the embedder {TFIDF}",
        )


def default_name(data: Curated, items: Sequence[MixtureItem]) -> str:
    """`chats+maths Disperse 0`: the parents, the curation, and the portion where there are several."""
    portion = "" if data.curation.portions == ("all",) else f" {data.portion}"
    return f"{'+'.join(dict.fromkeys(item.data.name for item in items))} {type(data.curation).__name__}{portion}"


def _check(data: Curated, who: str) -> None:
    curation, portions = data.curation, data.curation.portions
    if not portions or len(set(portions)) < len(portions) or not all(map(_PORTION.fullmatch, portions)):
        raise UserError(
            f"{who} names its portions {', '.join(map(repr, portions)) or 'not at all'}",
            "each needs a name of its own, of letters, digits, ., - and _",
        )
    if data.portion not in portions:
        raise UserError(f"{who} makes no portion {data.portion!r}", suggestion(data.portion, portions))
    if curation.needs >= {"model", "judge"}:
        raise UserError(f"{who} asks a model and a judge", "let one curation ask the one, and another the other")
    if ("model" in curation.needs) != (data.model is not None):
        raise UserError(
            f"{who} {'asks for likelihoods of no model' if data.model is None else f'asks {data.model} for nothing'}",
            "Curated(..., model='base') goes with a curation that needs 'model'",
        )


def _exact(value: Any) -> Json:
    """Fractions as texts, wherever they stand."""
    if isinstance(value, tuple | list):
        return [_exact(item) for item in value]
    return share(value) if isinstance(value, Fraction) else value


def _fields(curation: Curation, who: str) -> Json:
    """Class and fields as JSON; the embedder is declared apart, by what it is."""
    found = declared_fields(curation)
    fields = {
        name: _exact(value) for name, value in found.items() if curation.embedder is None or value != curation.embedder
    }
    try:
        canonical(fields)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{who} curates with fields that are no JSON: {error}", "use numbers, texts, tuples and Fraction"
        ) from None
    return fields
