"""`harness eval NAME@URL`: a model behind a real server answers what the same model answers in process."""

import json

import pytest

from harness.cli.running import Comparison, evaluation_of, plan_of
from harness.data.resolve import Places
from harness.jobs import EngineSettings
from harness.recipe import named_model

PLACES = Places(None, None)
URL = "http://127.0.0.1:9/v1"

PLUGIN = '''
"""A text, conversations of two turns, an lm-eval task in a conversation, and one that compares likelihoods."""

from dataclasses import dataclass
from pathlib import Path

from harness.api import *
from harness.api.benchmarks import Scorer

PLUGIN = Plugin(name="served", version="1.0", summary="What a server is asked.")
HERE = str(Path(__file__).parent / "tasks")
SUBJECTS = ("apples", "coins", "eggs", "ÄÖÜ and ß", "boats", "books")


@dataclass(frozen=True)
class Turns(Questions):
    """Texts to be continued, with a stop text, or conversations in which the second question follows the answer."""

    chat: bool

    def items(self, read):
        """Six of them."""
        return [Item(str(n), {"thing": thing, "n": n}) for n, thing in enumerate(SUBJECTS)]

    def ask(self, item):
        """One round of texts, two of conversations."""
        question = "How many {thing} are {n} {thing} and 3 more?".format(**item.content)
        if not self.chat:
            yield [Ask(question, 24, stop=("e",)), Ask(question + " They are", 12)]
            return
        first = (Message("system", "Count."), Message("user", question))
        (reply,) = yield [Ask(first, 24)]
        yield [Ask((*first, Message("assistant", reply.text.rstrip("\\ufffd")), Message("user", "Are you sure?")), 24)]


@dataclass(frozen=True)
class Lengths(Scorer):
    """How long the answers are: a number that any difference shows in."""

    def score(self, response, read, opponent):
        """In characters, of a thousand."""
        return Scores({"length": sum(len(reply.text.rstrip("\\ufffd")) for reply in response.replies) / 1000})


@hookimpl
def evaluator(arm):
    """Four benchmarks."""
    return [
        Evaluator("texts", "own-1", task=Benchmark(Turns(False), Lengths(), "length")),
        Evaluator("turns", "own-1", task=Benchmark(Turns(True), Lengths(), "length")),
        Evaluator("asked", "own-1", task=LmEvalTask("asked", metric="exact_match", include=HERE)),
        Evaluator("choices", "own-1", task=LmEvalTask("choices", metric="acc", include=HERE, chat=False)),
    ]
'''
ASKED = """
task: asked
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{choices[0]}}"
generation_kwargs: {until: ["\\n"], do_sample: false, max_gen_toks: 16}
metric_list: [{metric: exact_match}]
"""
CHOICES = """
task: choices
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: choices
doc_to_target: label
metric_list: [{metric: acc}]
"""
ROWS = [
    {"question": "The apple fell from the", "choices": ["tree", "moon", "sea floor"], "label": 0},
    {"question": "Two and two are ", "choices": ["four", "five"], "label": 0},
    {"question": "Größe heißt", "choices": ["size", "ß", "日本"], "label": 0},
    {"question": "A dog can\n", "choices": ["bark", "read the papers every day"], "label": 0},
]


@pytest.fixture
def suite(tmp_path):
    """A suite file of the four benchmarks."""
    (tmp_path / "tasks" / "asked").mkdir(parents=True)
    (tmp_path / "tasks" / "choices").mkdir()
    (tmp_path / "served.py").write_text(PLUGIN, encoding="utf-8")
    for name, text in (("asked", ASKED), ("choices", CHOICES)):
        (tmp_path / "tasks" / name / f"{name}.yaml").write_text(text, encoding="utf-8")
        lines = "".join(json.dumps(row) + "\n" for row in ROWS)
        (tmp_path / "tasks" / name / "rows.jsonl").write_text(lines, encoding="utf-8")
    path = tmp_path / "served.yaml"
    path.write_text(f"{{name: served, version: 1, summary: Served., benchmarks: [{tmp_path / 'served.py'}]}}")
    return path


def samples(folder, arm, benchmark):
    path = folder / "samples" / arm / benchmark / "0.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def texts(sample):
    """What was answered. Where a limit cuts a character in half, the server leaves the half out."""
    said = sample["response"] if isinstance(sample["response"], list) else [sample["response"]]
    return [text.rstrip("\ufffd") for text in said]


def row_of(folder):
    (path,) = (folder / "rows").iterdir()
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.vllm
@pytest.mark.timeout(500)
def test_a_served_model_answers_as_in_process(suite, vllm_server, chat_models, command, tmp_path):
    model = chat_models["a"] / "model"
    for name, *arguments in (("behind", f"tiny@{vllm_server}"), ("within", model, "--engine", "vllm")):
        common = ("--suite", suite, "--out", name, "--set", "runtime.cpu_cache_gib=0.5")
        process = command("eval", *arguments, *common, cwd=tmp_path)
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
    behind, within = tmp_path / "behind", tmp_path / "within"
    for benchmark in ("texts", "turns", "asked", "choices"):
        for one, other in zip(samples(behind, "tiny", benchmark), samples(within, "model", benchmark), strict=True):
            assert one["doc_sha256"] == other["doc_sha256"]
            assert one["finish"] == other["finish"]
            if benchmark != "choices":
                assert texts(one) == texts(other)
                continue
            for (logprob, greedy), (theirs, their_greedy) in zip(one["response"], other["response"], strict=True):
                assert logprob == pytest.approx(theirs, abs=1e-3)
                assert greedy == their_greedy
    behind_row, within_row = row_of(behind)["result"], row_of(within)["result"]
    assert behind_row["model"]["server"] == vllm_server.removeprefix("http://")
    assert behind_row["engine"] == {"name": "endpoint", "dtype": None, "max_length": None}
    for benchmark in ("texts", "turns", "asked", "choices"):
        counts = [
            row["seeds"][0]["evaluations"][benchmark]["prompts"]["prompt_tokens"] for row in (behind_row, within_row)
        ]
        assert counts[0] == counts[1], benchmark
    assert {name: task["score"] for name, task in behind_row["tasks"].items()} == {
        name: task["score"] for name, task in within_row["tasks"].items()
    }


# --- without a server ------------------------------------------------------------------------------------------------


def evaluation(*models, settings=()):
    return evaluation_of(models, "playground", settings, seeds=None, places=PLACES)


def test_a_model_behind_a_server_is_named_by_both():
    assert named_model(f"org/model@{URL}") == {"id": "org/model", "revision": None, "base_url": URL}
    assert named_model("org/model@main") == {"id": "org/model", "revision": "main"}


def test_keys_hold_the_servers_name_and_not_its_address():
    here, there = (
        evaluation(f"org/model@http://{host}/v1", settings=["model.server=ours"]) for host in ("one:1", "two:2")
    )
    assert here.jobs.keys() == there.jobs.keys()
    assert [arm.id for arm in here.arms] == ["org/model"]
    elsewhere = evaluation(f"org/model@{URL}")
    prepare, *others = elsewhere.jobs.values()
    assert prepare.declared["model"]["server"] == "127.0.0.1:9/v1"
    assert "base_url" not in prepare.declared["model"]
    assert {job.declared["engine"]["name"] for job in others if job.kind == "respond"} == {"endpoint"}


@pytest.mark.parametrize(
    ("models", "settings", "expected"),
    [
        ([f"a@{URL}", "gpt2"], [], "some of the models are files, and some behind a server (evaluate them apart)"),
        ([f"a@{URL}", "a@http://other/v1"], [], "two models are called 'a' (evaluate one of them apart,"),
        ([f"a@{URL}"], ["engine.name=vllm"], "the engine vllm cannot ask a (models behind a server"),
        (["gpt2"], ["engine.name=endpoint"], "the engine endpoint cannot ask gpt2 (models behind a server, NAME@http"),
        ([f"a@{URL}"], ["engine.dtype=bfloat16"], "engine.dtype and engine.max_length are the server's own"),
        ([f"a@{URL}"], ["model.chat_template=tulu"], "a is behind a server, which renders with its own chat template"),
        (["a@http://me:secret@host/v1"], [], "base_url holds more than an address"),
    ],
)
def test_what_cannot_be_is_refused(refused, models, settings, expected):
    said = refused(evaluation, *models, settings=settings)
    assert expected in said
    assert "secret" not in said


def test_a_model_behind_a_server_is_not_trained(refused):
    settings = [f"model=a@{URL}", "engine={name: endpoint}"]
    trained = Comparison(settings=settings, seeds="1")
    assert "sft trains a model, and those behind a server stay as they are" in refused(plan_of, trained, PLACES)
    plan = plan_of(Comparison(None, ["base"], settings, baseline=False, seeds="1"), PLACES)
    assert {job.kind for job in plan.jobs.values()} == {"prepare", "respond", "evaluate"}


def test_engine_settings_say_what_is_the_servers_own():
    assert EngineSettings(name="endpoint").dtype is None
    assert EngineSettings.model_validate(EngineSettings(name="endpoint").model_dump()) == EngineSettings(
        name="endpoint"
    )
    assert "extra" not in EngineSettings().model_dump()
    with pytest.raises(ValueError, match="only the engine endpoint"):
        EngineSettings(extra={"a": 1})


def test_the_key_is_looked_for_before_anything_begins(command, scripted, tmp_path):
    with scripted.ScriptedJudge() as server:
        arguments = ("eval", f"org/model@{server.base_url}", "--suite", "playground", "--limit", "2")
        process = command(*arguments, "--set", "runtime.endpoint.api_key_env=NOT_THERE", cwd=tmp_path)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "the model's server wants a key, and NOT_THERE is not set" in err
    assert server.asked == []


@pytest.mark.timeout(120)
def test_a_server_that_is_all_there_is_makes_a_board(command, scripted, tmp_path):
    """Any server of the interface will do: this one has no tokenizer, and 30 % of its calls fail."""
    with scripted.ScriptedJudge(lambda _: "It is so.", key="sk-right", faults={"429": 0.3}) as server:
        common = ("--suite", "playground", "--limit", "4", "--set", "runtime.endpoint.api_key_env=THE_KEY")
        process = command(
            "eval", f"org/model@{server.base_url}", *common, "--out", "run", cwd=tmp_path, env={"THE_KEY": "sk-right"}
        )
        out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    assert "org/model" in out
    whole = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"sk-right" not in whole
    assert row_of(tmp_path / "run")["result"]["tasks"]["playground_chat"]["n_scored"] == 4


@pytest.mark.timeout(120)
def test_what_the_server_alone_will_not_take_is_missing_and_not_wrong(command, scripted, tmp_path):
    with scripted.ScriptedJudge(lambda _: "It is so.", faults={"rejected": 0.4}, seed=5) as server:
        common = ("--suite", "playground", "--limit", "6", "--out", "run")
        process = command("eval", f"org/model@{server.base_url}", *common, cwd=tmp_path)
        out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    tasks = row_of(tmp_path / "run")["result"]["tasks"].values()
    missing = sum(task["n_missing"] for task in tasks)
    assert missing == server.fates["rejected"] > 0
    assert missing == sum(task["outcomes"].get("engine_error", 0) for task in tasks)
    assert "engine error" in out
    sample = next(
        s for s in samples(tmp_path / "run", "org%2Fmodel", "playground_chat") if s["outcome"] == "engine_error"
    )
    assert (sample["scores"], sample["response"]) == ({}, [])
    assert "400: the prompt is too long" in sample["error"]
