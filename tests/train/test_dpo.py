"""Preference pairs: the loss by hand, in plain torch and beside TRL's trainer, and that no layout changes it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from harness.api import Part, dpo
from harness.data.chat import Renderer
from harness.errors import UserError
from harness.train import network
from harness.train.batches import by_examples
from harness.train.microbatch import MicroBatch

BETA = 0.3
SETTINGS = {"mixture": ("pairs",), "objective": "dpo", "lr": 3e-3, "epochs": 1.5, "batch_size": 8, "warmup": 0.1}
STEPS, WARMUP = 8, 1


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


# --- the loss --------------------------------------------------------------------------------------------------------


def test_the_loss_of_a_pair_by_hand():
    # The chosen answer has become 2 nats likelier and the rejected one 3 nats less likely: -log sigmoid(0.1 * 5).
    found = dpo(0.1).per_pair(torch.tensor([-2.0, 1.0]), torch.tensor([3.0, 1.0]))
    assert found.tolist() == pytest.approx([math.log(1 + math.exp(-0.5)), math.log(2)])


nats = st.floats(-50, 50)


@given(nats, nats, st.sampled_from((0.01, 0.1, 0.5)))
def test_a_pair_and_its_reverse_differ_by_the_margin(chosen, rejected, beta):
    one, other = torch.tensor([chosen], dtype=torch.float64), torch.tensor([rejected], dtype=torch.float64)
    there, back = dpo(beta).per_pair(one, other), dpo(beta).per_pair(other, one)
    assert there.item() > 0
    assert (there - back).item() == pytest.approx(beta * (chosen - rejected), abs=1e-9)


@given(st.lists(st.integers(1, 6), min_size=0, max_size=8).filter(lambda lengths: len(lengths) % 2 == 0), st.booleans())
def test_values_are_summed_over_each_conversation_of_a_pair(lengths, padded):
    ids = [np.arange(n, dtype=np.int32) for n in lengths]
    parts = [np.full(n, Part.RESPONSE, np.uint8) for n in lengths]
    weights = [np.full(n, 10**i, np.float32) for i, n in enumerate(lengths)]
    batch = MicroBatch.of(ids, parts, weights, padded=padded)
    chosen, rejected = batch.pairs(batch.weights)
    sums = [float(n * 10**i) for i, n in enumerate(lengths)]
    assert (chosen.tolist(), rejected.tolist()) == (sums[::2], sums[1::2])


# --- beside plain torch and TRL --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizer(base):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base / "model")


@pytest.fixture(scope="module")
def in_order(make, tokenizer):
    """The pairs as (prompt, chosen, rejected) tokens, in the order in which a stage of `SETTINGS` takes them."""
    renderer = Renderer(tokenizer)

    def split(example):
        rendered = renderer.render(example)
        answer = [i for i, part in enumerate(rendered.parts) if part == Part.RESPONSE]
        return rendered.ids[: answer[0]], rendered.ids[answer[0] : answer[-1] + 1]

    found = []
    for example in make.sources["pairs"].location.make():
        answer = replace(example.messages[-1], content=example.rejected)
        (prompt, chosen), (same, rejected) = (
            split(example),
            split(replace(example, messages=(*example.messages[:-1], answer))),
        )
        assert prompt == same
        found.append((prompt, chosen, rejected))
    return [found[i] for i in by_examples(len(found), 60, seed=0)]


def likelihoods(model, answers):
    """Of each answer given its prompt, in nats, from whole logits of one conversation at a time."""
    found = []
    for prompt, answer in answers:
        ids = torch.tensor([[*prompt, *answer]])
        logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1]
        found.append(-cross_entropy(logits, ids[0, len(prompt) :], reduction="sum"))
    return torch.stack(found)


def test_a_stage_equals_a_loop_in_plain_torch(make, base, stage, in_order):
    _, folder = stage(loss=dpo(BETA), **SETTINGS)
    model, reference = (network.load(base / "model", None) for _ in range(2))
    optimiser, expected = torch.optim.AdamW(model.parameters(), weight_decay=0.0), []
    for step in range(STEPS):
        optimiser.param_groups[0]["lr"] = 3e-3 * (step if step < WARMUP else (STEPS - step) / (STEPS - WARMUP))
        pairs = in_order[8 * step : 8 * step + 8]
        moved = []
        for answers in ([(p, c) for p, c, _ in pairs], [(p, r) for p, _, r in pairs]):
            with torch.no_grad():
                before = likelihoods(reference, answers)
            moved.append(likelihoods(model, answers) - before)
        loss = torch.log1p(torch.exp(-BETA * (moved[0] - moved[1]))).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        expected.append(loss.item())
    assert expected[0] == pytest.approx(math.log(2))
    assert min(expected) < 0.6  # it learns, or equal losses would say nothing
    assert losses(folder) == pytest.approx(expected, abs=1e-5)
    for name, tensor in make.weights(folder).items():
        torch.testing.assert_close(tensor, model.state_dict()[name], atol=1e-5, rtol=0)


def test_a_stage_equals_trls_trainer(make, base, stage, in_order, tokenizer):
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    class InOurOrder(DPOTrainer):
        """Takes tokens as they are, in the order given."""

        def _prepare_dataset(self, dataset, *_):
            return dataset

        def _get_train_sampler(self, dataset):
            return torch.utils.data.SequentialSampler(dataset)

    _, folder = stage(loss=dpo(BETA), **SETTINGS)
    columns = ("prompt_ids", "chosen_ids", "rejected_ids")
    rows = Dataset.from_list([dict(zip(columns, map(list, pair), strict=True)) for pair in in_order])
    args = DPOConfig(
        output_dir=str(folder / "trl"),
        beta=BETA,
        max_steps=STEPS,
        per_device_train_batch_size=8,
        learning_rate=3e-3,
        warmup_steps=WARMUP,
        optim="adamw_torch_fused",
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    models = [network.load(base / "model", None) for _ in range(2)]
    trainer = InOurOrder(*models, args, train_dataset=rows, processing_class=tokenizer)
    trainer.train()
    told = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert losses(folder) == pytest.approx(told, abs=1e-4)  # it rounds what it logs
    for name, tensor in make.weights(folder).items():
        torch.testing.assert_close(tensor, trainer.model.state_dict()[name], atol=1e-5, rtol=0)


# --- layouts and data ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "micro_tokens"), [("packed", 64), ("packed", 1024), ("grouped", 128), ("padded", 300)]
)
def test_no_layout_changes_a_stage(make, stage, layout, micro_tokens):
    outcome, whole = stage("whole", loss=dpo(), **SETTINGS)
    other, folder = stage("other", loss=dpo(), layout=layout, runtime={"micro_tokens": micro_tokens}, **SETTINGS)
    close = {name: pytest.approx(outcome["result"][name], abs=1e-5) for name in ("first_loss", "final_loss")}
    assert other["result"] == {**outcome["result"], **close}
    assert losses(folder) == pytest.approx(losses(whole), abs=1e-5)
    for name, tensor in make.weights(folder).items():
        torch.testing.assert_close(tensor, make.weights(whole)[name], atol=1e-5, rtol=0)


def test_the_reduction_of_tokens_does_not_concern_pairs(stage):
    one, _ = stage("token", loss=dpo(), loss_reduction="token", **SETTINGS)
    other, _ = stage("example", loss=dpo(), loss_reduction="example", **SETTINGS)
    assert one["result"] == other["result"]


def test_pairs_whose_answers_are_cut_away_are_dropped_and_counted(stage, in_order):
    prompts = [len(prompt) for prompt, _, _ in dict.fromkeys(in_order)]
    assert len(prompts) == 40
    limit = sorted(prompts)[25]
    outcome, _ = stage(loss=dpo(), **{**SETTINGS, "epochs": 1, "max_length": limit})
    dropped = sum(prompt >= limit for prompt in prompts)
    assert 0 < dropped < 40
    assert (outcome["result"]["dropped"], outcome["result"]["examples"]) == (dropped, 40 - dropped)


def test_rows_without_a_rejected_answer_are_refused(stage):
    with pytest.raises(UserError, match="example 1-0 is no preference pair"):
        stage(loss=dpo(), **{**SETTINGS, "mixture": ("first",)})


def test_another_objective_learns_the_chosen_answers(make, stage):
    source = make.sources["pairs"]
    chosen = [replace(example, rejected=None) for example in source.location.make()]
    alone = {"pairs": replace(source, location=replace(source.location, make=lambda: iter(chosen)))}
    one, _ = stage("pairs", mixture=("pairs",))
    other, _ = stage("chosen", mixture=("pairs",), sources=alone)
    assert one["result"] == other["result"]
