"""The kit for plug-in authors: every slip it is there to find, and a model that can be used at once."""

import pytest

from harness.testing import check_plugin, tiny_model
from harness.testing.__main__ import main

HEAD = '''"""A plug-in of somebody's."""
import itertools
from fractions import Fraction
from pathlib import Path
from harness.api import *
'''
PLUGIN = 'PLUGIN = Plugin(name="own", version="1.0", summary="What it does.")\n'
COUNTER = "COUNTER = itertools.count()\n"

GOOD = '''
@hookimpl
def loss_fn(arm):
    """Responses."""
    return token_loss(lambda batch: batch.is_part(Part.RESPONSE))
'''


def loss(weights):
    return GOOD.replace("batch.is_part(Part.RESPONSE)", weights)


def embed(perturbed):
    perturbing = f"replace(token_loss(lambda batch: batch.is_part(Part.RESPONSE)), embed=lambda found, _: {perturbed})"
    return "from dataclasses import replace\n" + GOOD.partition("    return")[0] + f"    return {perturbing}\n"


@pytest.fixture
def own(tmp_path):
    def write(text):
        path = tmp_path / "own.py"
        path.write_text(text)
        return str(path)

    return write


def test_a_good_plugin_passes(own):
    check_plugin(own(HEAD + PLUGIN + GOOD))


OPTIONS = '''
class OwnOptions(Options):
    """Own."""
    {}
PLUGIN = Plugin(name="own", version="1.0", summary="What it does.", options=OwnOptions)
'''

SLIPS = {
    "no docstring": (
        HEAD.partition("\n")[2] + PLUGIN + GOOD,
        "has no docstring (say what it does, and whose method it is, at the top of its module)",
    ),
    "no summary": (
        HEAD + 'PLUGIN = Plugin(name="own", version="1.0")\n' + GOOD,
        "has no summary (say in one line what it does: Plugin(summary=...))",
    ),
    "no hook": (
        HEAD + PLUGIN,
        "implements no hook (the hooks are: data_source, loss_fn, strategy, merger, evaluator)",
    ),
    "no docstring on a hook": (
        HEAD + PLUGIN + GOOD.replace('    """Responses."""\n', ""),
        "has no docstring on loss_fn (say what it returns)",
    ),
    "an option without words": (
        HEAD + OPTIONS.format("n: int = 1") + GOOD,
        "does not describe its option n (put a docstring under the field)",
    ),
    "an option that JSON cannot carry": (
        HEAD + OPTIONS.format('x: float = float("inf")\n    """A number."""') + GOOD,
        "has options that JSON cannot carry",
    ),
    "another strategy each time": (
        HEAD + PLUGIN + COUNTER + '@hookimpl\ndef strategy(arm, data):\n    """One."""\n'
        "    return [Stage(str(next(COUNTER)), Mixture.of(*data))]\n",
        "does not return the same value twice from strategy (hooks are pure: no state, no clock)",
    ),
    "another loss each time": (
        HEAD + PLUGIN + COUNTER + loss("(1 + next(COUNTER)) * batch.is_part(Part.RESPONSE)"),
        "does not return the same value twice from loss_fn (hooks are pure: no state, no clock)",
    ),
    "other examples each time": (
        HEAD + PLUGIN + COUNTER + '@hookimpl\ndef data_source(arm):\n    """One."""\n'
        "    def make():\n"
        '        yield Example(str(next(COUNTER)), (Message("user", "?"), Message("assistant", "!")))\n'
        '    return {"own": DataSource(Generated(make, n=1, recipe={}))}\n',
        "does not return the same value twice from data_source (hooks are pure: no state, no clock)",
    ),
    "a loss that fails": (
        HEAD + PLUGIN + loss("1 / 0"),
        "returns from loss_fn what fails: ZeroDivisionError: division by zero (mend it)",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), SLIPS.values(), ids=SLIPS)
def test_slips_that_only_show_later(own, refused, text, expected):
    assert refused(check_plugin, own(text)).startswith(f"the plug-in 'own' {expected}")


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ("batch.is_part(Part.RESPONSE)[:, 1:]", "the loss's weights have another shape than the batch"),
        ("1.0", "the loss's weights have another shape than the batch"),
        ("batch.is_part(Part.RESPONSE) - 1", "the loss's weights are not all finite and at least 0"),
        ("batch.is_part(Part.RESPONSE) / 0", "the loss's weights are not all finite and at least 0"),
        ("batch.parts.fill_(2).float()", "the loss's weights change the batch"),
        ("1 - batch.is_part(Part.RESPONSE)", "the loss weighs padding"),
    ],
)
def test_weights_that_are_none(own, refused, weights, expected):
    assert refused(check_plugin, own(HEAD + PLUGIN + loss(weights))).startswith(expected)


@pytest.mark.parametrize(
    ("perturbed", "expected"),
    [
        ("found[0]", "the loss's embed changes the shape of the embeddings (return one vector for each token)"),
        ("found * found.new_empty(found.shape).uniform_()", "the loss's embed draws random numbers of its own"),
    ],
)
def test_embeddings_that_cannot_be_trained_on(own, refused, perturbed, expected):
    assert refused(check_plugin, own(HEAD + PLUGIN + embed(perturbed))).startswith(expected)


def test_what_a_run_refuses_is_told_in_its_words(own, refused):
    path = own(HEAD + PLUGIN + "def strategy(arm, data): ...\n")
    assert refused(check_plugin, path) == (
        f"the plug-in file {path} defines strategy without @hookimpl (put @hookimpl above def strategy)"
    )
    assert refused(check_plugin, "imm") == "no plug-in is called 'imm' (did you mean 'im'?)"


def test_the_kit_as_a_command_tells_everything_in_one_line(capsys, tmp_path):
    assert main(["im", "dmt"]) == 0
    assert capsys.readouterr() == ("im keeps the rules\ndmt keeps the rules\n", "")
    assert main(["im", str(tmp_path / "absent.py")]) == 2
    said = f"harness: there is no plug-in file {tmp_path / 'absent.py'} "
    out, err = capsys.readouterr()
    assert (out, err.startswith(said), err.count("\n")) == ("im keeps the rules\n", True, 1)
    assert main([]) == 2


def test_a_tiny_model_talks_and_is_always_the_same(tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tiny_model(tmp_path / "one")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Which?"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    answer = model.generate(**asked, max_new_tokens=4, do_sample=False)
    assert answer.shape[1] > asked["input_ids"].shape[1]
    again = tiny_model(tmp_path / "two")
    for name in ("model.safetensors", "tokenizer.json"):
        assert (folder / name).read_bytes() == (again / name).read_bytes()
