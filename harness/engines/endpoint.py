"""The `endpoint` engine: a model behind a server with OpenAI's interface, which renders and encodes prompts itself."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, TypeVar

from harness.canonical import Json
from harness.endpoints.access import ServerAccess
from harness.endpoints.availability import Pace
from harness.endpoints.client import CHAT, COMPLETIONS, Client
from harness.endpoints.client import Request as Call
from harness.endpoints.faults import Rejected
from harness.endpoints.model import EndpointManner, served_model
from harness.endpoints.replies import ChatReply, CompletionReply, read_chat, read_completion, whole
from harness.engines.protocol import (
    GenerateRequest,
    Generation,
    Loglikelihood,
    LoglikelihoodRequest,
    Lot,
    Request,
    Sampling,
    Told,
    Unanswered,
    Waiting,
)
from harness.engines.swap import Stale
from harness.errors import HarnessError, UserError
from harness.jobs import EngineSettings

Found = TypeVar("Found")

MOST_STOPS = 4
"""Stop texts that every server takes; answers are cut before any further ones here."""

SCORING: Mapping[str, Json] = {"max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 1}
"""How a text's own tokens are asked for. One token is generated beside them: not every server does without."""

_PROBE = "The sky is blue."


class EndpointEngine:
    """Many calls at once, each answered for certain: outages are waited for, and what fails is asked again."""

    mixes = True
    tokenizer = None

    def __init__(
        self,
        settings: EngineSettings,
        model_dir: Path,
        runtime: Mapping[str, Any],
        notice: Callable[[str], None],
        pace: Pace | None = None,
    ) -> None:
        self._extra = dict(settings.extra)
        self._model = served_model(model_dir).name
        self._manner = EndpointManner.model_validate(runtime.get("endpoint", {}))
        manner = self._manner.model_dump(exclude={"max_tokens_field"})
        access = ServerAccess(base_url=str(runtime["base_url"]), **manner)
        self._connect = partial(Client, access, f"the server of {self._model}", notice, pace)
        self._client = self._connect()
        self._lengths: dict[str, asyncio.Task[int]] = {}
        self._refusal: str | None = None
        self._probed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="endpoint", daemon=True)
        self._thread.start()

    def load(self, model_dir: Path) -> None:
        """Raises Stale: another model is another connection."""
        raise Stale(f"{model_dir} stands for another model or server")

    def close(self) -> None:
        """Close the connection."""
        self._submit(self._client.__aexit__()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def why_no_likelihoods(self) -> str | None:
        """What the server does instead of telling the log-probabilities of a given text; it is asked once."""
        if not self._probed:
            self._refusal, self._probed = self._submit(self._probe()).result(), True
        return self._refusal

    def answer(self, waiting: Waiting) -> Iterator[Lot]:
        """As many calls at once as the recipe allows; every answer is handed on as soon as it is there.

        What cannot be answered is told apart from what nobody can be asked: that ends the session, after the calls in
        flight have come to their end and their answers are handed on.
        """
        came: queue.SimpleQueue[tuple[str, Future[Told]]] = queue.SimpleQueue()
        under_way: dict[str, Future[Told]] = {}
        ended: HarnessError | None = None
        try:
            while True:
                while ended is None and len(under_way) < self._manner.concurrency and waiting:
                    request = waiting.popleft()
                    under_way[request.id] = self._submit(self._answer(request))
                    under_way[request.id].add_done_callback(partial(_put, came, request.id))
                if not under_way:
                    break
                name, future = came.get()
                del under_way[name]
                error = future.exception()
                if error is None:
                    yield [(name, future.result())]
                elif isinstance(error, HarnessError):
                    ended = ended or error
                else:
                    raise error
        finally:
            for future in under_way.values():
                future.cancel()
        if ended is not None:
            raise ended

    def _submit(self, work: Coroutine[Any, Any, Found]) -> Future[Found]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    # --- in its own thread -----------------------------------------------------------------------------------------

    async def _answer(self, request: Request) -> Told:
        try:
            return await (self._generate(request) if isinstance(request, GenerateRequest) else self._score(request))
        except Rejected as rejected:
            if rejected.kind == "refused" and isinstance(request, GenerateRequest):
                return Generation("", (), "stop", 0)  # the model, as its users meet it, will not answer
            return Unanswered(rejected.reason)

    async def _generate(self, request: GenerateRequest) -> Generation:
        prompt, body = request.asked["prompt"], self._sampled(request.sampling)
        reply: ChatReply | CompletionReply
        if isinstance(prompt, str):
            reply = await self._call(COMPLETIONS, {"prompt": whole(prompt), **body}, read_completion)
        else:
            messages = [{"role": message["role"], "content": whole(message["content"])} for message in prompt]
            reply = await self._call(CHAT, {"messages": messages, **body}, read_chat)
        text, stopped = _before(reply.text, request.sampling.stop)
        finish: Literal["stop", "length"] = "length" if reply.finish == "length" and not stopped else "stop"
        used = {} if reply.usage is None else reply.usage.model_dump()
        return Generation(text, (), finish, 0, used.get("prompt_tokens"), used.get("completion_tokens"))

    async def _score(self, request: LoglikelihoodRequest) -> Told:
        context, continuation = request.asked["prompt"], request.asked["continuation"]
        text = whole(context + continuation)
        reply = await self._call(COMPLETIONS, {"prompt": text, **SCORING}, read_completion)
        tokens, logprobs, top = _echoed(reply)
        # White space at the end of a context belongs to the continuation, as everywhere.
        start = _first_after(tokens, text, len(whole(context).rstrip()))
        if start is None:
            start = await self._length(whole(context).rstrip())
        scored = logprobs[start:]
        if not scored or None in scored:
            return Unanswered("the server tells no probability of the continuation")
        found = [logprob for logprob in scored if logprob is not None]
        best = [max(at.values(), default=0.0) if at else 0.0 for at in top[start:]]
        greedy = all(logprob >= most for logprob, most in zip(found, best, strict=True))
        return Loglikelihood(sum(found), greedy, 0, prompt_tokens=len(tokens))

    async def _length(self, text: str) -> int:
        """How many tokens a text is; asked once, since the choices of a question have one context."""

        async def ask() -> int:
            reply = await self._call(COMPLETIONS, {"prompt": text, **SCORING}, read_completion)
            return len(_echoed(reply)[0])

        if text not in self._lengths:
            self._lengths[text] = asyncio.create_task(ask())
        return await self._lengths[text]

    async def _probe(self) -> str | None:
        async with self._connect() as client:  # one of its own: a refusal ends a connection
            try:
                reply = await self._call(COMPLETIONS, {"prompt": _PROBE, **SCORING}, read_completion, client)
            except (Rejected, UserError) as refused:
                return f"{client.name} does not score given texts: {getattr(refused, 'problem', refused)}"
        if not reply.text.startswith(_PROBE) or len(_echoed(reply)[1]) < 2:  # noqa: PLR2004 (a first is never scored)
            return f"{client.name} tells no log-probabilities of the texts it is given"
        return None

    async def _call(
        self, path: str, body: Mapping[str, Json], read: Callable[[Json], Found], client: Client | None = None
    ) -> Found:
        async def reading(value: Json) -> Found:
            return read(value)

        fields = {"model": self._model, **body, **self._extra}
        sent = {name: value for name, value in fields.items() if value is not None}
        return await (client or self._client).ask(Call(path, sent, reading))

    def _sampled(self, sampling: Sampling) -> dict[str, Json]:
        """How an answer is drawn, as fields of a request."""
        return {
            "temperature": sampling.temperature,
            self._manner.max_tokens_field: sampling.max_new_tokens,
            "top_p": sampling.top_p if sampling.top_p < 1 else None,
            "seed": sampling.seed,
            "stop": list(sampling.stop[:MOST_STOPS]) or None,
        }


def _put(came: queue.SimpleQueue[tuple[str, Future[Told]]], name: str, future: Future[Told]) -> None:
    came.put((name, future))


def _before(text: str, stops: tuple[str, ...]) -> tuple[str, bool]:
    """The text before the first stop text, and whether there is one."""
    first = min((at for stop in stops if (at := text.find(stop)) >= 0), default=None)
    return (text, False) if first is None else (text[:first], True)


def _echoed(reply: CompletionReply) -> tuple[list[str], list[float | None], list[Mapping[str, float] | None]]:
    """The prompt's tokens with their log-probabilities and the likeliest in their places; empty where none came."""
    if reply.tokens is None or reply.logprobs is None:
        return [], [], []
    count = reply.usage.prompt_tokens if reply.usage else len(reply.tokens) - 1
    top = reply.top or (None,) * len(reply.tokens)
    return list(reply.tokens[:count]), list(reply.logprobs[:count]), list(top[:count])


def _first_after(tokens: list[str], text: str, at: int) -> int | None:
    """The place of the first token that reaches beyond `at` characters of the text.

    None where the tokens' texts do not add up to it, as where one character is several of them.
    """
    joined = "".join(tokens)
    if not joined.endswith(text):
        return None
    before = len(joined) - len(text)  # BOS and the like
    ends = accumulate(map(len, tokens))
    return next((place for place, end in enumerate(ends) if end > before + at), None)
