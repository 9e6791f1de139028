from __future__ import annotations

import json
import math
import os
import random
import shutil

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812
from transformers import AutoModelForCausalLM, AutoTokenizer, get_scheduler

from harness.api import Loss, Part, token_loss
from harness.data.chat import Renderer
from harness.errors import Failure, UserError
from harness.jobs import CHECKPOINTS, CORPUS, Budget, StageBudget
from harness.train.batches import by_examples


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def train_by_hand(make, base, seed, *, lr, epochs, batch_size, schedule, warmup, clip, weight_decay):
    """The same stage in plain torch: every example alone, whole logits, one division per step."""
    network = AutoModelForCausalLM.from_pretrained(base / "model", attn_implementation="eager").train()
    renderer = Renderer(AutoTokenizer.from_pretrained(base / "model"))
    rendered = [renderer.render(example) for example in make.sources["first"].location.make()]
    order = by_examples(len(rendered), len(rendered) * epochs, seed)
    steps = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    norms = {name for name, _ in network.named_parameters() if "norm" in name}
    groups = [
        {"params": [p for n, p in network.named_parameters() if n not in norms], "weight_decay": weight_decay},
        {"params": [p for n, p in network.named_parameters() if n in norms], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=lr)
    scheduler = get_scheduler(schedule, optimizer, math.ceil(warmup * len(steps)), len(steps))
    lines = []
    for chosen in steps:
        total = mass = torch.zeros(())
        for row in (rendered[i] for i in chosen):
            ids = torch.tensor([row.ids])
            weights = torch.tensor([float(part is Part.RESPONSE) for part in row.parts])[1:]
            losses = F.cross_entropy(network(input_ids=ids).logits[0, :-1], ids[0, 1:], reduction="none")
            total, mass = total + (losses * weights).sum(), mass + weights.sum()
        (total / mass).backward()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), clip)
        lines.append(
            {"loss": float((total / mass).detach()), "lr": scheduler.get_last_lr()[0], "grad_norm": float(norm)}
        )
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    return network.state_dict(), lines


@pytest.mark.parametrize("micro_tokens", [50, 100_000])
def test_a_stage_equals_a_loop_in_plain_torch(make, base, stage, micro_tokens):
    settings = {"lr": 3e-3, "epochs": 2, "batch_size": 7, "warmup": 0.2, "clip": 1.0, "weight_decay": 0.1}
    outcome, folder = stage(runtime={"micro_tokens": micro_tokens}, schedule="cosine", seed=3, **settings)
    wanted, lines = train_by_hand(make, base, 3, schedule="cosine", **settings)
    found = metrics(folder)
    assert len(found) == len(lines) == outcome["result"]["steps"] == 12
    for ours, by_hand in zip(found, lines, strict=True):
        assert {name: ours[name] for name in by_hand} == pytest.approx(by_hand, abs=2e-5, rel=1e-5)
    for name, tensor in make.weights(folder).items():
        torch.testing.assert_close(tensor, wanted[name], atol=1e-4, rtol=0, msg=name)


def test_the_result_says_what_was_trained_on(stage):
    outcome, folder = stage(mixture=("first", "second"), epochs=1.5, max_length=20)
    result, lines = outcome["result"], metrics(folder)
    assert result["examples"] == sum(counts["examples"] for counts in result["datasets"].values())
    assert result["examples"] == (64 - result["dropped"]) * 1.5
    assert result["tokens"] == sum(counts["tokens"] for counts in result["datasets"].values()) == lines[-1]["tokens"]
    assert result["scored_tokens"] == sum(counts["scored_tokens"] for counts in result["datasets"].values())
    assert 0 < result["scored_tokens"] < result["tokens"]
    assert result["truncated"] > result["dropped"] > 0
    assert [line["step"] for line in lines] == list(range(1, result["steps"] + 1))
    assert result["steps"] == math.ceil(result["examples"] / 8)
    assert (result["first_loss"], result["final_loss"]) == (lines[0]["loss"], lines[-1]["loss"])
    assert result["final_loss"] < result["first_loss"]
    assert outcome["measured"]["attention"] == "segment-sdpa"


def test_the_model_left_behind_is_complete(base, stage):
    _, folder = stage(keep=(0.5, 1.0))
    for left in ("model", "kept/0.5/model"):
        network = AutoModelForCausalLM.from_pretrained(folder / left)
        tokenizer = AutoTokenizer.from_pretrained(folder / left)
        assert tokenizer.chat_template == AutoTokenizer.from_pretrained(base / "model").chat_template
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": "red"}], return_tensors="pt", return_dict=True
        )
        assert network.generate(**prompt, max_new_tokens=2, do_sample=False).shape[1] > prompt["input_ids"].shape[1]
    left = {path.name for path in folder.iterdir()} - {CHECKPOINTS, CORPUS}
    assert left == {"curves", "kept", "metrics.jsonl", "model"}


def test_shares_that_end_at_the_same_step_are_all_kept(stage):
    _, folder = stage(epochs=1, keep=(0.4, 0.41, 0.42, 1.0))
    assert sorted(path.name for path in (folder / "kept").iterdir()) == ["0.4", "0.41", "0.42"]


def test_a_tied_head_is_written_once(make, stage, tmp_path):
    make.prepare(tmp_path / "tied", tie_word_embeddings=True)
    _, folder = stage(start=tmp_path / "tied", epochs=1, dtype="bfloat16")
    assert make.weights(folder).keys() == make.weights(tmp_path / "tied").keys()
    assert {tensor.dtype for tensor in make.weights(folder).values()} == {torch.bfloat16}
    network = AutoModelForCausalLM.from_pretrained(folder / "model")
    assert network.lm_head.weight is network.model.embed_tokens.weight


def test_equal_declarations_give_equal_bytes_and_other_seeds_do_not(make, stage):
    (one, first), (two, second), (_, third) = stage("a"), stage("b"), stage("c", seed=1)
    assert one["result"] == two["result"]
    assert (first / "metrics.jsonl").read_bytes() == (second / "metrics.jsonl").read_bytes()
    for name, tensor in make.weights(first).items():
        assert torch.equal(tensor, make.weights(second)[name])
    assert not torch.equal(make.weights(first)["lm_head.weight"], make.weights(third)["lm_head.weight"])


def test_a_stage_goes_on_from_another(stage):
    outcome, folder = stage("one")
    following, _ = stage("two", start=folder)
    assert following["result"]["first_loss"] < outcome["result"]["first_loss"]


@pytest.mark.parametrize("reduction", ["token", "example"])
def test_the_trainer_divides_by_the_whole_step(stage, monkeypatch, reduction):
    from harness.train.loop import StageTrainer

    taken = []
    original = StageTrainer._get_num_items_in_batch

    def watched(trainer, samples, device):
        total = original(trainer, samples, device)
        taken.append((samples, float(total)))
        return total

    monkeypatch.setattr(StageTrainer, "_get_num_items_in_batch", watched)
    outcome, _ = stage(runtime={"micro_tokens": 40}, loss_reduction=reduction, epochs=1, batch_size=16)
    assert [len(samples) for samples, _ in taken] == [len(taken[0][0])] * outcome["result"]["steps"]
    assert len(taken[0][0]) > 3
    for samples, total in taken:
        mass = sum(float(sample.weights.sum()) for sample in samples)
        examples = sum(int(sample.segments.max()) + 1 for sample in samples)
        assert total == pytest.approx(mass if reduction == "token" else examples)
        assert [sample.first for sample in samples] == [True] + [False] * (len(samples) - 1)


def test_the_example_mean_differs_from_the_token_mean(stage):
    (one, _), (two, _) = stage("token"), stage("example", loss_reduction="example")
    assert one["result"]["first_loss"] != two["result"]["first_loss"]
    assert one["result"]["scored_tokens"] == two["result"]["scored_tokens"]


def budget(make, unit, *stages):
    return Budget(
        unit=unit,
        stages=tuple(
            StageBudget(mixture=(make.item(name),), epochs=epochs, batch_size=size, max_length=64)
            for name, epochs, size in stages
        ),
    )


def test_a_matched_stage_trains_as_long_as_the_others_together(make, stage):
    stages = (("first", 1.5, 10), ("second", 2, 5))
    plain = {
        name: stage(f"plain-{name}", mixture=(name,), epochs=1)[0]["result"]["tokens"] for name in ("first", "second")
    }
    results = {
        unit: stage(unit, mixture=("first", "second"), budget=budget(make, unit, *stages))[0]["result"]
        for unit in ("examples", "steps", "tokens")
    }
    assert results["examples"]["examples"] == 60 + 48
    assert results["steps"]["steps"] == 6 + 10
    wanted = math.floor(plain["first"] * 1.5) + plain["second"] * 2
    assert wanted <= results["tokens"]["tokens"] < wanted + 64


def test_nothing_of_the_process_is_changed(stage):
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    before = torch.get_num_threads(), random.getstate(), torch.get_rng_state(), dict(os.environ)
    numpy_before = np.random.get_state()[1].tolist()  # noqa: NPY002
    stage(runtime={"threads": 2}, dtype="bfloat16")
    assert torch.get_num_threads() == before[0]
    assert random.getstate() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
    assert np.random.get_state()[1].tolist() == numpy_before  # noqa: NPY002
    assert dict(os.environ) == before[3]
    assert not torch.are_deterministic_algorithms_enabled()


def test_stages_of_different_precision_share_a_process(make, stage):
    _, folder = stage("half", dtype="bfloat16")
    assert {tensor.dtype for tensor in make.weights(folder).values()} == {torch.bfloat16}
    assert json.loads((folder / "model" / "config.json").read_text())["dtype"] == "bfloat16"
    _, folder = stage("single")
    assert {tensor.dtype for tensor in make.weights(folder).values()} == {torch.float32}


def test_progress_ends_at_the_total(stage):
    seen = []
    outcome, _ = stage(progress=seen.append)
    assert (seen[-1].done, seen[-1].total, seen[-1].unit) == (outcome["result"]["steps"],) * 2 + ("step",)
    assert "tok/s" in seen[-1].note
    assert seen[0].unit == "example"


def test_a_reference_is_the_base_and_stays_as_it_is(make, stage):
    _, start = stage("start")

    def towards_base(model, batch, references):
        return model.token_nll(batch) + (model.token_nll(batch) - references["base"].token_nll(batch)).abs()

    loss = Loss(weights=make.loss.weights, per_token=towards_base, references=("base",))
    same, _ = stage("from-base", loss=loss)
    plain, _ = stage("plain")
    assert same["result"]["first_loss"] == pytest.approx(plain["result"]["first_loss"], abs=1e-6)
    moved, _ = stage("from-start", loss=loss, start=start)
    plain, _ = stage("plain-from-start", start=start)
    assert moved["result"]["first_loss"] > plain["result"]["first_loss"] + 0.1


def test_a_diverging_loss_is_named(stage):
    with pytest.raises(Failure, match=r"the loss is (nan|inf) at step \d+ .*lower train.lr"):
        stage(lr=1e30, clip=0, warmup=0)


def test_data_that_scores_nothing_is_refused(stage):
    with pytest.raises(UserError, match="none of the 40 examples of first"):
        stage(loss=token_loss(lambda batch: batch.is_part(Part.PAD)))


def test_examples_beyond_the_models_context_are_refused(make, stage, tmp_path):
    make.prepare(tmp_path / "short", max_position_embeddings=16)
    with pytest.raises(UserError, match=r"context 16 .*train.max_length=16"):
        stage(start=tmp_path / "short")


def test_settings_of_generation_travel_even_where_transformers_would_not_save_them(base, stage, tmp_path):
    start = tmp_path / "start"
    shutil.copytree(base, start)
    settings = start / "model" / "generation_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "do_sample": False, "temperature": 0.5}))
    _, folder = stage(start=start)
    assert (folder / "model" / settings.name).read_text() == settings.read_text()


@pytest.mark.parametrize(
    ("name", "value"), [("ACCELERATE_MIXED_PRECISION", "bf16"), ("ACCELERATE_DYNAMO_BACKEND", "X")]
)
def test_variables_of_accelerate_decide_nothing(stage, monkeypatch, name, value):
    wanted, _ = stage("without")
    monkeypatch.setenv(name, value)
    outcome, _ = stage("with")
    assert outcome["result"] == wanted["result"]
    assert os.environ[name] == value
