"""A small made-up dataset: what colour things have."""

from collections.abc import Iterator, Mapping

from harness.api import Arm, DataSource, Example, Generated, Message, Plugin, hookimpl

PLUGIN = Plugin(name="colours", version="1.0", summary="What colour things have.")

COLOURS = {"grass": "green", "snow": "white", "coal": "black", "blood": "red", "the sea": "blue"}


def examples() -> Iterator[Example]:
    """One question per thing."""
    for index, (thing, colour) in enumerate(COLOURS.items()):
        turns = (Message("user", f"What colour is {thing}?"), Message("assistant", f"It is {colour}."))
        yield Example(f"colours-{index}", turns)


@hookimpl
def data_source(arm: Arm) -> Mapping[str, DataSource]:
    """The questions with their answers."""
    return {"colours": DataSource(Generated(examples, n=len(COLOURS), recipe=COLOURS))}
