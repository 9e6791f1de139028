"""What the package `alpaca_eval` does: prompts, order, parsers, win rates. It is imported on first use, and tamed."""

from __future__ import annotations

import csv
import io
import logging
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal
from unittest.mock import patch

from harness.api import JudgePrompt, JudgeReply, Message, Rows, UserError

Annotator = Literal["alpaca_eval_gpt4", "weighted_alpaca_eval_gpt4_turbo"]
"""alpaca_eval's name for a judge's prompt, how its reply is drawn, and how it is read."""

PLACES = re.compile(r"\{(instruction|output_1|output_2)\}")
FEATURES = {"index", "instruction_difficulty", "std_delta_len", "preference", "not_gamed_baseline"}
"""Columns that length control reads."""


@dataclass(frozen=True)
class Pair:
    """An instruction and two answers to it."""

    instruction: str
    reference: str
    answer: str


class SeededJudge:
    """One of alpaca_eval's annotators."""

    def __init__(self, name: Annotator) -> None:
        library = _library()
        # Without its cache, which is a file in alpaca_eval's own folder that knows a judge by the annotator's name.
        pool = library.annotators.PairwiseAnnotator(
            annotators_config=name, caching_path=None, is_avoid_reannotations=False
        )
        self._name = name
        self._own = pool.annotators[name]
        (self._order,) = self._own.processors
        self._first: dict[str, bool] = {}
        self._turns = library.utils.prompt_to_chatml(self._own.prompt_template)

    def puts_answer_first(self, instruction: str, others: Iterable[str] = ()) -> bool:
        """Whether the model's answer stands before the reference's: drawn by a seed made of the instruction.

        `others` will be asked for too: drawn all at once they take no time.
        """
        import pandas as pd

        if instruction not in self._first:
            texts = list(dict.fromkeys((instruction, *others)))
            rows = pd.DataFrame({"instruction": texts, "output_1": "reference", "output_2": "answer"})
            drawn = self._order.preprocess(rows)["output_1"] == "answer"
            self._first |= dict(zip(texts, map(bool, drawn), strict=True))
        return self._first[instruction]

    def prompt(self, pair: Pair, *, answer_first: bool) -> JudgePrompt:
        """The judgment to buy. Its value is the preference: from 1, the reference's answer, to 2, the model's."""
        first, second = (pair.answer, pair.reference) if answer_first else (pair.reference, pair.answer)
        texts = {"instruction": pair.instruction, "output_1": first, "output_2": second}

        def parse(reply: JudgeReply) -> float | None:
            preference = self._preference(reply)
            return 3 - preference if answer_first and preference is not None else preference

        drawing = self._own.completions_kwargs
        return JudgePrompt(
            # In one pass, so that an answer which spells a place or a turn's mark of the prompt stays an answer.
            tuple(
                Message(turn["role"], PLACES.sub(lambda place: texts[place[1]], turn["content"]))
                for turn in self._turns
            ),
            parse,
            max_tokens=drawing["max_tokens"],
            temperature=drawing["temperature"],
            top_logprobs=drawing.get("top_logprobs"),
            revision=f"{self._name}-1",
        )

    def _preference(self, reply: JudgeReply) -> float | None:
        """From 1, what stood first is better, to 2; None for a reply without a verdict."""
        completion: Any = reply.text
        if self._own.completion_key == "completions_all":
            likely = [[{"token": token, "logprob": p} for token, p in tokens] for tokens in reply.logprobs]
            completion = {"logprobs": {"content": [{"top_logprobs": tokens} for tokens in likely]}}
        try:
            (preference,) = self._own.fn_completion_parser(completion)
        except Exception:  # noqa: BLE001 -- whatever these parsers raise says that there is no verdict
            return None
        return float(preference) if 1 <= preference <= 2 else None  # noqa: PLR2004 -- NaN is in no range


@cache
def annotator(name: Annotator) -> SeededJudge:
    """The annotator of that name."""
    return SeededJudge(name)


def win_rate(preferences: Sequence[float]) -> Mapping[str, float]:
    """alpaca_eval's `win_rate`, `standard_error` (percent), `n_wins` and so on; empty for no preferences."""
    if not preferences:
        return {}
    found = _library().metrics.get_winrate([{"preference": preference} for preference in preferences])
    return {name: float(value) for name, value in found.items()}


def length_controlled(preferences: Sequence[float], pairs: Sequence[Pair], gamed: Rows) -> list[float]:
    """What each preference less 1 would be at equal length (arXiv:2404.04475), in the order of the instructions.

    `gamed` are the rows of the hub's `df_gamed.csv`. Raises UserError for others.
    """
    if not gamed or not set(gamed[0]) >= FEATURES | {"model"} or len({row["index"] for row in gamed}) != len(pairs):
        raise UserError("what is there as df_gamed.csv is not AlpacaEval's", "fetch the file again")
    import pandas as pd
    import sklearn

    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, fieldnames=[*gamed[0]])
    writer.writeheader()
    writer.writerows(gamed)
    table.seek(0)
    frame = pd.DataFrame(
        {
            "preference": preferences,
            "output_1": [pair.reference for pair in pairs],
            "output_2": [pair.answer for pair in pairs],
            "generator_1": "reference",
            "generator_2": "model",
        }
    )
    metrics = _library().metrics
    with (
        patch.object(metrics.glm_winrate, "hf_hub_download", lambda **_: table),  # it would fetch whatever is newest
        sklearn.config_context(),  # it changes a setting of the process
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", FutureWarning)  # it calls scikit-learn as it was
        # Weights are kept nowhere: the place it has for them is its own folder.
        metrics.get_length_controlled_winrate(frame, save_weights_dir=None, is_warn_extreme_changes=False)
    return [float(win) for win in frame["glm_preference"]]


# --- its import ----------------------------------------------------------------------------------------------------


@cache
def _library() -> Any:
    """The package, without what it does to a process that imports it."""
    with _contained():
        import alpaca_eval
        from alpaca_eval import annotators, metrics, utils  # noqa: F401 -- as attributes of the package
        from alpaca_eval.metrics import glm_winrate  # noqa: F401 -- which it leaves out in silence where it fails
    # Through the root logger it would set up logging for the whole process, and print every reply it cannot read.
    own = logging.getLogger("alpaca_eval")
    own.disabled = True
    for name, module in sys.modules.copy().items():
        if name.startswith("alpaca_eval.") and getattr(module, "logging", None) is logging:
            module.logging = own  # type: ignore[attr-defined]
    return alpaca_eval


@contextmanager
def _contained() -> Iterator[None]:
    """It loads the nearest .env file, wants the user's name, sets the root logger's level and warns."""
    root = logging.getLogger()
    level = root.level
    with (
        patch("dotenv.load_dotenv", lambda *_, **__: False),
        patch("getpass.getuser", lambda: ""),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            yield
        except ImportError as error:
            raise UserError(
                f"alpaca_eval cannot be imported: {error}", "pip install 'instruct-harness[judges]' 'setuptools<81'"
            ) from None
        finally:
            root.setLevel(level)
