"""From a row of a file to a conversation: which columns hold it, and whether its turns make sense."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import cycle
from typing import Any, Literal

from harness.api import AlpacaColumns, ChatColumns, Columns, DataSource, Hub, Message, PairColumns, TextColumns
from harness.canonical import Json
from harness.data.formats import Row
from harness.errors import UserError

CHAT = ("messages", "conversations")
PAIRS = (
    ("prompt", "completion"),
    ("prompt", "response"),
    ("instruction", "output"),
    ("instruction", "response"),
    ("question", "answer"),
    ("input", "output"),
)
TEXT = "text"
REJECTED = "rejected"
ROLES: Mapping[str, Literal["system", "user", "assistant", "text"]] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    TEXT: "text",
}
"""Both spellings of a turn's speaker, the second that of the older `from` and `value`; and what is no turn at all."""


_BY_TURNS: tuple[Literal["user", "assistant"], ...] = ("user", "assistant")


class UnfitRowError(UserError):
    """A row whose cells are no conversation; a column that is not there is another matter."""


def needed(columns: Columns) -> tuple[str, ...]:
    """The columns that every row must have."""
    match columns:
        case ChatColumns(messages):
            return (messages,)
        case PairColumns(prompt, completion, system):
            return (prompt, completion, *((system,) if system else ()))
        case AlpacaColumns(instruction, input_, output):
            return (instruction, input_, output)
        case TextColumns(text):
            return (text,)


def recognise(found: Sequence[str], where: str) -> Columns:
    """The usual columns among those found. Raises UserError where none, or several of the usual forms, are there."""
    have = set(found)
    forms: list[Columns] = [ChatColumns(name) for name in CHAT if name in have]
    if {"instruction", "input", "output"} <= have:
        forms.append(AlpacaColumns())
    else:
        system = "system" if "system" in have else None
        forms += [PairColumns(a, b, system) for a, b in PAIRS if {a, b} <= have]
    if len(forms) == 1:
        return forms[0]
    problem = "several forms of conversation fit" if forms else "no usual form of conversation fits"
    plain = " (kind: text, if it is plain text)" if TEXT in have else ""
    raise UserError(
        f"{where}: {problem} the columns {', '.join(found) or '(none)'}",
        "use messages or conversations; instruction, input, output; or a pair such as prompt, completion, "
        f"or name them with `columns:` in the recipe or in a data_source plug-in{plain}",
    )


def own_id(row: Row) -> str | None:
    """The id that the row gives itself in its column `id`: text or a whole number."""
    found = row.values.get("id")
    return str(found) if isinstance(found, str | int) and not isinstance(found, bool) else None


def further(row: Row, columns: Columns) -> dict[str, Json]:
    """What is neither the conversation nor its id, as JSON: dates as text, NaN as null, bytes in base64."""
    from pydantic_core import to_jsonable_python

    used = {*needed(columns)}
    used |= {"id"} if own_id(row) is not None else set()
    used |= {REJECTED} if rejected(row, columns) is not None else set()
    left = {name: value for name, value in row.values.items() if name not in used}
    found: dict[str, Json] = to_jsonable_python(left, inf_nan_mode="null", bytes_mode="base64")
    return found


def rejected(row: Row, columns: Columns) -> str | None:
    """Of a preference pair the answer that was not preferred: text in the column `rejected` beside a list of turns."""
    found = row.values.get(REJECTED) if isinstance(columns, ChatColumns) else None
    return found if isinstance(found, str) else None


def conversation(row: Row, columns: Columns) -> tuple[Message, ...]:
    """One row's turns. Raises UserError naming the row, UnfitRowError where its cells are no conversation."""
    missing = [name for name in needed(columns) if name not in row.values]
    if missing:
        raise UserError(
            f"{row.where}: no column {', '.join(missing)}; there are {', '.join(row.values) or 'none'}",
            f"the rows need {', '.join(needed(columns))}",
        )
    match columns:
        case ChatColumns(messages):
            turns = _turns(row, messages)
        case PairColumns(prompt, completion, system):
            # An empty cell means that the row has no system prompt, not that it has an empty one.
            head = [Message("system", _text(row, system))] if system and row.values[system] else []
            turns = (*head, Message("user", _text(row, prompt)), Message("assistant", _text(row, completion)))
        case AlpacaColumns(instruction, input_, output):
            context = _text(row, input_)
            prompt = _text(row, instruction) + (f"\n\n{context}" if context else "")
            turns = (Message("user", prompt), Message("assistant", _text(row, output)))
        case TextColumns(text):
            turns = (Message("text", _text(row, text)),)
    check(turns, row.where)
    return turns


def conversations(
    rows: Iterable[Row], source: DataSource, columns: Columns
) -> Iterator[tuple[Row, tuple[Message, ...]]]:
    """The rows that the source means, each with its conversation. Raises UserError as `conversation` does."""
    for row in rows:
        if all(fnmatchcase(str(row.values.get(column)), wanted) for column, wanted in source.only.items()):
            try:
                yield row, conversation(row, columns)
            except UnfitRowError:
                if source.unfit == "refuse":
                    raise


def taking_part(source: DataSource) -> Json:
    """Which rows of its files the source means, as JSON; None where all of them."""
    members = source.location.members if isinstance(source.location, Hub) else ()
    if not source.only and not members and source.unfit == "refuse":
        return None
    return {"only": dict(source.only), "unfit": source.unfit, "members": list(members)}


def check(turns: Sequence[Message], where: str) -> None:
    """A system turn first if at all, then user and assistant in turn, with at least one assistant turn; or one text.

    Raises UnfitRowError naming the turn.
    """
    if [turn.role for turn in turns] == [TEXT]:
        return
    start = 1 if turns and turns[0].role == "system" else 0
    for number, turn in enumerate(turns[start:]):
        wanted = _BY_TURNS[number % 2]
        if turn.role != wanted:
            raise UnfitRowError(
                f"{where}: turn {start + number + 1} is the {turn.role}'s where the {wanted}'s is due",
                "a conversation is an optional system turn, then user and assistant in turn",
            )
    if not any(turn.role == "assistant" for turn in turns):
        raise UnfitRowError(f"{where}: no assistant turn to learn from", "leave such rows out")


def _turns(row: Row, column: str) -> tuple[Message, ...]:
    cell = row.values[column]
    if not isinstance(cell, list):
        raise UnfitRowError(f"{row.where}: the column {column} holds {_kind(cell)}, not a list of turns", _TURN)
    if cell and all(isinstance(turn, str) for turn in cell):
        return tuple(Message(role, text) for role, text in zip(cycle(_BY_TURNS), cell, strict=False))
    return tuple(_turn(turn, f"{row.where}, turn {number}") for number, turn in enumerate(cell, 1))


_TURN = 'a turn is {"role": ..., "content": ...} or {"from": ..., "value": ...}, or all of them are texts'


def _turn(turn: Any, where: str) -> Message:
    if not isinstance(turn, Mapping):
        raise UnfitRowError(f"{where}: {_kind(turn)} is not a turn", _TURN)
    role, content = (turn.get("role"), turn.get("content")) if "role" in turn else (turn.get("from"), turn.get("value"))
    if not isinstance(role, str) or role not in ROLES:
        raise UnfitRowError(f"{where}: unknown role {role!r}", f"the roles are {', '.join(ROLES)}")
    if not isinstance(content, str):
        raise UnfitRowError(f"{where}: the content is {_kind(content)}, not text", _TURN)
    return Message(ROLES[role], content)


def _text(row: Row, column: str) -> str:
    cell = row.values[column]
    if not isinstance(cell, str):
        raise UnfitRowError(f"{row.where}: the column {column} holds {_kind(cell)}, not text", "make it text")
    return cell


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
