import json

import pytest
from typer.testing import CliRunner

from harness.api import Part
from harness.cli.data import app
from harness.data import show
from harness.data.chat import Renderer
from harness.data.sources import read
from harness.data.templates import CHATML, TEMPLATES, resolve
from harness.errors import UserError


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(
        "".join(json.dumps({"prompt": f"What is {k}+1?", "completion": str(k + 1)}) + "\n" for k in range(9))
    )
    return str(path)


def harness_data(*arguments, **environment):
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "120", "HARNESS_DATA_ROOT": "", **environment})


def test_the_list_names_every_shipped_dataset_its_licence_and_where_it_is(tmp_path):
    text = harness_data("list", HARNESS_DATA_ROOT=str(tmp_path)).output
    for name in ("gsm8k", "muinstruct", "code_alpaca", "dolly_3k"):
        assert name in text
    assert "CC BY-NC 4.0" in text
    assert "on the hub" in text
    assert "made on the spot" in text


def test_show_prints_what_exists_and_brackets_the_parts_without_colour(rows):
    result = harness_data("show", rows, "-n", "2")
    assert result.exit_code == 0
    assert "PairColumns: prompt, completion" in result.output
    assert "rendered with a small tokenizer trained on these rows and the template plain" in result.output
    assert "⟨prompt⟩   ⟦response, scored by sft⟧" in result.output
    assert "<s><|user|>⟨What is 0+1?⟩<|assistant|>⟦1</s>⟧" in result.output
    assert result.output.count("\nexample ") == 2


def test_show_colours_the_parts_on_a_terminal(rows):
    text = harness_data("show", rows, "-n", "1", "--template", "llama2", FORCE_COLOR="1", TTY_COMPATIBLE="1").output
    assert "\x1b[36mWhat is 0+1?\x1b[0m\x1b[2m [/INST]\x1b[0m\x1b[1;32m 1 </s>\x1b[0m" in text
    assert "⟨" not in text


def test_show_says_which_template_it_was_given(rows):
    assert "and the template chatml" in harness_data("show", rows, "-n", "1", "--template", "chatml").output
    assert show.rendered_with("org/m", None) == "rendered with the tokenizer of org/m and the template of org/m"


def test_show_without_examples_needs_no_tokenizer(rows):
    result = harness_data("show", rows, "-n", "0")
    assert "rows" in result.output
    assert "\nexample " not in result.output


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_folders_tokenizer_renders_with_any_template(rows, tmp_path, template):
    dataset = show.find(rows)
    examples = read(dataset.name, dataset.source, data_root=None)
    show.tokenizer_for(None, template, examples).save_pretrained(tmp_path / "model")
    tokenizer = show.tokenizer_for(str(tmp_path / "model"), template, examples)
    rendered = Renderer(tokenizer).render(examples[0])
    assert {Part.PROMPT, Part.RESPONSE} <= set(rendered.parts)
    assert show.coloured(rendered, tokenizer, marks=False).plain == tokenizer.decode(rendered.ids)


def test_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"the tokenizer of .*nowhere cannot be had"):
        show.tokenizer_for(str(tmp_path / "nowhere"), None, [])


def test_a_source_is_found_by_plugin_dataset_file_and_hub_id():
    assert show.find("gsm8k").spelling == "gsm8k"
    assert show.find("playground:playground_chat").spelling == "playground:playground_chat"
    assert show.find("org/name").plugin is None
    for unclear, problem in {
        "playground": "does not say which dataset",
        "im": "offers no data",
        "gsm9k": "no dataset is called",
    }.items():
        with pytest.raises(UserError, match=problem):
            show.find(unclear)


def test_a_template_is_a_name_a_file_or_the_text_itself(tmp_path):
    (tmp_path / "mine.jinja").write_text("{{ messages }}")
    assert resolve("chatml") == CHATML
    assert resolve(str(tmp_path / "mine.jinja")) == "{{ messages }}"
    assert resolve("{{ bos_token }}") == "{{ bos_token }}"
    for wrong in ("chatmll", str(tmp_path / "none.jinja")):
        with pytest.raises(UserError, match="chat template"):
            resolve(wrong)
