"""Which jobs one worker process may do one after another."""

from __future__ import annotations

from harness.api import TFIDF
from harness.jobs import Job

LIGHT = {"data": 10, "score": 19, "sandbox": 10, "judge": 19, "endpoint": 0}
"""Lanes whose jobs leave models alone: each has one worker of its own beside the others, so many times nicer than they.

An engine's threads meet at every step, and whoever takes a core from one of them holds up all. Programs in the sandbox
have a time limit, and must not starve.
"""

FOLLOWING = ("sandbox", "judge")
"""Lanes where answers are scored as they come: their jobs take as long as the model's answers do."""


def lane(job: Job, engines: str) -> str:
    """Jobs of one lane can share a process; vLLM keeps one to itself, and a judge's replies are awaited apart.

    A model that is only linked is linked where it will be asked, by `engines` of this name: its worker then imports
    what both want once.
    """
    if job.curates:
        return _curating_lane(job)
    if engines == "endpoint" and job.kind in {"prepare", "respond"}:
        return "endpoint"
    if job.kind == "prepare" and job.declared["model"]["init"] is None:
        return "vllm" if engines == "vllm" else "torch"
    if job.kind == "evaluate":
        return next(iter(job.payload.get("needs", ())), "score")
    return "vllm" if engine(job) == "vllm" else "torch"


def _curating_lane(job: Job) -> str:
    """Whoever curates by rows alone, by a judge or by TF-IDF imports no torch."""
    if (name := engine(job)) is not None:
        return "vllm" if name == "vllm" else "torch"
    if job.declared["embedder"] not in (None, {"name": TFIDF}):
        return "torch"
    return "judge" if job.declared["judge"] else "data"


def engine(job: Job) -> str | None:
    """The engine that the job asks, if any."""
    name: str | None = (job.declared.get("engine") or {}).get("name")
    return name
