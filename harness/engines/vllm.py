"""The `vllm` engine: continuous batching in this process, every answer handed on in the step that finishes it."""

from __future__ import annotations

import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.engines.protocol import (
    Answer,
    GenerateRequest,
    Generation,
    Loglikelihood,
    LoglikelihoodRequest,
    Lot,
    Sampling,
    Tokenizer,
    Waiting,
)
from harness.engines.swap import Stale, stale
from harness.engines.text import Codec, context_length, fit_pair, fit_prompt
from harness.errors import UserError
from harness.jobs import EngineSettings
from harness.modelfolder import trusts_code

log = logging.getLogger(__name__)

IN_FLIGHT = 256
"""Requests given to the engine at a time; it schedules as many of them as its cache holds."""


class VllmEngine:
    """vLLM without its own server process, so that nothing outlives the worker."""

    mixes = True

    def __init__(self, settings: EngineSettings, model_dir: Path, runtime: Mapping[str, Any]) -> None:
        _prepare_environment(runtime)
        from vllm import EngineArgs, LLMEngine
        from vllm.platforms import current_platform

        self._max_length = context_length(model_dir, settings.max_length)
        self._codec = Codec.load(model_dir)
        memory = {} if current_platform.is_cpu() else {"gpu_memory_utilization": _gpu_share(runtime)}
        arguments = EngineArgs(
            model=str(model_dir),
            dtype=settings.dtype,
            trust_remote_code=trusts_code(model_dir),
            # A scored text may fill the context, and vLLM always generates a token after it.
            max_model_len=self._max_length + 1,
            max_num_seqs=IN_FLIGHT,
            max_num_batched_tokens=max(self._max_length + 1, 8192),
            enforce_eager=current_platform.is_cpu(),
            # Seeded requests and chunked prefill do not go together on a CPU, and a prefix that is now cached and
            # now computed gives other last digits: a resumed run would not end in the same result.
            enable_chunked_prefill=False,
            enable_prefix_caching=False,
            tensor_parallel_size=int(runtime.get("tensor_parallel", 1)),
            generation_config="vllm",
            disable_log_stats=True,
            **memory,
        )
        try:
            self._engine: Any = LLMEngine.from_engine_args(arguments)
        except ValueError as error:
            if "max seq len" not in str(error):
                raise
            raise UserError(
                f"vLLM has no memory for the keys and values of {self._max_length} tokens, the context of {model_dir}",
                "--set engine.max_length=4096 or so, or raise runtime.cpu_cache_gib (on a CPU) "
                "or runtime.gpu_memory_utilization",
            ) from error

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own."""
        return self._codec.tokenizer

    @property
    def max_length(self) -> int:
        """Context in tokens."""
        return self._max_length

    def why_no_likelihoods(self) -> None:
        """It gives them."""

    def load(self, model_dir: Path) -> None:
        """Swap the weights in place; the caller has checked that architecture and tokenizer are the same.

        Raises Stale where the engine does not hold the new weights afterwards, or may not.
        """
        if self._engine.vllm_config.parallel_config.world_size > 1:
            raise Stale("weights are swapped in place on one device only")
        self._engine.collective_rpc("reload_weights", kwargs={"weights_path": str(model_dir)})
        self._engine.reset_prefix_cache()
        for reason in self._engine.collective_rpc(stale, args=(model_dir,)):
            if reason is not None:
                raise Stale(reason)

    def close(self) -> None:
        """Stop the engine and give its cache back."""
        from vllm.distributed import cleanup_dist_env_and_memory

        self._engine.engine_core.shutdown()
        self._engine = None
        cleanup_dist_env_and_memory()

    def answer(self, waiting: Waiting) -> Iterator[Lot]:
        """One lot per engine step that finishes something; the engine is fed in bounded numbers, so it stays full."""
        reading: dict[str, Callable[[Any], Answer]] = {}
        try:
            while True:
                while len(reading) < IN_FLIGHT and waiting:
                    request = waiting.popleft()
                    reading[request.id] = (
                        self._generate(request) if isinstance(request, GenerateRequest) else self._score(request)
                    )
                if not reading:
                    return
                finished = [output for output in self._engine.step() if output.finished]
                if finished:
                    yield [(output.request_id, reading.pop(output.request_id)(output)) for output in finished]
        finally:
            if reading:
                self._engine.abort_request(list(reading))

    def _generate(self, request: GenerateRequest) -> Callable[[Any], Generation]:
        """Hand the request to the engine; returns what reads its output."""
        prompt, cut = fit_prompt(request, self._max_length)
        self._submit(request.id, prompt, self._sampling_params(request.sampling))
        return lambda output: self._codec.generation(tuple(output.outputs[0].token_ids), request.sampling, cut)

    def _score(self, request: LoglikelihoodRequest) -> Callable[[Any], Loglikelihood]:
        """As `_generate`."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        pair, cut = fit_pair(request, self._max_length)
        count = len(request.continuation_ids)
        params = SamplingParams(
            temperature=0.0,
            max_tokens=1,
            prompt_logprobs=1,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        self._submit(request.id, pair, params)

        def read(output: Any) -> Loglikelihood:
            scored = [at[i] for at, i in zip(output.prompt_logprobs[-count:], pair[-count:], strict=True)]
            return Loglikelihood(sum(at.logprob for at in scored), all(at.rank == 1 for at in scored), cut)

        return read

    def _submit(self, name: str, ids: Sequence[int], params: Any) -> None:
        self._engine.add_request(name, {"prompt_token_ids": list(ids)}, params)

    def _sampling_params(self, sampling: Sampling) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            max_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sampling.seed,
            stop=list(sampling.stop),
            stop_token_ids=sorted({*self._codec.end_ids, *sampling.end_ids}),
            skip_special_tokens=False,  # so that a stop text may name one; the answer's text is ours
            detokenize=bool(sampling.stop),
            output_kind=RequestOutputKind.FINAL_ONLY,  # or every token makes an output of all those before it
        )


def _prepare_environment(runtime: Mapping[str, Any]) -> None:
    """What vLLM reads from the environment, set before it is imported; the user's own settings stand."""
    defaults = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        # Workers that share a machine would otherwise all be bound to its first cores.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_CPU_KVCACHE_SPACE": str(math.ceil(runtime.get("cpu_cache_gib", 1))),  # it takes whole GiB
    }
    if shutil.which("g++") is None:
        log.warning("no g++ on this machine: vLLM runs without compiled kernels (TORCHDYNAMO_DISABLE=1)")
        defaults["TORCHDYNAMO_DISABLE"] = "1"
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def _gpu_share(runtime: Mapping[str, Any]) -> float:
    return float(runtime.get("gpu_memory_utilization", 0.9))
