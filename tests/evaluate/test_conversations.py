import builtins

import pytest

from harness.api import Message
from harness.evaluate.conversations import Template

TALK = (Message("user", "one"), Message("assistant", "two"), Message("user", "three"))


def test_vicuna_writes_the_turns_with_its_roles_and_separators():
    rendered = Template("vicuna_v1.1").render(TALK)
    assert rendered.text.endswith(" USER: one ASSISTANT: two</s>USER: three ASSISTANT:")
    assert (rendered.stop, rendered.end_ids) == ((), ())


def test_a_system_turn_replaces_the_templates_own():
    rendered = Template("vicuna_v1.1").render((Message("system", "Be brief."), *TALK))
    assert rendered.text.startswith("Be brief. USER: one ")


def test_stop_texts_and_tokens_of_the_template_end_the_answer():
    assert Template("zero_shot").render(TALK).stop == ("###",)
    assert Template("qwen-7b-chat").render(TALK).stop == ("<|endoftext|>",)
    assert 50278 in Template("stablelm").render(TALK).end_ids


def test_examples_of_the_template_stay_before_the_conversation_whatever_was_rendered_before():
    template = Template("one_shot")
    first = template.render(TALK)
    assert first.text.endswith("\n### Human: one\n### Assistant: two\n### Human: three\n### Assistant:")
    assert first.text.count("### Human:") == 3
    assert template.render(TALK) == first


def test_templates_have_digests_of_their_own():
    names = ("vicuna_v1.1", "zero_shot", "stablelm", "llama-2")
    assert len({Template(name).digest for name in names}) == len(names)
    assert Template("llama-2").digest == Template("llama-2").digest


def test_an_unknown_name_is_refused_with_the_nearest(refused):
    assert "did you mean 'vicuna_v1.1'?" in refused(Template, "vicuna_v1_1")


def test_a_template_of_a_service_is_refused(refused):
    assert "'chatgpt' for local models" in refused(Template, "chatgpt")


def test_without_fastchat_the_extra_is_named(refused, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **named):
        if name.startswith("fastchat"):
            raise ImportError(name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    assert "instruct-harness[judges]" in refused(Template, "vicuna_v1.1")


@pytest.mark.parametrize("name", ["vicuna_v1.1", "llama-2", "chatglm3", "dolly_v2", "mistral", "tulu", "falcon"])
def test_the_text_is_what_fastchat_builds_turn_by_turn(name):
    from fastchat.conversation import get_conv_template

    talk = get_conv_template(name)
    for role, text in zip((*talk.roles, talk.roles[0], talk.roles[1]), ("one", "two", "three", None), strict=True):
        talk.append_message(role, text)
    assert Template(name).render(TALK).text == talk.get_prompt()
