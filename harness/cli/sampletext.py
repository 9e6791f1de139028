"""Samples as they are shown: what was asked, what was answered, and what became of it.

What models and judges wrote is text, whatever it contains: it is never read as markup, and what a terminal would obey
or hide is spelled out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness.reading.pairs import Kind, Pair
from harness.reading.samples import HALF, Sample
from harness.visible import visible

SHOWN = 1000
"""Of a longer prompt its last paragraphs are shown, so many characters: few-shot examples stand before the question."""

Line = tuple[str, RenderableType]
"""A label and what it stands before."""


def sample_block(sample: Sample, *, full: bool) -> Group:
    """One sample; `full` shows all of a long prompt."""
    one = sample.evaluation
    word, style = _judged(sample)
    title = f"{one.task} · {one.arm} · seed {one.seed} · item {sample.id}"
    return _block(title, word, style, [*_exchange(sample, full=full), *_result(sample)])


def pair_block(pair: Pair, kind: Kind, names: tuple[str, str], *, full: bool) -> Group:
    """One item as two models answered it."""
    one = pair.a.evaluation
    lines = [*_prompts(pair.a, full=full), *_target(pair.a)]
    for letter, name, sample in zip("AB", names, (pair.a, pair.b), strict=True):
        word, style = _judged(sample)
        lines.append((letter, Text(f"{name}: {word}", style=f"bold {style}")))
        lines += [*_answers(sample), *_scores(sample)]
    return _block(f"{one.task} · seed {one.seed} · item {pair.a.id}", kind, "magenta", lines)


def _block(title: str, word: str, style: str, lines: Sequence[Line]) -> Group:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True, min_width=9)
    grid.add_column(overflow="fold", ratio=1)
    for label, shown in lines:
        grid.add_row(Text(label), shown)
    head = Text.assemble(("── ", "dim"), (visible(title), "bold"), (f" · {word}", f"bold {style}"), (" ──", "dim"))
    return Group(head, grid, Text())


def _judged(sample: Sample) -> tuple[str, str]:
    """`right`, `wrong`, `0.7` or `no score`, and its style."""
    if sample.score is None:
        return "no score", "magenta"
    word, style = ("wrong", "red") if sample.worse_than(HALF) else ("right", "green")
    return f"{sample.score:.4g}" if sample.graded else word, style


# --- what was asked and answered -----------------------------------------------------------------------------------


def _exchange(sample: Sample, *, full: bool) -> Iterator[Line]:
    """Round by round what was asked and what was answered."""
    if sample.asked is None or len(sample.asked) == 1:
        yield from _prompts(sample, full=full)
        yield from _answers(sample)
        return
    answers = iter(_responses(sample))
    for number, requests in enumerate(sample.asked):
        for request in requests:
            yield from _prompt(request["prompt"], full=full, follows=number > 0)
            yield "response", _written(next(answers, ""))
    if sample.line.get("finish") == "length":
        yield "", _cut()


def _prompts(sample: Sample, *, full: bool) -> Iterator[Line]:
    """What was asked, without the model's own answers between the rounds."""
    if sample.asked is None:
        yield "prompt", Text("not kept here", style="dim")
        return
    for number, requests in enumerate(sample.asked):
        for request, before in zip(requests, [None, *requests], strict=False):
            if before is None or request["prompt"] != before["prompt"]:
                yield from _prompt(request["prompt"], full=full, follows=number > 0)


def _prompt(prompt: str | Sequence[Any], *, full: bool, follows: bool = False) -> Iterator[Line]:
    """A text or the turns of a conversation; of one that `follows` upon an answer, the turns since."""
    if isinstance(prompt, str):
        yield "prompt", _end_of(prompt, full=full)
        return
    turns = list(prompt)
    if follows:
        last = max((n for n, turn in enumerate(turns) if turn["role"] == "assistant"), default=-1)
        turns = turns[last + 1 :]
    kept = len(turns) if full else _fitting(turns)
    if kept < len(turns):
        yield "prompt", Text(f"… {len(turns) - kept} turns before (--full shows them)", style="dim")
    for turn in turns[len(turns) - kept :]:
        yield turn["role"], _end_of(turn["content"], full=full)


def _fitting(turns: Sequence[Any]) -> int:
    """How many of the last turns together are not too long; one at least."""
    lengths = accumulate(len(turn["content"]) for turn in reversed(turns))
    return max(1, sum(length <= SHOWN for length in lengths))


def _end_of(text: str, *, full: bool) -> Text:
    if full or len(text) <= SHOWN:
        return Text(visible(text))
    at = len(text) - SHOWN
    starts = [text.find(mark, at) + len(mark) for mark in ("\n\n", "\n") if mark in text[at:-1]]
    at = starts[0] if starts else at
    return Text.assemble((f"… {at:,} characters before (--full shows them)\n", "dim"), visible(text[at:]))


def _answers(sample: Sample) -> Iterator[Line]:
    """The model's answers; of choices, each with its log-probability."""
    responses = sample.line["response"]
    if isinstance(responses, str) or all(isinstance(one, str) for one in responses):
        several = _responses(sample)
        for number, text in enumerate(several, 1):
            yield "response" if len(several) == 1 else f"answer {number}", _written(text)
        if sample.line.get("finish") == "length":
            yield "", _cut()
        return
    texts = [request.get("continuation") for requests in sample.asked or () for request in requests]
    best = max(range(len(responses)), key=lambda n: responses[n][0])
    for n, (logprob, _) in enumerate(responses):
        text = visible(texts[n]) if n < len(texts) and texts[n] else f"choice {n}"
        likeliest = n == best and len(responses) > 1
        target = "  (target)" if sample.line.get("target") == n and len(responses) > 1 else ""
        yield ("likeliest" if likeliest else "choice"), Text(f"{logprob:9.3f}  {text}{target}")


def _responses(sample: Sample) -> list[str]:
    responses = sample.line["response"]
    return [responses] if isinstance(responses, str) else [str(one) for one in responses]


def _written(text: str) -> Text:
    """What a model wrote, if only white space."""
    return Text(visible(text)) if text.strip() else Text("white space" if text else "nothing", style="dim")


def _cut() -> Text:
    return Text("cut off by the limit on new tokens", style="dim")


# --- what became of it ---------------------------------------------------------------------------------------------


def _result(sample: Sample) -> Iterator[Line]:
    yield from _target(sample)
    yield from _scores(sample)


def _target(sample: Sample) -> Iterator[Line]:
    if sample.line.get("target") is not None:
        yield "target", Text(visible(_text(sample.line["target"])))


def _scores(sample: Sample) -> Iterator[Line]:
    """What was read out of the answer, the scores, how it ended, and the judge's words."""
    line = sample.line
    extracted = line.get("extracted")
    if isinstance(extracted, dict) and len(extracted) == 1:
        extracted = next(iter(extracted.values()))
    if extracted not in (None, {}, [], line["response"]):
        yield "extracted", Text(visible(_text(extracted)))
    scores = dict(sorted((line["scores"] or {}).items(), key=lambda item: item[0] != sample.evaluation.score))
    if scores:
        yield "score", Text("\n".join(f"{_number(value)}  {visible(name)}" for name, value in scores.items()))
    yield "outcome", Text(sample.outcome)
    if line.get("prompt_cut"):
        yield "", Text(f"{line['prompt_cut']} tokens of the prompt were cut to fit the context", style="dim")
    judgments = line.get("judgments") or ()
    for number, judgment in enumerate(judgments, 1):
        value = "" if judgment["value"] is None else f"{_text(judgment['value'])}, "
        said = Text(f"{value}{judgment['outcome']}", style="bold")
        if judgment["text"]:
            said.append("\n").append(visible(judgment["text"]), style="not bold")
        yield "judge" if len(judgments) == 1 else f"judge {number}", said
    if line.get("detail"):
        yield "detail", Text(visible(_text(line["detail"])))
    if line.get("error"):
        yield "error", Text(visible(line["error"]), style="red")


def _text(value: Any) -> str:
    """A text as it is, several texts numbered, what has names a line each, everything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        parts = ((name, _text(inner)) for name, inner in value.items())
        return "\n".join(name + (":\n" if "\n" in inner else ": ") + inner for name, inner in parts)
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return value[0] if len(value) == 1 else "\n".join(f"{n}. {one}" for n, one in enumerate(value, 1))
    return json.dumps(value, ensure_ascii=False)


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else json.dumps(value)
