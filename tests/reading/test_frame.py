import json
from pathlib import Path

import pandas as pd
import pytest

from harness.reading import load_samples
from harness.reading.evaluations import evaluations
from harness.reading.frame import pair_row, row, write
from harness.reading.pairs import compare, with_prompts
from harness.reading.samples import load, with_asked

STORE = Path(".harness")
AWKWARD = 'a "quoted", =1+1\nsecond line\r\u2028\x00 é 😀'


def chat(one):
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"Sum {one['id']}?"}]
    return [[{"prompt": turns}]]


@pytest.fixture
def rows(written, line):
    judged = [{"outcome": "ok", "value": 7, "text": AWKWARD}]
    essays = [
        line("essays", "a", 0.7, response=["one", AWKWARD], judgments=judged),
        line("essays", "b", None, extracted=None, target=None),
    ]
    written("run", {("sft", 0): {"essays": essays}}, asked=chat)
    return [row(sample) for sample in with_asked(load(evaluations("run", STORE)))]


def test_a_real_run_is_a_table(tiny_run):
    table = load_samples(
        tiny_run / "run", task="playground_chat", arm=["sft", "dmt+im"], seed=0, store=tiny_run / "store"
    )
    assert len(table) == 16
    assert set(table.arm) == {"sft", "dmt+im"}
    assert table.score.between(0, 1).all()
    assert table.prompt.str.len().gt(10).all()
    assert table.groupby("arm").score.count().to_dict() == {"sft": 8, "dmt+im": 8}


def test_a_conversation_is_one_text_and_values_stay_what_they_are(rows):
    assert rows[0]["prompt"] == "system: Be brief.\n\nuser: Sum a?"
    assert rows[0]["response"] == ["one", AWKWARD]
    assert (rows[0]["score"], rows[1]["score"]) == (0.7, None)
    assert rows[0]["choices"] is None


def test_choices_are_named(written, line):
    asked = [[{"prompt": "Capital?", "continuation": " Lyon"}, {"prompt": "Capital?", "continuation": " Paris"}]]
    written(
        "run", {("sft", 0): {"sums": [line("sums", "0", 1.0, response=[[-2.0, False], [-1.0, True]])]}}, lambda _: asked
    )
    (sample,) = with_asked(load(evaluations("run", STORE)))
    assert (row(sample)["prompt"], row(sample)["choices"]) == ("Capital?", [" Lyon", " Paris"])


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl"])
def test_every_format_gives_back_what_was_written(rows, tmp_path, ending):
    path = tmp_path / f"samples{ending}"
    write(rows, path)
    if ending == ".jsonl":
        assert [json.loads(line) for line in path.read_bytes().decode().split("\n")[:-1]] == rows
        return
    table = pd.read_parquet(path) if ending == ".parquet" else pd.read_csv(path, lineterminator="\n")
    assert list(table.columns) == list(rows[0])
    assert json.loads(table.response[0]) == ["one", AWKWARD]
    assert table.response[1] == "answer to b"
    assert json.loads(table.judgments[0])[0]["value"] == 7
    assert table.score[0] == 0.7
    assert pd.isna(table.score[1])
    assert pd.isna(table.target[1])


def test_a_pair_is_a_row_with_both_sides(written, sums, tmp_path):
    written("a", {("sft", 0): sums("10")})
    written("b", {("dmt", 0): sums("01")})
    (one,) = compare(evaluations("a", STORE), evaluations("b", STORE))
    write([pair_row(pair) for pair in with_prompts(one.differing())], tmp_path / "pairs.csv")
    table = pd.read_csv(tmp_path / "pairs.csv")
    assert table[["id", "arm_a", "arm_b", "score_a", "score_b", "difference"]].to_numpy().tolist() == [
        [0, "sft", "dmt", 1.0, 0.0, 1.0],
        [1, "sft", "dmt", 0.0, 1.0, -1.0],
    ]
    assert list(table.prompt) == ["question 0", "question 1"]


def test_another_ending_is_refused_and_nothing_is_left_of_a_failure(rows, tmp_path, refused):
    assert refused(write, rows, tmp_path / "x.xlsx").endswith("(use .parquet, .csv, .jsonl)")
    old = tmp_path / "x.jsonl"
    old.write_text("old")
    with pytest.raises(TypeError):
        write([{"response": object()}], old)
    assert old.read_text() == "old"
    assert [path.name for path in tmp_path.glob("*.jsonl")] == ["x.jsonl"]
