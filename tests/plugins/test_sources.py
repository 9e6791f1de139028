"""Every dataset that ships, read from a small file of the shape that the hub's has; and the real ones of the mirror."""

import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from harness.api import Hub, Message
from harness.data.show import find, offered
from harness.data.sources import declare, read

QA = (Message("user", "q"), Message("assistant", "a"))
TWICE = QA + QA


def turns(*texts, role="role", content="content", names=("user", "assistant")):
    return [{role: names[i % 2], content: text} for i, text in enumerate(texts)]


def older(*texts):
    return turns(*texts, role="from", content="value", names=("human", "gpt"))


def tulu(dataset, *texts):
    return {"dataset": dataset, "id": f"{dataset}_0", "messages": turns(*texts)}


CHAT = [{"dataset": "d", "id": "d_0", "messages": turns("q", "a")}]
ALPACA = [{"instruction": "q", "input": "", "output": "a"}, {"instruction": "q", "input": "x", "output": "a"}]
FROM_ALPACA = [QA, (Message("user", "q\n\nx"), Message("assistant", "a"))]
OF_THE_ASSISTANT = {"id": "1_1", "conversations": [{"from": "gpt", "value": "a"}, {"from": "human", "value": "q"}]}
TULU = [
    tulu("sharegpt", "q", "a", "q", "a"),
    {"dataset": "sharegpt", "id": "odd", "messages": turns("a", names=("assistant", "user"))},
    tulu("science.scitldr_aic", "q", "a"),
    tulu("science.qasper_truncated_4000", "q", "a"),
    tulu("wizardlm", "q", "a"),
]
LESS = {
    f"data/{target}_adam_sim_trainp0.05_seed3_p0.05.jsonl": [{**CHAT[0], "id": target}]
    for target in ("mmlu-chat", "tydiqa", "bbh-icl")
}
CAMEL = {
    f"math/00{n}.json": {
        "role_1": "Mathematician_RoleType.ASSISTANT",
        "topic;": "Algebra",
        "sub_topic": "Vieta's formulas",
        "message_1": "q",
        "message_2": "a",
    }
    for n in (1, 2)
}

SHAPES = {
    "gsm8k": ([{"question": "q", "answer": "a"}], [QA]),
    "muinstruct": ([{"input": "q", "output": "a", "meta": {"source": "khan"}}], [QA]),
    "code_alpaca": (ALPACA, FROM_ALPACA),
    "dolly_3k": (CHAT, [QA]),
    "instructions:lima": (
        [{"conversations": ["q", "a"], "source": "wikihow"}, {"conversations": ["q", "a"] * 2, "source": "multi_turn"}],
        [QA, TWICE],
    ),
    "instructions:alpaca": ([{**row, "text": "t"} for row in ALPACA], FROM_ALPACA),
    "instructions:dolly": (
        [{"instruction": "q", "context": "x", "response": "a", "category": "closed_qa"}],
        FROM_ALPACA[1:],
    ),
    "instructions:code_alpaca_20k": (ALPACA, FROM_ALPACA),
    "instructions:wizardlm": ([{"idx": "0", "conversations": older("q", "a")}], [QA]),
    "instructions:sharegpt": (
        [{"id": "1_0", "conversations": older("q", "a")}, OF_THE_ASSISTANT, {"id": "2_0", "conversations": []}],
        [QA],
    ),
    "instructions:openhermes": (
        [
            {"system_prompt": None, "source": "airoboros2.2", "conversations": older("q", "a")},
            {
                "system_prompt": "s",
                "source": "slimorca",
                "conversations": [{"from": "system", "value": "s"}, *older("q", "a")],
            },
        ],
        [QA, (Message("system", "s"), *QA)],
    ),
    "instructions:camel_math": (CAMEL, [QA, QA]),
    "picked:alpaca_5k": (CHAT, [QA]),
    "picked:dolly_9k": (ALPACA, FROM_ALPACA),
    "picked:less_mmlu_chat": (LESS, [QA]),
    "picked:less_tydiqa": (LESS, [QA]),
    "picked:less_bbh_icl": (LESS, [QA]),
    "picked:alpaca_scored": ([{"id": "46229", "score": "5", "data": ["q", "a"]}], [QA]),
    **{
        f"redpajama{part}": ([{"text": "t", "meta": {"url": "u"}}], [(Message("text", "t"),)])
        for part in ("", ":arxiv", ":book", ":c4", ":cc", ":github", ":stackexchange", ":wikipedia")
    },
    "tulu": (TULU, [TWICE, QA, QA, QA]),
    "tulu:science_literature": (TULU, [QA, QA]),
    "tulu:wizardlm_30k": (TULU, [QA]),
}


def write(path: Path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    match path.suffix:
        case ".zip":
            with zipfile.ZipFile(path, "w") as archive:
                for name, member in rows.items():
                    text = json.dumps(member) if name.endswith(".json") else "\n".join(map(json.dumps, member))
                    archive.writestr(name, text)
        case ".parquet":
            parquet.write_table(pa.Table.from_pylist(rows), path)
        case ".json":
            path.write_text(json.dumps(rows))
        case _:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_every_dataset_that_ships_is_tested_here():
    assert set(SHAPES) == {d.spelling for d in offered() if isinstance(d.source.location, Hub)}


def test_the_documentation_lists_each_with_where_it_is_from_and_its_licence():
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    table = [line for line in page.partition("### What ships")[2].splitlines() if line.startswith("| `")]
    hubs = [(d, d.source.location) for d in offered() if isinstance(d.source.location, Hub)]
    rows = {f"| `{d.spelling}` | {hub.id} | {hub.revision[:7]} | {d.source.licence} |" for d, hub in hubs}
    assert rows <= set(table)
    assert rows >= {line for line in table if "/" in line.split("|")[2]}


@pytest.mark.parametrize("spelling", SHAPES)
def test_a_file_of_the_hubs_shape_is_read(tmp_path, spelling):
    found = find(spelling)
    rows, expected = SHAPES[spelling]
    hub = found.source.location
    assert len(hub.files) == 1
    write(tmp_path / hub.id / hub.files[0].replace("*", "00000-of-00001"), rows)
    examples = read(found.name, found.source, data_root=tmp_path)
    assert [example.messages for example in examples] == expected
    assert declare(found.name, found.source, None, data_root=tmp_path, cache=tmp_path / "cache").n == len(expected)
    assert found.source.licence
    assert found.source.summary


@pytest.mark.parametrize(
    ("spelling", "n", "first"),
    [
        ("gsm8k", 7473, "Natalia sold clips"),
        ("muinstruct", 1600, "The radius of a sphere"),
        ("code_alpaca", 2017, "What are the distinct values"),
        ("dolly_3k", 2996, "Plase answer the following request"),
        ("picked:alpaca_scored", 6889, "Find a random animal"),
    ],
)
def test_the_mirrors_real_rows_are_read(mirror, spelling, n, first):
    found = find(spelling)
    examples = read(found.name, found.source, data_root=mirror)
    assert len(examples) == n
    assert examples[0].messages[0].content.startswith(first)
    assert declare(found.name, found.source, None, data_root=mirror, cache=None).n == n
