"""`harness merge`: what is typed, what is printed, what lies there afterwards."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch
import yaml
from typer.testing import CliRunner

from harness.cli.app import app
from harness.errors import UserError
from harness.merge.direct import Request, Told


@pytest.fixture
def place(tmp_path, monkeypatch, write_model, tensors_of):
    """The working folder, with the models `one`, `two` and `base` in it."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("one", "two", "base")):
        write_model(tmp_path / name, tensors_of(seed), seed + 1)
    return tmp_path


@pytest.fixture
def harness(monkeypatch):
    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["harness", *arguments])
        done = CliRunner().invoke(app, arguments)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.output

    return run


def test_the_mean_of_two_models(harness, place, read_model, tensors_of):
    said = harness("merge", "one", "two", "--out", "made", "--set", "average.weights=[3,1]")
    assert said.splitlines() == [
        "average of 2 models",
        "     3/4  one",
        "     1/4  two",
        "55 parameters in made; its README.md says of what they were made",
    ]
    found = read_model(place / "made")
    torch.testing.assert_close(found["bias"], 0.75 * tensors_of(0)["bias"] + 0.25 * tensors_of(1)["bias"])
    assert json.loads((place / "made" / "config.json").read_text()) == {"folder": "one"}


def test_the_card_says_where_the_model_comes_from(harness, place):
    said = harness("merge", "one", "two", "-m", "ties", "-b", "base", "-s", "ties.density=0.5", "-o", "made/ties")
    assert "    base  base" in said.splitlines()
    _, front, card = (place / "made" / "ties" / "README.md").read_text().split("---\n")
    assert yaml.safe_load(front) == {"library_name": "transformers", "tags": ["merge", "instruct-harness"]}
    weights = place / "one" / "model-00001-of-00001.safetensors"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert f"| one | 1/2 | {weights.name} {digest} |" in card
    assert "| base | base | model-00001-of-00003.safetensors " in card
    assert "the plug-in `ties` 1.0 (arXiv:2306.01708)" in card
    assert "  density: 1/2\n" in card
    assert "harness merge one two -m ties -b base -s ties.density=0.5 -o made/ties" in card


def test_a_seed_is_written_down(harness, place, read_model):
    for seed in "12":
        harness("merge", "one", "two", "-m", "dare", "-b", "base", "--seed", seed, "-o", f"made{seed}")
        assert f"seed: {seed}\n" in (place / f"made{seed}" / "README.md").read_text()
    assert not torch.equal(read_model(place / "made1")["bias"], read_model(place / "made2")["bias"])


def test_a_finished_job_is_a_model(harness, place, read_model, tensors_of, write_model):
    write_model(place / "job" / "model", tensors_of(5))
    harness("merge", "job", "-m", "slerp", "--base", "base", "-s", "slerp.t=1", "-o", "made")
    assert torch.equal(read_model(place / "made")["bias"], tensors_of(5)["bias"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("one", "two", "-o", "base"), "base exists already (name another folder with --out, or remove it)"),
        (("one", "one", "-o", "made"), "one is named twice (let it weigh more: --set average.weights=[2,1])"),
        (("one", "./three", "-o", "made"), ("there is no model folder ./three (name a folder with config.json, "
         "or a hub id)")),
        (("one", "two", "-m", "ties", "-o", "made"), ("ties compares with what the models were trained from "
         "(name it: --base MODEL)")),
        (("one", "two", "-m", "tise", "-o", "made"), "no merger is called 'tise' (did you mean 'ties'?)"),
        (("one", "two", "-m", "dmtt", "-o", "made"), ("no merger is called 'dmtt' (there are: average, "
         "dare, fisher, mergekit, pointwise, slerp, soup, task_arithmetic, ties)")),
        (("one", "two", "-m", "dmt", "-o", "made"), ("the plug-in 'dmt' does not merge (those that do: "
         "average, dare, fisher, mergekit, pointwise, slerp, soup, task_arithmetic, ties)")),
        (("one", "two", "-m", "sft", "-o", "made"), "sft keeps one of the models as it is (choose another --method)"),
        (("one", "two", "-s", "ties.density=1", "-o", "made"), ("--set ties.density is no option of average "
         "(write --set average.OPTION=VALUE)")),
        (("one", "two", "-s", "average.weight=1", "-o", "made"), ("there is no setting 'average.weight' "
         "(did you mean 'average.weights'?)")),
        (("one", "two", "-m", "soup", "-o", "made"), "soup chooses by the loss on held-out data (name it: "),
        (("one", "two", "-d", "x.jsonl", "-o", "made"), "average looks at no data (leave --data away)"),
        (("one", "two", "base", "-m", "slerp", "-o", "made"), "slerp merges two models, and there are 3 "),
        (("one", "two", "-s", "average.adapters=apart", "-b", "base", "-o", "made"), ("one brings no adapter to merge "
         "apart (merge whole weights)")),
    ],
)  # fmt: skip
def test_what_cannot_be_merged_is_one_line(harness, place, arguments, said):
    before = sorted(place.rglob("*"))
    with pytest.raises(UserError) as caught:
        harness("merge", *arguments)
    assert str(caught.value).startswith(said)
    assert sorted(place.rglob("*")) == before


def test_an_adapter_is_no_base(harness, place):
    (place / "adapter").mkdir()
    (place / "adapter" / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError) as caught:
        harness("merge", "one", "two", "-m", "task_arithmetic", "-b", "./adapter", "-o", "made")
    assert str(caught.value) == (
        "./adapter is an adapter, and the base a whole model (name what the adapter was put on)"
    )
    assert not (place / "made").exists()


def test_an_adapter_needs_its_base(harness, place):
    (place / "adapter").mkdir()
    (place / "adapter" / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match=r"^./adapter is an adapter, and its base is not named \(name it: --base MODEL"):
        harness("merge", "./adapter", "-o", "made")


def test_other_tokenizers_are_refused(harness, place):
    (place / "two" / "tokenizer.json").write_text(
        json.dumps({"model": {"vocab": [["a", 0.0], ["c", 0.0]]}, "added_tokens": [{"id": 2, "content": "<s>"}]})
    )
    with pytest.raises(UserError, match=r"one and two have other tokenizers: token 1 is 'b' in one and 'c' in the"):
        harness("merge", "one", "two", "-o", "made")
    assert not (place / "made").exists()


def test_a_tokenizer_without_a_list_of_tokens_is_not_compared(harness, place):
    (place / "two" / "tokenizer.json").write_text(json.dumps({"model": {"type": "Own"}}))
    harness("merge", "one", "two", "-o", "made")
    assert (place / "made").is_dir()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"num_attention_heads": 4}, "num_attention_heads is 2 in one and 4 in the other"),
        ({"rope_theta": 5e5}, "rope_theta is 10000.0 in one and 500000.0 in the other"),
    ],
)
def test_models_that_do_other_things_with_the_same_tensors_are_refused(harness, place, config, said):
    usual = {"num_attention_heads": 2, "rope_theta": 1e4}
    (place / "one" / "config.json").write_text(json.dumps(usual))
    (place / "two" / "config.json").write_text(json.dumps({**usual, **config}))
    with pytest.raises(UserError) as caught:
        harness("merge", "one", "two", "-o", "made")
    assert str(caught.value) == (
        f"one and two cannot be merged: {said} (merge models that were trained from the same one)"
    )


@pytest.mark.parametrize("quantised", ["two", "base"])
@pytest.mark.parametrize("method", ["ties", "mergekit"])
def test_quantised_models_are_refused(harness, place, quantised, method):
    config = {"folder": quantised, "quantization_config": {"quant_method": "gptq"}}
    (place / quantised / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError) as caught:
        harness("merge", "one", "two", "-m", method, "-b", "base", "-o", "made")
    assert str(caught.value) == (
        f"the weights of {quantised} are quantised: its config has quantization_config "
        "(merge the model that they were made from)"
    )
    assert not (place / "made").exists()


def test_weights_of_one_byte_are_refused_whatever_the_config_says(harness, place, write_model, tensors_of):
    write_model(place / "codes", tensors_of(0) | {"bias": tensors_of(0)["bias"].to(torch.float8_e4m3fn)})
    with pytest.raises(UserError, match=r"the weights of codes are quantised: bias is float8_e4m3fn \("):
        harness("merge", "one", "codes", "-o", "made")


def test_two_merges_into_one_folder_leave_one_whole_model(place, read_model, tensors_of):
    """The second begins and ends while the first is at work."""
    bound = [Request.of([f"./{name}"], None, "average", {}) for name in ("one", "two")]
    second = []

    def meanwhile(_):
        if not second:
            second.append(bound[1].write(place / "made", Told(lambda _: None, lambda *_: "of two")))

    with pytest.raises(UserError, match=r"made was made by somebody else meanwhile \(name another folder with --out\)"):
        bound[0].write(place / "made", Told(meanwhile, lambda *_: "of one"))
    assert second
    assert (place / "made" / "README.md").read_text() == "of two"
    assert torch.equal(read_model(place / "made")["bias"], tensors_of(1)["bias"])
    assert sorted(path.name for path in place.iterdir()) == ["base", "made", "one", "two"]


def test_the_merged_folder_is_open_to_whom_new_folders_are(harness, place):
    (place / "usual").mkdir()
    harness("merge", "one", "two", "-o", "made")
    assert (place / "made").stat().st_mode == (place / "usual").stat().st_mode


@pytest.fixture
def chats(tmp_path, monkeypatch, chat_models):
    """The working folder, with two real chat models and two files of conversations."""
    monkeypatch.chdir(tmp_path)
    for name, folder in chat_models.items():
        (tmp_path / name).symlink_to(folder / "model")
    for name, factor in (("twice", 2), ("thrice", 3)):
        rows = [{"prompt": f"{n} times {factor}?", "completion": f"{n * factor}"} for n in range(5)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.mark.timeout(120)
def test_fisher_information_on_each_model_s_own_data(chats, harness, read_model):
    harness("merge", "a", "b", "-m", "fisher", "-d", "twice.jsonl", "-d", "thrice.jsonl", "-o", "made")
    one, two, found = (read_model(chats / name) for name in ("a", "b", "made"))
    assert (chats / "made" / "README.md").read_text().count("- twice.jsonl\n") == 1
    assert sorted(path.name for path in (chats / "made").iterdir()) == sorted(
        {path.name for path in (chats / "a").iterdir()} | {"README.md"}
    )
    between = 0
    for name, tensor in found.items():
        low, high = torch.minimum(one[name], two[name]) - 1e-5, torch.maximum(one[name], two[name]) + 1e-5
        assert ((tensor >= low) & (tensor <= high)).all(), name
        between += int((tensor - (one[name] + two[name]) / 2).abs().gt(1e-3).sum())
    assert between > 1000  # it is not the plain mean


@pytest.mark.timeout(120)
def test_a_soup_says_who_was_chosen(chats, harness):
    said = harness("merge", "a", "b", "-m", "soup", "-d", "twice.jsonl", "-o", "made").splitlines()
    chosen = [line.split()[1] for line in said[1:-1]]
    assert said[0] == f"soup of {len(chosen)} models"
    card = (chats / "made" / "README.md").read_text()
    weight = {1: "1", 2: "1/2"}[len(chosen)]
    for name in "ab":
        assert f"| {name} | {weight if name in chosen else 'not chosen'} |" in card


def test_data_for_some_of_the_models_is_refused(chats, harness):
    with pytest.raises(UserError, match=r"2 datasets are named for 3 models \(give --data once, or once for each\)"):
        harness("merge", "a", "b", "./a", "-m", "fisher", "-d", "twice.jsonl", "-d", "thrice.jsonl", "-o", "made")
    assert not (chats / "made").exists()
