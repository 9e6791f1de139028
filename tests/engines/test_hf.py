from collections import deque

import pytest
import torch

from harness.engines.hf import HfEngine
from harness.engines.protocol import GenerateRequest, LoglikelihoodRequest, Sampling
from harness.errors import UserError
from harness.jobs import EngineSettings


@pytest.fixture(scope="module")
def engine(chat_models):
    return HfEngine(EngineSettings(name="hf"), chat_models["a"] / "model")


def answers(lots):
    return dict(answer for lot in lots for answer in lot)


def one_by_one(model_dir):
    return HfEngine(EngineSettings(name="hf"), model_dir, batch_size=1)


def test_batched_greedy_answers_are_those_of_transformers_generate(engine, greedy):
    model, tokenizer = engine._model, engine.tokenizer
    found = answers(engine.answer(deque(greedy)))
    for request in greedy:
        expected = model.generate(
            torch.tensor([request.prompt_ids]),
            attention_mask=torch.ones(1, len(request.prompt_ids), dtype=torch.long),
            max_new_tokens=request.sampling.max_new_tokens,
            do_sample=False,
        )[0, len(request.prompt_ids) :].tolist()
        ours = found[request.id]
        assert list(ours.token_ids) == expected[: len(ours.token_ids)]
        text = tokenizer.decode(expected, skip_special_tokens=True)
        ends = [at for stop in request.sampling.stop if (at := text.find(stop)) >= 0]
        assert ours.text == text[: min(ends, default=len(text))]


def test_answers_end_in_every_way(engine, greedy):
    found = answers(engine.answer(deque(greedy)))
    assert {answer.finish for answer in found.values()} == {"stop", "length"}
    assert any(answer.token_ids[-1] == engine.tokenizer.eos_token_id for answer in found.values())
    stopped = [request for request in greedy if request.sampling.stop and found[request.id].finish == "stop"]
    assert stopped
    for request in stopped:
        assert not any(stop in found[request.id].text for stop in request.sampling.stop)


def test_the_batch_changes_no_answer(engine, chat_models, greedy, sampled, pairs):
    alone = one_by_one(chat_models["a"] / "model")
    assert answers(alone.answer(deque(greedy + sampled))) == answers(engine.answer(deque(greedy + sampled)))
    batched, single = answers(engine.answer(deque(pairs))), answers(alone.answer(deque(pairs)))
    for i, answer in single.items():
        assert batched[i].greedy == answer.greedy
        assert batched[i].logprob == pytest.approx(answer.logprob, abs=1e-4)


def test_sampling_draws_from_the_nucleus_with_the_models_probabilities(engine, prompts):
    with torch.inference_mode():
        logits = engine._model(torch.tensor([prompts[0]])).logits[0, -1]
    probabilities = (logits / 0.7).softmax(-1)
    order = probabilities.argsort(descending=True)
    nucleus = order[: int((probabilities[order].cumsum(0) < 0.6).sum()) + 1]
    requests = [
        GenerateRequest(str(n), prompts[0], Sampling(1, temperature=0.7, top_p=0.6, seed=n)) for n in range(2000)
    ]
    drawn = [answer.token_ids[0] for answer in answers(engine.answer(deque(requests))).values()]
    assert set(drawn) <= set(nucleus.tolist())
    expected = probabilities[nucleus] / probabilities[nucleus].sum()
    for token, share in zip(nucleus.tolist(), expected.tolist(), strict=True):
        assert drawn.count(token) / len(drawn) == pytest.approx(share, abs=4.5 * (share * (1 - share) / 2000) ** 0.5)


def test_loglikelihood_is_the_sum_of_the_models_log_probabilities(engine, pairs):
    found = answers(engine.answer(deque(pairs)))
    for pair in pairs:
        ids = pair.context_ids + pair.continuation_ids
        with torch.inference_mode():
            logprobs = engine._model(torch.tensor([ids])).logits[0].log_softmax(-1)
        places = range(len(pair.context_ids) - 1, len(ids) - 1)
        assert found[pair.id].logprob == pytest.approx(sum(float(logprobs[p, ids[p + 1]]) for p in places), abs=1e-4)
        assert found[pair.id].greedy == all(int(logprobs[p].argmax()) == ids[p + 1] for p in places)


def test_the_greedy_continuation_is_recognised(engine, prompts):
    ((_, answer),) = next(engine.answer(deque([GenerateRequest("0", prompts[0], Sampling(5))])))
    right = LoglikelihoodRequest("right", prompts[0], answer.token_ids)
    wrong = LoglikelihoodRequest("wrong", prompts[0], (answer.token_ids[0] ^ 1, *answer.token_ids[1:]))
    found = answers(engine.answer(deque([right, wrong])))
    assert found["right"].greedy
    assert not found["wrong"].greedy


def test_what_does_not_fit_is_cut_on_the_left_and_counted(chat_models, prompts):
    short = HfEngine(EngineSettings(name="hf", max_length=24), chat_models["a"] / "model")
    prompt = prompts[0]
    cut = len(prompt) - (24 - 8)
    assert cut > 0
    found = answers(
        short.answer(
            deque([GenerateRequest("long", prompt, Sampling(8)), GenerateRequest("cut", prompt[cut:], Sampling(8))])
        )
    )
    assert found["long"].prompt_cut == cut
    assert found["cut"].prompt_cut == 0
    assert found["long"].token_ids == found["cut"].token_ids
    pair = LoglikelihoodRequest("pair", prompt, prompt[:4])
    ((_, scored),) = next(short.answer(deque([pair])))
    assert scored.prompt_cut == len(prompt) + 4 - 24


def test_an_answer_longer_than_the_context_is_refused(chat_models, prompts):
    short = HfEngine(EngineSettings(name="hf", max_length=24), chat_models["a"] / "model")
    with pytest.raises(UserError, match="answers of up to 24 tokens leave no prompt in a context of 24"):
        next(short.answer(deque([GenerateRequest("0", prompts[0], Sampling(24))])))
    with pytest.raises(UserError, match="leaves no room for its context in 24"):
        next(short.answer(deque([LoglikelihoodRequest("0", (1,), prompts[0][:1] * 24)])))


def test_a_context_longer_than_the_models_is_refused(chat_models):
    with pytest.raises(UserError, match="max_length is 2000; the model has 1024 positions"):
        HfEngine(EngineSettings(name="hf", max_length=2000), chat_models["a"] / "model")


@pytest.mark.parametrize(
    "wrong",
    [{"max_new_tokens": 0}, {"temperature": 0.5}, {"temperature": -1.0, "seed": 1}, {"top_p": 0.0}, {"stop": ("",)}],
)
def test_impossible_sampling_is_refused(wrong):
    with pytest.raises(ValueError, match="sampl"):
        Sampling(**{"max_new_tokens": 4, **wrong})


def test_a_special_token_can_be_a_stop_text_and_never_shows(engine, prompts):
    eos = engine.tokenizer.eos_token
    request = GenerateRequest("0", prompts[1], Sampling(200, stop=(eos,)))
    ((_, answer),) = next(engine.answer(deque([request])))
    assert eos not in answer.text
    named = [token for token in engine.tokenizer.all_special_tokens if token in answer.text]
    assert named == []


def test_an_extra_end_token_ends_the_answer(engine, prompts):
    ((_, plain),) = next(engine.answer(deque([GenerateRequest("0", prompts[2], Sampling(6))])))
    end = plain.token_ids[2]
    ((_, ended),) = next(engine.answer(deque([GenerateRequest("0", prompts[2], Sampling(6, end_ids=(end,)))])))
    assert ended.token_ids == plain.token_ids[: plain.token_ids.index(end) + 1]
    assert ended.finish == "stop"
