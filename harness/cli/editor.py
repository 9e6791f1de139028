"""A row in the user's own editor, as YAML: what a text spells is text, and control characters are spelled out."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from harness.canonical import Json, canonical
from harness.errors import UserError
from harness.review.candidates import Candidate

_HEAD = "# Change what is to be kept, save and leave. Without saving, nothing is changed.\n"


class _Block(yaml.SafeDumper):
    """Texts of several lines stand as they are read."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Block.add_representer(str, _represent_text)


def edit_row(candidate: Candidate) -> Mapping[str, Json] | None:
    """The row as the user left it; None where it is what it was. What is no JSON or no conversation is shown again.

    Raises UserError where there is no editor, and where it fails.
    """
    command = _editor()
    head, text = _HEAD, yaml.dump(dict(candidate.row), Dumper=_Block, allow_unicode=True, sort_keys=False, width=100)
    with TemporaryDirectory() as folder:
        file = Path(folder) / f"{candidate.id}.yaml"
        while True:
            file.write_text(head + text, encoding="utf-8")
            with _undisturbed():
                code = subprocess.run([*command, str(file)], check=False).returncode
            if code:
                raise UserError(f"{command[0]} ended with {code}", "the row is as it was")
            edited = file.read_text(encoding="utf-8", errors="replace")
            if edited == head + text:
                return None
            text = "".join(_without_head(edited))
            try:
                row = _row(text)
                candidate.edited(row)
            except UserError as error:
                head = f"# {error}\n# Mend it, or leave without saving: then the row is as it was.\n"
            else:
                return None if row == candidate.row else row


def _editor() -> list[str]:
    """The user's own, with its options."""
    told = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        command = shlex.split(told)
    except ValueError:  # a quotation that is not closed
        command = []
    if not command or shutil.which(command[0]) is None:
        named = command[0] if command else repr(told)
        raise UserError(f"there is no editor {named}", "set EDITOR, as in export EDITOR=nano")
    return command


def _without_head(text: str) -> Iterator[str]:
    lines = iter(text.splitlines(keepends=True))
    for line in lines:
        if not line.startswith("#"):
            yield line
            break
    yield from lines


def _row(text: str) -> dict[str, Json]:
    try:
        row = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise UserError(f"{where}no YAML: {getattr(error, 'problem', error)}", "quote the text") from None
    if not isinstance(row, dict) or not all(isinstance(name, str) for name in row):
        raise UserError("that is no row: columns and their values are wanted", "leave the columns as they are")
    if not _is_json(row):
        raise UserError("a value is no text, number, list or mapping of texts to these", "quote it, if it is text")
    return row


def _is_json(row: Mapping[str, Json]) -> bool:
    """Whether it can be kept as it is: YAML also has dates, sets, bytes, .nan, and values that hold themselves."""
    try:
        return bool(json.loads(canonical(row)) == row)
    except (TypeError, ValueError, RecursionError):
        return False


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C is the editor's while it runs."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
