"""Everything the vLLM tests need of the real engine, in a process of its own: python vllm_session.py IN OUT.

IN is a pickle of `folders` (a, b), `long` (a model's folder), `greedy`, `sampled` and `pairs`; OUT becomes a JSON of
the answers.
"""

import json
import logging
import pickle
import sys
from collections import deque
from dataclasses import asdict
from pathlib import Path


def answers(lots):
    return {i: asdict(answer) for lot in lots for i, answer in lot}


def main():
    import psutil

    from harness.engines.pool import Engines
    from harness.engines.protocol import GenerateRequest, Sampling
    from harness.errors import UserError
    from harness.jobs import EngineSettings

    asked = pickle.loads(Path(sys.argv[1]).read_bytes())
    settings = EngineSettings(name="vllm")
    model = {name: folder / "model" for name, folder in asked["folders"].items()}
    logging.basicConfig(level=logging.INFO, filename=sys.argv[2] + ".log")
    engines, found = Engines(), {}

    engine = engines.open(settings, model["a"], {"cpu_cache_gib": 0.5})
    found["max_length"] = engine.max_length
    found["greedy"] = answers(engine.answer(deque(asked["greedy"])))
    found["sampled"] = answers(engine.answer(deque(asked["sampled"])))
    found["sampled_in_halves"] = answers(engine.answer(deque(asked["sampled"][8:]))) | answers(
        engine.answer(deque(asked["sampled"][:8][::-1]))
    )
    found["pairs"] = answers(engine.answer(deque(asked["pairs"])))
    prompt = asked["greedy"][0].prompt_ids
    full = GenerateRequest("full", prompt * (1024 // len(prompt) + 1), Sampling(24))
    found["cut"] = answers(engine.answer(deque([full])))
    abandoned = engine.answer(deque(asked["greedy"]))
    next(abandoned)
    abandoned.close()
    found["after_abandoning"] = answers(engine.answer(deque(asked["greedy"])))

    swapped = engines.open(settings, model["b"], {})
    found["swapped_in_place"] = swapped is engine
    found["swapped"] = answers(swapped.answer(deque(asked["greedy"]))) | answers(swapped.answer(deque(asked["pairs"])))
    back = engines.open(settings, model["a"], {})
    found["swapped_back"] = answers(back.answer(deque(asked["greedy"])))

    engines.close()
    fresh = engines.open(settings, model["b"], {})
    found["fresh"] = answers(fresh.answer(deque(asked["greedy"]))) | answers(fresh.answer(deque(asked["pairs"])))
    engines.close()
    try:
        engines.open(settings, asked["long"], {"cpu_cache_gib": 0.5})
    except UserError as error:
        found["too_long"] = str(error)
    found["children"] = len(psutil.Process().children(recursive=True))
    Path(sys.argv[2]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
