"""From what a benchmark asks to what an engine is asked: token ids, and how an answer is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.canonical import Json, digest
from harness.engines.protocol import GenerateRequest, LoglikelihoodRequest, Request, Sampling
from harness.errors import UserError
from harness.evaluate.prompts import Ids, Prompts
from harness.evaluate.questions import Question

DEFAULT_MAX_NEW_TOKENS = 256
"""lm-eval's own, for tasks that do not say."""


def requests(questions: Sequence[Question], prompts: Prompts, seed: int) -> list[tuple[Request, ...]]:
    """Each question's requests, called and ordered as its `request_ids`.

    Questions are encoded together: the more, the faster. `seed` is the evaluation's; each sampled answer has one of
    its own, made of that and its place. Raises UserError for what no engine answers, and for generation settings that
    do not mean the same to all of them.
    """
    instances = [instance for question in questions for instance in question.instances]
    contexts = iter(prompts.prompts([i.args[0] for i in instances if i.request_type == "generate_until"]))
    pairs = iter(prompts.pairs([i.args for i in instances if i.request_type == "loglikelihood"]))
    return [tuple(_requests(question, contexts, pairs, prompts, seed)) for question in questions]


def _requests(
    question: Question, contexts: Iterator[Ids], pairs: Iterator[tuple[Ids, Ids]], prompts: Prompts, seed: int
) -> Iterator[Request]:
    """One question's, with the next of what was encoded."""
    for n, instance in enumerate(question.instances):
        if instance.request_type == "generate_until":
            context, settings = instance.args
            ids, asked = next(contexts), {"prompt": prompts.said(context)}
            for repeat, name in enumerate(question.ids_of(n)):
                sampling = _sampling(question.task, settings, prompts, [seed, [question.id, n, repeat]])
                yield GenerateRequest(name, ids, sampling, asked=asked)
        elif instance.request_type == "loglikelihood":
            (name,), (context, continuation) = question.ids_of(n), instance.args
            asked = {"prompt": prompts.said(context), "continuation": continuation}
            yield LoglikelihoodRequest(name, *next(pairs), asked=asked)
        else:
            raise UserError(
                f"the task {question.task} asks for {instance.request_type}, which no engine here answers",
                "use a task with generate_until, loglikelihood or multiple_choice",
            )


def _sampling(task: str, settings: Mapping[str, Any], prompts: Prompts, seed: Json) -> Sampling:
    from lm_eval.models.utils import normalize_gen_kwargs

    known = dict(normalize_gen_kwargs(dict(settings), DEFAULT_MAX_NEW_TOKENS))
    heat = float(known.pop("temperature", 0.0))
    temperature = heat if known.pop("do_sample") else 0.0
    sampling = Sampling(
        max_new_tokens=known.pop("max_gen_toks"),
        temperature=temperature,
        top_p=float(known.pop("top_p", 1.0)),
        stop=tuple(text for text in known.pop("until") if text),
        end_ids=prompts.end_ids if prompts.chat else (),
        seed=int(digest(seed)[:8], 16) if temperature > 0 else None,
    )
    if known:
        raise UserError(
            f"the task {task} sets {', '.join(sorted(known))} for generation",
            "only until, max_gen_toks, do_sample, temperature and top_p mean the same to every engine",
        )
    return sampling
