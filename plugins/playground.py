"""The playground: three synthetic skills, made on the spot, in which learning and forgetting show within minutes.

Two specialised skills (the largest of three numbers, one-line functions) and a general one (short replies to people).
Whether a question is for training or for testing is decided by a hash of its text, so no test question can be trained
on, whatever the sizes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle, islice
from random import Random
from typing import TypeVar

from pydantic import Field

from harness.api import (
    Arm,
    DataSource,
    Evaluator,
    Example,
    Generated,
    LmEvalTask,
    Message,
    Options,
    Plugin,
    UserError,
    hookimpl,
)

TEST_ITEMS = 200
TEST_SHARE = 5
"""One question in so many is kept for testing."""

T = TypeVar("T")


class PlaygroundOptions(Options):
    """Training examples of each skill. The upper bound keeps every skill's supply of distinct questions ample."""

    arithmetic: int = Field(1500, ge=1, le=5000)
    """Training examples of the skill arithmetic."""
    code: int = Field(500, ge=1, le=5000)
    """Training examples of the skill code."""
    chat: int = Field(2000, ge=1, le=5000)
    """Training examples of the skill chat."""
    text: int = Field(3000, ge=1, le=15000)
    """Plain texts for pretraining, a third of each skill."""


PLUGIN = Plugin(
    name="playground",
    version="1.0",
    summary="Three synthetic skills made on the spot: arithmetic, code and chat.",
    options=PlaygroundOptions,
)


class Draw:
    """Random choices that are equal on every machine and under every Python.

    Only `Random.random` is promised never to change; `choice` and `randrange` are not.
    """

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311 - examples are no secrets

    def one(self, choices: Sequence[T]) -> T:
        """Any of the choices, each as likely as the others."""
        return choices[int(self._random.random() * len(choices))]


@dataclass(frozen=True)
class Skill:
    """A skill: the question and answer that a draw makes, and the seed of its examples."""

    summary: str
    make: Callable[[Draw], tuple[str, str]]
    seed: int


# --- the three skills ----------------------------------------------------------------------------------------------

PEOPLE = (
    "Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ida", "Jon", "Kim", "Leo", "Mia", "Ned", "Olga", "Ray",
)  # fmt: skip
THINGS = (
    "bag", "bell", "book", "boat", "cake", "cap", "coat", "drum", "hat", "kite", "lamp", "map", "pen", "ring", "rug",
    "tent",
)  # fmt: skip
PLACES = ("bank", "barn", "farm", "hall", "lake", "mill", "park", "shop")
FUNCTIONS = ("apply", "f", "g", "make", "move", "run", "step", "turn")
VARIABLES = ("a", "b", "n", "t", "x", "y")
NUMBERS = range(10, 100)

LARGEST_OF = (
    "Which is the largest: {0}, {1} or {2}?",
    "Name the largest of {0}, {1} and {2}.",
    "{person} has piles of {0}, {1} and {2} coins. The largest?",
)
OPERATIONS = (("adds", "+"), ("subtracts", "-"), ("multiplies by", "*"), ("divides by", "/"))
FUNCTION_THAT = (
    "Write {name}({variable}) that {verb} {number}.",
    "Code {name}, which {verb} {number}, of {variable}.",
)
REPLIES = (
    ("Thank {person} for the {thing} at the {place}.", "Dear {person}, thanks for the {thing} at the {place}."),
    ("Tell {person} to take a {thing} to the {place}.", "Hi {person}, bring a {thing} to the {place}, please."),
    ("{person} lost a {thing} near the {place}.", "Sorry, {person}. Did you look for the {thing} at the {place}?"),
    ("Where can {person} get a {thing}? The {place}?", "Yes {person}, the {place} may well have a {thing}."),
)


def _arithmetic(draw: Draw) -> tuple[str, str]:
    numbers = [draw.one(NUMBERS) for _ in range(3)]
    question = draw.one(LARGEST_OF).format(*numbers, person=draw.one(PEOPLE))
    return question, "Of {}, {}, {} it is {}.".format(*numbers, max(numbers))


def _code(draw: Draw) -> tuple[str, str]:
    verb, operator = draw.one(OPERATIONS)
    name, variable, number = draw.one(FUNCTIONS), draw.one(VARIABLES), draw.one(NUMBERS[1:])
    question = draw.one(FUNCTION_THAT).format(name=name, variable=variable, verb=verb, number=number)
    return question, f"def {name}({variable}): return {variable} {operator} {number}"


def _chat(draw: Draw) -> tuple[str, str]:
    question, answer = draw.one(REPLIES)
    words = {"person": draw.one(PEOPLE), "thing": draw.one(THINGS), "place": draw.one(PLACES)}
    return question.format(**words), answer.format(**words)


SKILLS: Mapping[str, Skill] = {
    "arithmetic": Skill("The largest of three numbers, in several wordings.", _arithmetic, seed=1),
    "code": Skill("One-line functions with given names and operations.", _code, seed=2),
    "chat": Skill("Short replies to people, on given things and places.", _chat, seed=3),
}


# --- rows ----------------------------------------------------------------------------------------------------------


def for_testing(question: str) -> bool:
    """Whether the question is kept for testing: one in five is, by the SHA-256 of its text."""
    return int.from_bytes(hashlib.sha256(question.encode()).digest()[:4]) % TEST_SHARE == 0


def _pairs(skill: Skill, *, testing: bool) -> Iterator[tuple[str, str]]:
    """Distinct questions of one side of the split with their answers; a longer draw continues a shorter one."""
    draw, seen = Draw(skill.seed), set[str]()
    while True:
        question, answer = skill.make(draw)
        if question not in seen and for_testing(question) == testing:
            seen.add(question)
            yield question, answer


def texts(n: int) -> Iterator[Example]:
    """Questions and answers of all skills in turn, as plain text without roles, drawn apart from the skills' own.

    A model that is pretrained on them has read the language, and has never been asked anything.
    """
    pairs = cycle(_pairs(replace(skill, seed=skill.seed + len(SKILLS)), testing=False) for skill in SKILLS.values())
    for index, (question, answer) in enumerate(map(next, islice(pairs, n))):
        yield Example(f"text-{index}", (Message("text", f"{question}\n{answer}"),))


def training_examples(skill: str, n: int) -> Iterator[Example]:
    """The first `n` training conversations of a skill: one question, one answer."""
    for index, (question, answer) in enumerate(islice(_pairs(SKILLS[skill], testing=False), n)):
        yield Example(f"{skill}-{index}", (Message("user", question), Message("assistant", answer)))


def test_rows(skill: str) -> list[dict[str, str]]:
    """The skill's test items, `question` and `answer`, in a fixed order. Raises UserError for an unknown skill."""
    if skill not in SKILLS:
        raise UserError(f"the playground has no skill {skill!r}", f"choose one of {', '.join(SKILLS)}")
    pairs = islice(_pairs(SKILLS[skill], testing=True), TEST_ITEMS)
    return [{"question": question, "answer": answer} for question, answer in pairs]


# --- hooks ---------------------------------------------------------------------------------------------------------


@hookimpl
def data_source(arm: Arm) -> Mapping[str, DataSource]:
    """A dataset of each skill, `playground_arithmetic` and so on, and `playground_text`; their sizes are options."""
    sizes = arm.options(PlaygroundOptions).model_dump()
    n = sizes["text"]
    text = DataSource(
        Generated(partial(texts, n), n=n, recipe={"texts": n}), summary="Plain text of all skills, for pretraining."
    )
    skills = {
        f"playground_{name}": DataSource(
            Generated(partial(training_examples, name, n), n=n, recipe={"skill": name, "n": n}), summary=skill.summary
        )
        for name, skill in SKILLS.items()
        for n in [sizes[name]]
    }
    return {**skills, "playground_text": text}


@hookimpl
def evaluator(arm: Arm) -> Sequence[Evaluator]:
    """Held-out questions of each skill; an answer counts when it is the expected text, character for character."""
    return [
        Evaluator(
            name=task, protocol="exact-1", task=LmEvalTask(task, metric="exact_match"), summary=SKILLS[skill].summary
        )
        for skill in SKILLS
        for task in [f"playground_{skill}"]
    ]
