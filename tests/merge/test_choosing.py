"""Greedy soups: who joins, by numbers worked out by hand and by real models' losses."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.api import Average, Combination, DataSource, Files, HeldOutLoss, MergeNeed, PairColumns
from harness.context import Context
from harness.jobs import DataDeclaration, MixtureItem
from harness.merge.choosing import SCORES, choose, of_stages
from harness.merge.stream import Member, Merging
from harness.train.scoring import conversations, response_loss

ROWS = [{"prompt": f"Add {n} and {n}.", "completion": f"{2 * n}"} for n in range(6)]


def asked(losses) -> HeldOutLoss:
    return lambda stages: losses["".join(stages)]


def test_a_model_joins_where_the_mean_gets_better(combination):
    soup = combination("soup", "abcd")
    losses = {"a": 3.0, "b": 1.0, "c": 2.0, "d": 4.0}
    # in the order b, c, a, d: c helps, a does not, d does
    losses |= {"bc": 0.9, "bca": 0.95, "bcd": 0.8}
    assert soup.members(asked(losses)) == ["b", "c", "d"]


def test_a_model_that_changes_nothing_does_not_join(combination):
    soup = combination("soup", "ab")
    assert soup.members(asked({"a": 1.0, "b": 1.0, "ab": 1.0})) == ["a"]


def test_weights_keep_their_proportions():
    some = of_stages(Average(("a", "b", "c"), (Fraction(1, 2), Fraction(1, 3), Fraction(1, 6))), ["c", "a"])
    assert some == Average(("c", "a"), (Fraction(1, 4), Fraction(3, 4)))


@pytest.fixture
def rows(chat_models, tmp_path):
    (tmp_path / "held.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    context = Context(tmp_path, {}, {"threads": 1}, lambda _: None)
    source = DataSource(Files((str(tmp_path / "held.jsonl"),)), PairColumns())
    item = MixtureItem(data=DataDeclaration(name="held", source={}))
    return conversations([item], {"held": source}, 256, chat_models["a"] / "model", context), context


def test_the_loss_is_that_of_transformers(chat_models, rows):
    folder = chat_models["a"] / "model"
    tokenizer, network = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    total = tokens = 0
    for row in ROWS:
        turns = [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]}]
        whole = tokenizer.apply_chat_template(turns, return_dict=False)
        start = len(tokenizer.apply_chat_template(turns[:1], add_generation_prompt=True, return_dict=False))
        end = max(place for place, token in enumerate(whole) if token == tokenizer.eos_token_id) + 1
        with torch.no_grad():
            logits = network(torch.tensor([whole])).logits[0, start - 1 : end - 1]
        total += float(torch.nn.functional.cross_entropy(logits, torch.tensor(whole[start:end]), reduction="sum"))
        tokens += end - start
    assert response_loss(folder, *rows) == pytest.approx(total / tokens, rel=1e-5)


def test_every_candidate_is_merged_scored_and_written_down_once(chat_models, rows, combination):
    selection, context = rows
    members = tuple(Member(name, chat_models[name] / "model") for name in "ab")
    soup = Merging(combination("soup", "ab"), members)
    choice = choose(soup, selection, context)
    alone = {(name,): response_loss(chat_models[name] / "model", selection, context) for name in "ab"}
    assert {stages: loss for stages, loss in choice.losses.items() if len(stages) == 1} == alone
    (both,) = (stages for stages in choice.losses if len(stages) == 2)
    best = min(alone, key=alone.get)
    assert both[:1] == best
    kept = both if choice.losses[both] < alone[best] else best
    assert choice.combination.stages == kept
    assert {tuple(one["stages"]): one["loss"] for one in choice.told()} == choice.losses
    assert not list(context.folder.glob("candidate-*"))

    written = json.loads((context.folder / SCORES).read_text())
    for one in written:  # what is on disk is not computed again
        one["loss"] = {best: 1.0, both: 0.5}.get(tuple(one["stages"]), 2.0)
    (context.folder / SCORES).write_text(json.dumps(written))
    again = choose(soup, selection, context)
    assert again.combination.stages == both
    assert set(again.losses.values()) == {0.5, 1.0, 2.0}


@dataclass(frozen=True)
class Jittered(Combination):
    """The first model and noise, weighed by its Fisher information; of all stages but the last."""

    needs: ClassVar[frozenset[MergeNeed]] = frozenset({"seed"})

    def members(self, loss):
        loss(self.stages[:-1])
        return self.stages[:-1]

    def combine(self, parameter, survey):  # noqa: ARG002 (of the base class)
        noise = torch.randn(parameter.tensors[0].shape, generator=parameter.generator)
        return parameter.tensors[0].add_(noise.mul_(parameter.fisher[0]))


def test_candidates_are_merged_as_the_chosen_one_will_be(chat_models, rows, tmp_path, read_model, write_model):
    """The candidate's loss is that of the model which the same merge writes, with its seed and Fisher information."""
    selection, context = rows
    folder = chat_models["a"] / "model"
    small = {name: torch.full_like(tensor, 1e-2) for name, tensor in read_model(folder).items()}
    write_model(tmp_path / "fisher", small)
    members = tuple(Member(name, folder) for name in "ab")
    for seed in (1, 2):
        whole = Merging(Jittered(("a", "b")), members, None, seed, dict.fromkeys("ab", tmp_path / "fisher"))
        (context.folder / SCORES).unlink(missing_ok=True)
        chosen = choose(whole, selection, context)
        assert chosen.combination == Jittered(("a",))
        target = tmp_path / f"out-{seed}"
        target.mkdir()
        replace(whole, combination=chosen.combination, members=members[:1]).write(target)
        assert chosen.losses == {("a",): response_loss(target, selection, context)}
        assert chosen.losses["a",] != response_loss(folder, selection, context)


@pytest.fixture
def astray(chat_models, tmp_path):
    """A model's folder with a weight that is no number."""
    folder = Path(shutil.copytree(chat_models["b"] / "model", tmp_path / "astray"))
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][3] = torch.nan
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_a_model_whose_loss_is_no_number_is_named(astray, chat_models, rows, combination, refused):
    selection, context = rows
    members = (Member("a", astray), Member("b", chat_models["b"] / "model"))
    assert refused(choose, Merging(combination("soup", "ab"), members), selection, context) == (
        "the loss of a on the held-out data is nan (its training has gone astray: lower train.lr, or leave it out)"
    )
    assert not (context.folder / SCORES).exists()
