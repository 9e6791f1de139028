"""FastChat's files (github.com/lm-sys/FastChat, Apache-2.0), which no hub dataset holds."""

from __future__ import annotations

from harness.api import Upstream


def _of(file: str, sha256: str, mirror: str) -> Upstream:
    return Upstream(
        "lmsys/mt_bench",
        files=(file,),
        revision="v0.2.36",
        mirror=(mirror,),
        url="https://raw.githubusercontent.com/lm-sys/FastChat/{revision}/fastchat/llm_judge/data/",
        sha256=(sha256,),
        licence="apache-2.0",
    )


QUESTIONS = _of(
    "mt_bench/question.jsonl",
    "119565adbab82227089cefdb44c8d7e2cf04dc0a0ec233634c82e7d4e2a944f7",
    "question.jsonl",
)
REFERENCES = _of(
    "mt_bench/reference_answer/gpt-4.jsonl",
    "f957a5bc977badb66885ec970e6cd08527845780313f0995764260e5777b9b3f",
    "reference_answer_gpt-4.jsonl",
)
PROMPTS = _of(
    "judge_prompts.jsonl",
    "fd283293406d024f44c174b094ef48031d0687a4682fd3a56b29b138f80281b6",
    "judge_prompts.jsonl",
)
