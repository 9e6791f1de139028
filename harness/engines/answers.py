"""The `generate` job: a model answers a dataset's prompts, and the answers are training data for a later stage."""

from __future__ import annotations

import time
from collections.abc import Mapping

from harness.api import ANSWERED, DataSource, Example
from harness.canonical import Json, canonical, digest, file_digest, utf8
from harness.context import Context
from harness.data.chat import Renderer
from harness.data.mixtures import materialise
from harness.engines.asking import ask
from harness.engines.pool import Engines
from harness.engines.protocol import GenerateRequest, Generation, Sampling
from harness.errors import UserError
from harness.jobs import EXAMPLES, Generate


def generate(declared: Generate, data: Mapping[str, DataSource], engines: Engines, context: Context) -> Json:
    """Answer every prompt `samples` times and write chat rows; returns `result` and `measured`.

    A second attempt asks the engine only for what the first did not store. Raises UserError for conversations that do
    not end in an assistant turn, and where no answer came to an end.
    """
    started = time.perf_counter()
    read = materialise([declared.item], data, data_root=context.data_root)
    examples = [example for _, example in read.examples]
    engine = engines.open(declared.engine, context.parents["model"] / "model", context.runtime)
    requests = _requests(declared, examples, Renderer(engine.tokenizer))
    asked = ask(requests, engine, declared.engine, context)
    answers = {name: answer for name, answer in asked.answers.items() if isinstance(answer, Generation)}
    rows = [
        _row(example, f"{example.id}.{sample}", answer.text)
        for example in examples
        for sample in range(declared.samples)
        if (answer := answers[f"{example.id}.{sample}"]).finish == "stop"
    ]
    if not rows:
        raise UserError(
            f"none of the {len(requests)} answers to {declared.item.data.name} came to an end",
            "raise max_new_tokens, or let a trained stage answer",
        )
    path = context.folder / EXAMPLES
    path.write_bytes(utf8("".join(canonical(row) + "\n" for row in rows)))
    return {
        "result": {
            "examples": len(rows),
            "truncated": len(requests) - len(rows),
            "prompts_cut": sum(answer.prompt_cut > 0 for answer in answers.values()),
            "content": file_digest(path),
        },
        "measured": {"seconds": time.perf_counter() - started, **asked.measured},
    }


def _requests(declared: Generate, examples: list[Example], renderer: Renderer) -> list[GenerateRequest]:
    requests = []
    for example in examples:
        if example.messages[-1].role != "assistant":
            raise UserError(f"example {example.id} does not end in an assistant turn", "it leaves nothing to answer")
        prompt = renderer.prompt(example.messages[:-1])
        for sample in range(declared.samples):
            name = f"{example.id}.{sample}"
            sampling = Sampling(
                max_new_tokens=declared.max_new_tokens,
                temperature=declared.temperature,
                top_p=declared.top_p,
                end_ids=(renderer.end_of_turn,),
                seed=int(digest([declared.seed, name])[:8], 16) if declared.temperature > 0 else None,
            )
            requests.append(GenerateRequest(name, prompt, sampling))
    return requests


def _row(example: Example, name: str, answer: str) -> Json:
    turns = [{"role": turn.role, "content": turn.content} for turn in example.messages[:-1]]
    return {"id": name, "messages": [*turns, {"role": "assistant", "content": answer}], ANSWERED: example.id}
