"""What is written of a command holds no key."""

import shlex

import pytest

from harness.credentials import command_line

RECIPE = {"judge": {"api_key_env": "JUDGE_KEY"}, "runtime": {"endpoint": {"api_key_env": "SERVER_KEY"}}}


@pytest.mark.parametrize("variable", ["JUDGE_KEY", "SERVER_KEY", "HF_TOKEN", "WANDB_API_KEY"])
def test_a_key_that_was_typed_is_not_published(monkeypatch, variable):
    monkeypatch.setenv(variable, "sk-9 secret\n")
    said = command_line(["run", "--set", "mine.header=Bearer sk-9 secret", "--plugins", "im"], RECIPE)
    assert shlex.split(said) == ["harness", "run", "--set", "mine.header=Bearer ***", "--plugins", "im"]


def test_without_keys_the_command_stands_as_it_was_typed(monkeypatch):
    for variable in ("JUDGE_KEY", "HF_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("WANDB_API_KEY", "")
    typed = [
        "eval",
        "org/name@v1",
        "gpt@http://localhost:8000/v1",
        "--set",
        "mt_bench.temperature=0.7",
        "--seeds",
        "a b",
    ]
    assert shlex.split(command_line(typed, {"judge": "later"})) == ["harness", *typed]
    assert command_line(["board", "--why", "caf\udce9"]) == "harness board --why 'caf\\udce9'"


@pytest.mark.parametrize("user", ["me", "me:secret", "me:se@cret", ":secret"])
@pytest.mark.parametrize("rest", ["host:8000/v1", "host/v1/a@b", "host?x=a@b"])
def test_who_asks_a_server_is_no_part_of_its_address(user, rest):
    said = command_line(["eval", f"name@https://{user}@{rest}"])
    assert shlex.split(said) == ["harness", "eval", f"name@https://***@{rest}"]
