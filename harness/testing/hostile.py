"""Sixty texts that would run as code where a page took text for markup, and rows that hold them: to try pages on.

The rows come to a page as they would in earnest: through the models, the board and the site's builder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import get_args

from harness.board.intervals import Interval
from harness.board.numbers import Composite, DeclaredSuite, Measure, composite, seed_result, suite, task_result
from harness.board.rows import Measured, Result, Row, result_digest
from harness.board.samples import Sample
from harness.canonical import Json, digest
from harness.testing.boards import SCORE, synthetic

OUT = ("", "'", '"', "`", ">", '">', "'>", "-->", "]]>", "</script>", "</style>", "</title>", "</textarea>", "</svg>")
RUN = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<a href='javascript:alert(1)' autofocus onfocus=alert(1)>here</a>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<object data='data:text/html,<script>alert(1)</script>'></object>",
    "<details open ontoggle=alert(1)>",
    "<link rel=stylesheet href=https://example.org/x.css>",
    "<meta http-equiv=refresh content='0;url=https://example.org/'>",
    "<base href='https://example.org/'>",
    "<form action='https://example.org/'><input autofocus onfocus=alert(1)>",
    "<style>@import 'https://example.org/x.css';</style>",
    "<video src=https://example.org/x.mp4 onerror=alert(1)>",
    "<template><script>alert(1)</script></template>",
)
PAYLOADS = (
    *RUN,
    *(f"{out}<script>alert(1)</script>" for out in OUT[1:]),
    *(f"{out}<img src=x onerror=alert(1)>" for out in OUT[1:]),
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "' onmouseover='alert(1)",
    '" onfocus="alert(1)" autofocus="',
    "{{7*7}}${alert(1)}<%= alert(1) %>{% raw %}",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;img src=x onerror=alert(1)&#62;",
    "\\u003cscript\\u003ealert(1)\\u003c/script\\u003e",
    "<!--<script>alert(1)",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "';alert(1);//",
    '";alert(1);//',
    "\u2028alert(1)\u2029",
    "\u202e)1(trela\u202c <img src=x onerror=alert(1)>",
    "__proto__",
    "constructor",
    "toString",
    "#row=x&q=<svg onload=alert(1)>",
)
LITERALS = {*get_args(Interval.model_fields["method"].annotation), *get_args(Composite.model_fields["rule"].annotation)}
"""Texts of a row that are of this code."""

DIGEST = re.compile(r"[0-9a-f]{64}")


def hostile_samples(place: int) -> list[Sample]:
    """Sixty: item after item is called by another payload, and answered with one."""
    return [
        {
            "id": PAYLOADS[item],
            "doc_sha256": f"{item:064x}",
            "prompt_sha256": f"{item:064x}",
            "response": PAYLOADS[(item + place) % 60],
            "finish": PAYLOADS[place],
            "prompt_cut": False,
            "extracted": [PAYLOADS[(item + place + 1) % 60]],
            "scores": {SCORE: float((item + place) % 3 == 0)},
            "outcome": PAYLOADS[place],
        }
        for item in range(60)
    ]


def hostile_row(place: int, names: Sequence[str], arm: str, *, judge: str | None = None) -> Row:
    """A row with one payload in every field of its own; names of benchmarks and the suite are the board's.

    So is the `judge`, where one is named. Its samples are `hostile_samples(place)`, for every benchmark.
    """
    samples, text = hostile_samples(place), PAYLOADS[place]
    measure = Measure(protocol=" ".join(PAYLOADS), score_name=SCORE)
    part = seed_result(0, samples, measure, len(samples))
    tasks = {name: task_result(measure, [part], [samples], one_model=False) for name in names}
    declared = suite(DeclaredSuite(name=" ".join(PAYLOADS), version=1, groups={names[0]: tuple(names)}), tasks)
    recipe = {"suite": " ".join(PAYLOADS)}
    result = Result.model_validate(
        {
            **_own(text, names, judge or text),
            "arm": arm,
            "limit": None,
            "recipe": recipe,
            "recipe_sha256": digest(recipe),
            "suite": declared,
            "tasks": tasks,
            "composite": composite(tasks, declared, one_model=False),
        }
    )
    measured = _plain().measured.model_dump(mode="json")
    measured |= {"restarted": ["a stage"], "baseline": "a baseline", "differs": {"a setting": "a value"}}
    known = {*measured, "commit", "dirty", "seed", "job", "key", "measured", "seconds", "accelerators"}
    return Row(id=result_digest(result), result=result, measured=Measured(**_filled(measured, text, known)))


def _own(text: str, names: Sequence[str], judge: str) -> dict[str, Json]:
    """What of a result no other row shares, with the text wherever any may stand."""
    plain = _plain().result.model_dump(mode="json")
    (seed,) = plain["seeds"]
    fields = {*Result.model_fields, *seed, *seed["stages"][0], *plain["plugins"][0], *plain["data"][0], "key"}
    plain["plugins"][0]["options"] = {"k": "1/4", "nested": {"list": ["a", "b"]}}
    plain["model"] |= {"template_digest": "a text", "id": "example/model"}
    prompts = {"judge": {"model": judge, "name": judge}, f"{text} template_digest": text}
    return {
        "plugins": _filled(plain["plugins"], text, fields),
        "match": text,
        "model": _filled(plain["model"], text, {"id", "revision", "template_digest"}),
        "engine": _filled(plain["engine"], text, {"name"}),
        "data": _filled(plain["data"], text, fields),
        "seeds": [
            {
                "seed": 0,
                "stages": _filled(seed["stages"], text, fields),
                "merge": {"key": "f" * 64, "method": text, "weights": {text: text}},
                "evaluations": {name: {"key": "e" * 64, "prompts": prompts} for name in names},
            }
        ],
    }


@cache
def _plain() -> Row:
    """A row of a trained arm."""
    return next(row for row in synthetic(4, items=4).rows if row.result.seeds[0].stages)


def _filled(value: Json, text: str, shared: set[str]) -> Json:
    """The value with the text in each of its strings and names, but for digests, literals and what a board shares."""
    if isinstance(value, dict):
        return {key if key in shared else f"{text} {key}": _filled(of, text, shared) for key, of in value.items()}
    if isinstance(value, list):
        return [_filled(of, text, shared) for of in value]
    if not isinstance(value, str) or value in LITERALS | shared or DIGEST.fullmatch(value):
        return value
    return text
