import json
import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from harness.api import (
    AlpacaColumns,
    ChatColumns,
    DataSource,
    Example,
    Files,
    Generated,
    Hub,
    Message,
    PairColumns,
)
from harness.data.sources import declare, declare_files, from_text, open_dataset, read
from harness.discovery import load_plugin
from harness.errors import UserError

PAIRS = [{"prompt": "2+2?", "completion": "4"}, {"prompt": "é\u2028?", "completion": 'ja, "x"\nnein'}]
CONVERSATION = (Message("user", PAIRS[1]["prompt"]), Message("assistant", PAIRS[1]["completion"]))


def write(folder, name, rows):
    path = folder / name
    match path.suffix:
        case ".jsonl":
            path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        case ".json":
            path.write_text(json.dumps(rows), encoding="utf-8")
        case ".parquet":
            parquet.write_table(pa.Table.from_pylist(rows), path)
        case ".csv":
            lines = [",".join(rows[0])]
            lines += [",".join('"' + cell.replace('"', '""') + '"' for cell in row.values()) for row in rows]
            path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def raw(folder, name, content):
    (folder / name).write_bytes(content)
    return DataSource(Files((str(folder / name),)))


def plan(source, **places):
    return declare("mine", source, None, data_root=places.get("data_root"), cache=places.get("cache"))


# --- the user's files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.parquet", "x.csv"])
def test_every_format_gives_the_same_conversations(tmp_path, name):
    source = from_text(write(tmp_path, name, PAIRS))
    examples = read("mine", source, data_root=None)
    assert [example.id for example in examples] == ["0", "1"]
    assert examples[1].messages == CONVERSATION
    declared = plan(source)
    assert declared.n == 2
    assert declared.source == "files"
    assert declared.columns == {"PairColumns": {"prompt": "prompt", "completion": "completion", "system": None}}


def test_several_files_are_one_dataset_in_their_order(tmp_path):
    paths = [write(tmp_path, name, [row]) for name, row in zip(["b.jsonl", "a.csv"], PAIRS, strict=True)]
    source = DataSource(Files(tuple(paths)))
    assert [example.messages[0].content for example in read("mine", source, data_root=None)] == ["2+2?", "é\u2028?"]
    assert plan(source).n == 2
    assert plan(source).content != plan(DataSource(Files(tuple(reversed(paths))))).content


def test_a_declaration_knows_the_content_not_the_path(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    one, other = write(tmp_path, "a.jsonl", PAIRS), write(tmp_path / "elsewhere", "b.jsonl", PAIRS)
    assert plan(from_text(one)) == plan(from_text(other))
    assert plan(from_text(one)).content == open_dataset("mine", from_text(other), data_root=None).content


BROKEN = {
    "torn.jsonl": (b'{"prompt": "a", "completion": "b"}\n{"prompt": "c", "comp', "torn.jsonl, line 2: not JSON"),
    "scalar.jsonl": (b'{"prompt": "a", "completion": "b"}\n\n7\n', "scalar.jsonl, line 3: 7 is not an object"),
    "torn.json": (b'[{"prompt": "a",\n "completion": ', "torn.json, line 2: not JSON"),
    "object.json": (b'{"prompt": "a", "completion": "b"}', "object.json: the JSON is not an array"),
    "latin.jsonl": (b'{"prompt": "a", "completion": "b"}\n{"prompt": "\xe9"}', "latin.jsonl, line 2: not UTF-8"),
    "ragged.csv": (b"prompt,completion\na,b\nc\n", "ragged.csv, line 3: 1 cells under 2 columns"),
    "torn.csv": (b'prompt,completion\na,"b', "torn.csv, line 2: not CSV"),
    "torn.parquet": (b"PAR1 and no more", "torn.parquet: not Parquet"),
    "empty.jsonl": (b"\n", "the dataset mine is empty"),
    "empty.json": (b"[]", "the dataset mine is empty"),
    "empty.csv": (b"prompt,completion\n", "the dataset mine is empty"),
    "odd.jsonl": (b'{"text": "a", "label": 1}\n', "no usual form of conversation fits the columns text, label"),
    "two.jsonl": (b'{"prompt": "a", "completion": "b", "messages": []}\n', "several forms of conversation fit"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named_with_its_line_when_planned_and_when_read(tmp_path, name):
    content, problem = BROKEN[name]
    source = raw(tmp_path, name, content)
    for attempt in (plan, lambda source: read("mine", source, data_root=None)):
        with pytest.raises(UserError) as caught:
            attempt(source)
        assert problem in caught.value.problem
        assert "\n" not in str(caught.value)
        assert caught.value.remedy


def test_files_that_are_not_there_or_cannot_be_read_are_named(tmp_path):
    with pytest.raises(UserError, match=r"there is no file .*nowhere.jsonl"):
        plan(from_text(str(tmp_path / "nowhere.jsonl")))
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(UserError, match=r"cannot read .*folder.jsonl"):
        plan(from_text(str(tmp_path / "folder.jsonl")))
    with pytest.raises(UserError, match=r"notes.txt is not in a format that can be read"):
        plan(DataSource(Files(("notes.txt",))))


def test_files_that_change_while_they_are_read_are_refused(tmp_path):
    path = write(tmp_path, "x.jsonl", PAIRS)
    rows = open_dataset("mine", from_text(path), data_root=None).conversations()
    next(rows)
    with Path(path).open("a") as file:
        file.write("\n")
    with pytest.raises(UserError, match="the files of the dataset mine changed while they were read"):
        list(rows)


def test_missing_columns_name_those_there_are_and_those_needed(tmp_path):
    path = write(tmp_path, "x.jsonl", [{"prompt": "a", "completion": "b"}, {"prompt": "c"}])
    with pytest.raises(UserError, match=r"no column answer; there are prompt, completion .*need prompt, answer"):
        plan(DataSource(Files((path,)), PairColumns("prompt", "answer")))
    with pytest.raises(UserError, match=r"x.jsonl, line 2: no column completion; there are prompt \(the rows need"):
        read("mine", from_text(path), data_root=None)


# --- what a source's text means ------------------------------------------------------------------------------------


def test_a_text_is_a_file_or_a_hub_id_with_revision_and_files():
    assert from_text("./rows/x.jsonl").location == Files(("./rows/x.jsonl",))
    assert from_text("x.PARQUET").location == Files(("x.PARQUET",))
    assert from_text("org/name").location == Hub("org/name")
    assert from_text("org/name@v1.2").location == Hub("org/name", revision="v1.2")
    assert from_text("org/name:a/b.json,c.json").location == Hub("org/name", ("a/b.json", "c.json"))
    assert from_text("org/name@abc:train.jsonl").location == Hub("org/name", ("train.jsonl",), "abc")


@pytest.mark.parametrize("text", ["", "just words", "./notes.txt", "/a/b.xlsx", "org/name/more", "org/name@"])
def test_a_text_that_is_neither_is_refused(text):
    with pytest.raises(UserError):
        from_text(text)


# --- the cache of facts --------------------------------------------------------------------------------------------


def test_a_file_is_looked_at_again_only_when_it_changed(tmp_path):
    path = write(tmp_path, "x.jsonl", PAIRS)
    before = plan(from_text(path), cache=tmp_path / "cache")
    stamp = Path(path).stat()
    (entry,) = (tmp_path / "cache").iterdir()
    entry.write_text(entry.read_text().replace('"rows": 2', '"rows": 5'))
    assert plan(from_text(path), cache=tmp_path / "cache").n == 5
    write(tmp_path, "x.jsonl", [*PAIRS, *PAIRS])
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))
    after = plan(from_text(path), cache=tmp_path / "cache")
    assert (before.n, after.n) == (2, 4)
    assert before.content != after.content


def test_a_spoilt_or_unwritable_cache_costs_only_time(tmp_path):
    path = write(tmp_path, "x.jsonl", PAIRS)
    plan(from_text(path), cache=tmp_path / "cache")
    (entry,) = (tmp_path / "cache").iterdir()
    entry.write_text("{")
    assert plan(from_text(path), cache=tmp_path / "cache").n == 2
    (tmp_path / "occupied").write_text("")
    assert plan(from_text(path), cache=tmp_path / "occupied").n == 2


# --- generated examples --------------------------------------------------------------------------------------------


def generated(contents, n, ids=None):
    def make():
        for k, (question, answer) in enumerate(contents):
            turns = (Message("user", question), Message("assistant", answer))
            yield Example(str(k) if ids is None else ids[k], turns)

    return DataSource(Generated(make, n, {"kind": "sums", "seed": 1}))


def test_generated_examples_are_declared_by_their_recipe():
    source = generated([("a", "b"), ("c", "d")], 2)
    declared = declare("sums", source, "sums 1.0", data_root=None, cache=None)
    assert (declared.n, declared.content, declared.source) == (2, None, {"generated": {"kind": "sums", "seed": 1}})
    assert len(read("sums", source, data_root=None)) == 2


def test_generated_examples_must_be_as_many_as_declared_and_distinct():
    with pytest.raises(UserError, match="declares 3 examples and makes 1"):
        read("sums", generated([("a", "b")], 3), data_root=None)
    with pytest.raises(UserError, match="equal ids"):
        read("sums", generated([("a", "b"), ("c", "d")], 2, ids=["x", "x"]), data_root=None)


# --- the mirror ----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_mirror(tmp_path):
    folder = tmp_path / "mirror" / "org" / "name"
    folder.mkdir(parents=True)
    write(folder, "train.jsonl", PAIRS)
    write(folder, "test.jsonl", PAIRS[:1])
    return tmp_path / "mirror"


def test_a_plain_hub_id_means_the_mirrors_training_files(small_mirror):
    assert plan(from_text("org/name"), data_root=small_mirror).n == 2
    assert plan(from_text("org/name:test.jsonl"), data_root=small_mirror).n == 1
    write(small_mirror / "org" / "name", "train-2.csv", PAIRS)
    with pytest.raises(UserError, match=r"not clear: test.jsonl, train-2.csv, train.jsonl \(name one: org/name:FILE"):
        plan(from_text("org/name"), data_root=small_mirror)


def test_a_hub_dataset_outside_the_mirror_is_declared_unknown(small_mirror):
    for data_root in (small_mirror, None):
        declared = plan(from_text("org/other@v1"), data_root=data_root)
        assert (declared.content, declared.n) == (None, None)
        assert declared.source == {"hub": "org/other", "revision": "v1", "files": []}


def test_a_mirror_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"the mirror .*nowhere is not a folder \(set HARNESS_DATA_ROOT"):
        plan(from_text("org/name"), data_root=tmp_path / "nowhere")


def test_rows_that_are_no_conversations_can_be_declared_for_a_benchmark(small_mirror):
    write(small_mirror / "org" / "name", "items.jsonl", [{"anything": 1}])
    declared = declare_files("items", Hub("org/name", ("items.jsonl",)), "b 1", data_root=small_mirror, cache=None)
    assert declared.n == 1
    assert declared.content is not None


SHIPPED = {"gsm8k": (7473, PairColumns), "muinstruct": (1600, PairColumns), "code_alpaca": (2017, AlpacaColumns)}
SHIPPED |= {"dolly_3k": (2996, ChatColumns)}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_datasets_read_from_the_mirror(mirror, name):
    from harness.api import Arm

    source = load_plugin(name).module.data_source(arm=Arm("t", (name,)))[name]
    n, kind = SHIPPED[name]
    declared = declare(name, source, f"{name} 1.0", data_root=mirror, cache=None)
    dataset = open_dataset(name, source, data_root=mirror)
    examples, content = dataset.examples(), dataset.content
    assert declared.n == len(examples) == len({example.id for example in examples}) == n
    assert declared.content == content
    assert isinstance(source.columns, kind)
    assert source.licence
    assert all(example.messages[-1].role == "assistant" for example in examples)


# --- rows that take no part ----------------------------------------------------------------------------------------


MIXED = [
    {"kind": "sum.small", "prompt": "1+1?", "completion": "2"},
    {"kind": "sum.large", "prompt": "90+90?", "completion": "180"},
    {"kind": "sum.odd", "prompt": "?", "completion": None},
    {"kind": "riddle", "prompt": "what?", "completion": "that"},
]


@pytest.mark.parametrize(
    ("taken", "answers"),
    [
        ({"only": {"kind": "riddle"}}, ["that"]),
        ({"only": {"kind": "sum.*"}, "unfit": "drop"}, ["2", "180"]),
        ({"unfit": "drop"}, ["2", "180", "that"]),
        ({"only": {"kind": "sum.*", "prompt": "90*"}}, ["180"]),
    ],
)
def test_the_rows_that_a_source_means_are_read_and_counted(tmp_path, taken, answers):
    source = DataSource(Files((write(tmp_path, "x.jsonl", MIXED),)), PairColumns(), **taken)
    examples = read("mine", source, data_root=None)
    assert [example.messages[-1].content for example in examples] == answers
    assert [example.id for example in examples] == [str(index) for index in range(len(answers))]
    for _ in range(2):  # counted, then remembered
        assert plan(source, cache=tmp_path / "cache").n == len(answers)


def test_which_rows_take_part_is_declared_and_nothing_where_all_do(tmp_path):
    everything = DataSource(Files((write(tmp_path, "x.jsonl", PAIRS),)), PairColumns())
    some = replace(everything, only={"prompt": "2*"})
    assert "rows" not in plan(everything).model_dump(mode="json")
    assert plan(some).model_dump(mode="json")["rows"] == {"only": {"prompt": "2*"}, "unfit": "refuse", "members": []}


def test_a_source_that_means_no_row_is_refused(tmp_path, refused):
    source = DataSource(Files((write(tmp_path, "x.jsonl", MIXED),)), PairColumns(), only={"kind": "poem"})
    assert refused(plan, source).startswith("no row of the dataset mine takes part")


def test_a_row_without_the_column_is_no_unfit_row(tmp_path, refused):
    source = DataSource(Files((write(tmp_path, "x.jsonl", PAIRS),)), PairColumns("question"), unfit="drop")
    assert "no column question" in refused(read, "mine", source, data_root=None)
