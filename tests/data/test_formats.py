import json
import tracemalloc
import zipfile
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data import formats
from harness.data.formats import rows
from harness.errors import UserError

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
tables = st.lists(st.dictionaries(st.text(max_size=3), values, max_size=3), max_size=6)


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")

    def to(name, content):
        (folder / name).write_bytes(content)
        return name, folder / name

    return to


def in_pieces(name, path):
    """The rows, where three characters of an array are read at a time."""
    with patch.object(formats, "_CHUNK", 3):
        return list(rows(name, path))


@given(found=tables, indent=st.none() | st.integers(0, 40), ascii_=st.booleans())
def test_an_array_read_in_pieces_is_the_array(write, found, indent, ascii_):
    text = json.dumps(found, indent=indent, ensure_ascii=ascii_)
    name, path = write("x.json", text.encode(errors="surrogatepass") if ascii_ else text.encode())
    assert [dict(row.values) for row in in_pieces(name, path)] == found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1: not JSON (Expecting value)"),
        ("nul", "line 1: not JSON (Expecting value)"),
        ('[{"a": 1}\n{"b": 2}]', "line 2: not JSON (Expecting ',' delimiter)"),
        ('[{"a": 1},\n\n]', "line 3: not JSON (Expecting value)"),
        ('[{"a": 1}]\n\n[]', "line 3: not JSON (Extra data)"),
        ('[{"a": 1},\n{"b": "\n"}]', "line 2: not JSON (Invalid control character at)"),
        ('[\n{"a": 1},\n{"b": tru', "line 3: not JSON (Expecting value)"),
        ('[\n{"a": 1},\n{"b": "no end', "line 3: not JSON (Unterminated string starting at)"),
        ('{"a": 1}', "the JSON is not an array of rows"),
        ('"text"', "the JSON is not an array of rows"),
        ("[1]", "row 1: 1 is not an object"),
    ],
)
def test_a_broken_array_is_named_with_its_line_however_it_is_read(write, text, problem):
    name, path = write("x.json", text.encode())
    with pytest.raises(UserError) as caught:
        in_pieces(name, path)
    assert problem in caught.value.problem


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.csv", "x.parquet"])
def test_no_file_is_held_whole(write, name):
    import pyarrow as pa
    from pyarrow import parquet

    text, n = "x" * 2000, 20_000
    if name == "x.parquet":
        sink = pa.BufferOutputStream()
        parquet.write_table(pa.table({"text": [text + str(i) for i in range(n)]}), sink, row_group_size=500)
        content = sink.getvalue().to_pybytes()
    elif name == "x.csv":
        content = "".join(["text\n", *(f"{text}{i}\n" for i in range(n))]).encode()
    else:
        lines = [json.dumps({"text": f"{text}{i}"}) for i in range(n)]
        content = ("\n".join(lines) if name == "x.jsonl" else f"[{','.join(lines)}]").encode()
    label, path = write(name, content)
    del content
    tracemalloc.start()
    assert sum(1 for _ in rows(label, path)) == n
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < n * len(text) / 4


# --- archives ------------------------------------------------------------------------------------------------------


def archive(folder, **members):
    path = folder / "x.zip"
    with zipfile.ZipFile(path, "w") as made:
        for name, content in members.items():
            made.writestr(name, content)
    return path


MEMBERS = {
    "data/b.jsonl": '{"a": 1}\n{"a": 2}\n',
    "data/a.json": '{\n  "a": 0\n}',
    "c.csv": "a\n3\n",
    "notes.txt": "nothing",
    "__MACOSX/data/._a.json": "\0",
    "data/.hidden.json": "\0",
}


def test_an_archives_rows_come_in_the_order_of_its_names(tmp_path):
    found = list(rows("x.zip", archive(tmp_path, **MEMBERS)))
    assert [row.values["a"] for row in found] == ["3", 0, 1, 2]
    assert [row.where for row in found] == [
        "x.zip/c.csv, line 2",
        "x.zip/data/a.json, line 1",
        "x.zip/data/b.jsonl, line 1",
        "x.zip/data/b.jsonl, line 2",
    ]


def test_of_an_archive_the_members_that_are_meant(tmp_path):
    path = archive(tmp_path, **MEMBERS)
    assert [row.values["a"] for row in rows("x.zip", path, ["data/*"])] == [0, 1, 2]
    assert [row.values["a"] for row in rows("x.zip", path, ["a.json", "*/a.json"])] == [0]


@pytest.mark.parametrize(
    ("members", "wanted", "problem"),
    [
        ({"a.txt": "x"}, (), "x.zip holds no data file (it holds no data files)"),
        ({"a.jsonl": "{}"}, ("b*",), "x.zip holds no b* (it holds a.jsonl)"),
        ({"a.jsonl": "{"}, (), "x.zip/a.jsonl, line 1: not JSON"),
        ({"a.json": "3"}, (), "x.zip/a.json: the JSON is not an array of rows"),
        ({"a.csv": b"a\n\xff\n"}, (), "x.zip/a.csv: not UTF-8 (save the file as UTF-8)"),
        (None, (), "x.zip: not a zip archive"),
    ],
)
def test_what_is_wrong_with_an_archive(tmp_path, refused, members, wanted, problem):
    if members is None:
        (tmp_path / "x.zip").write_bytes(b"PK nothing of the kind")
    else:
        archive(tmp_path, **members)
    assert refused(lambda: list(rows("x.zip", tmp_path / "x.zip", wanted))).startswith(problem)
