import json
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.api import DataSource, Example, Files, Generated, Message, PairColumns
from harness.data import flat
from harness.data.chat import Renderer
from harness.data.dialect import Dialect
from harness.data.rendering import Renderings
from harness.data.sources import declare, read
from harness.data.templates import TEMPLATES
from harness.data.tokenizer import train_tokenizer
from harness.errors import UserError
from harness.jobs import MixtureItem, Operation

WORDS = ["yes", "no", "</s>", "<|user|>", "é\n", " ", "12", "?"]
texts = st.lists(st.sampled_from(WORDS), max_size=6).map("".join)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["yes no 1 2 3?", *WORDS] * 3, 300, TEMPLATES["tulu"])


@pytest.fixture(scope="module")
def dialect(tokenizer):
    return Dialect.of(tokenizer)


@pytest.fixture(scope="module")
def make_folder(tmp_path_factory):
    return lambda: tmp_path_factory.mktemp("tokens")


@pytest.fixture
def written(monkeypatch):
    """Folders that were written, none of them twice."""
    folders = []
    original = flat.Writer.__enter__

    def watched(writer):
        folders.append(writer._folder.name)
        return original(writer)

    monkeypatch.setattr(flat.Writer, "__enter__", watched)
    return folders


def pairs(path, n, **more):
    rows = [{"prompt": f"{k}?" * (k % 3), "completion": "yes " * (k % 5), **more} for k in range(n)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DataSource(Files((str(path),)))


def item(source, *ops, name="mine"):
    return MixtureItem(data=declare(name, source, None, data_root=None, cache=None), ops=ops)


def amount(n, seed=0):
    return Operation(op="sample", amount=n, seed=seed)


def conversations(chosen):
    """Of each chosen conversation its id, ids, parts and special tokens in the text."""
    rendering = chosen.rendering
    spans = [slice(rendering.offsets[row], rendering.offsets[row + 1]) for row in chosen.rows]
    return [
        (rendering.names[row], rendering.ids[span].tolist(), rendering.parts[span].tolist(), rendering.special[row])
        for row, span in zip(chosen.rows, spans, strict=True)
    ]


def direct(tokenizer, examples):
    rendered = [(example.id, Renderer(tokenizer).render(example)) for example in examples]
    return [(id_, list(one.ids), [int(part) for part in one.parts], one.special_in_text) for id_, one in rendered]


@given(
    turns=st.lists(st.tuples(texts, texts, st.text(max_size=2)), max_size=8),
    samples=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 3)), max_size=2),
    warm=st.booleans(),
)
def test_the_cache_holds_what_the_chosen_examples_render_to(tokenizer, dialect, make_folder, turns, samples, warm):  # noqa: PLR0917
    examples = [
        Example(f"{k}{more}", (Message("user", asked), Message("assistant", said)))
        for k, (asked, said, more) in enumerate(turns)
    ]
    source = DataSource(Generated(lambda: iter(examples), len(examples), {}))
    chosen, ops = examples, []
    for size, seed in samples:
        ops.append(amount(min(size, len(chosen)), seed))
        digests = {e.id: sha256(f"{seed}/{e.id}".encode()).digest() for e in chosen}
        smallest = sorted(digests, key=digests.__getitem__)[:size]
        chosen = [example for example in chosen if example.id in smallest]
    renderings = Renderings({"mine": source}, dialect, make_folder())
    if warm:
        renderings.of(item(source))
    found = renderings.of(item(source, *ops))
    assert conversations(found) == direct(tokenizer, chosen)
    assert (found.name, found.content) == ("mine", None)


@pytest.mark.parametrize("own", [{}, {"id": "same"}])
def test_a_files_rows_are_found_by_content_wherever_they_lie(tokenizer, dialect, tmp_path, written, own):
    (tmp_path / "elsewhere").mkdir()
    sources = [pairs(tmp_path / "a.jsonl", 20, **own), pairs(tmp_path / "elsewhere" / "b.jsonl", 20, **own)]
    found = [Renderings({"mine": source}, dialect, tmp_path / "tokens").of(item(source)) for source in sources]
    wanted = direct(tokenizer, read("mine", sources[0], data_root=None))
    assert conversations(found[0]) == conversations(found[1]) == wanted
    assert found[0].content == item(sources[0]).data.content
    assert len(written) == 1


def test_samples_of_what_is_rendered_already_are_not_rendered_again(tokenizer, dialect, tmp_path, written):
    source = pairs(tmp_path / "a.jsonl", 30)
    examples = read("mine", source, data_root=None)
    renderings = Renderings({"mine": source}, dialect, tmp_path / "tokens")
    nine = renderings.of(item(source, amount(9)))
    four = renderings.of(item(source, amount(9), amount(4)))
    assert (len(nine.rendering), len(nine.rows), len(four.rendering), len(four.rows)) == (9, 9, 9, 4)
    assert len(written) == 1
    renderings.of(item(source))
    assert len(renderings.of(item(source, amount(5, seed=3))).rendering) == 30
    assert len(written) == 2
    assert conversations(renderings.of(item(source, amount(9)))) == conversations(nine)
    names = [nine.rendering.names[row] for row in nine.rows]
    assert conversations(nine) == direct(tokenizer, [example for example in examples if example.id in names])


def test_whatever_changes_a_token_changes_the_entry(dialect, tmp_path, written):
    source = pairs(tmp_path / "a.jsonl", 5)
    other = DataSource(source.location, PairColumns("completion", "prompt"))
    spaced = replace(dialect, template=dialect.template + " ")
    ways = [(source, dialect), (other, dialect), (source, spaced), (pairs(tmp_path / "b.jsonl", 6), dialect)]
    for rows, spoken in ways * 2:
        Renderings({"mine": rows}, spoken, tmp_path / "tokens").of(item(rows))
    assert len(set(written)) == len(written) == 4


def test_the_tokenizers_name_changes_nothing(dialect):
    assert replace(dialect, name="elsewhere").digest == dialect.digest


def test_progress_ends_at_the_number_of_conversations(dialect, tmp_path):
    source, seen = pairs(tmp_path / "a.jsonl", 30), []
    renderings = Renderings({"mine": source}, dialect, tmp_path / "tokens", report=lambda *now: seen.append(now))
    renderings.of(item(source, amount(12)))
    renderings.of(item(source))
    assert seen[0] == (12, 12)
    assert seen[-1] == (30, 30)


def test_a_row_that_cannot_be_understood_is_named_and_nothing_is_kept(dialect, tmp_path):
    path = tmp_path / "a.jsonl"
    source = pairs(path, 5)
    path.write_text(path.read_text() + '{"prompt": "a", "completion": 7}\n')
    with pytest.raises(UserError, match=r"a.jsonl, line 6: the column completion holds a int"):
        Renderings({"mine": source}, dialect, tmp_path / "tokens").of(item(source))
    assert not [entry for entry in (tmp_path / "tokens").iterdir() if entry.is_dir()]


def test_files_that_are_no_longer_those_planned_are_refused(dialect, tmp_path):
    source = pairs(tmp_path / "a.jsonl", 5)
    planned = item(source)
    pairs(tmp_path / "a.jsonl", 6)
    with pytest.raises(UserError, match="the files of the dataset mine have changed since the run was planned"):
        Renderings({"mine": source}, dialect, tmp_path / "tokens").of(planned)


def test_other_rows_of_the_same_file_are_another_rendering(tmp_path, dialect):
    source = pairs(tmp_path / "x.jsonl", 7)
    some = replace(source, only={"completion": "yes *"})
    renderings = Renderings({"all": source, "some": some}, dialect, tmp_path / "tokens")
    sizes = [len(renderings.of(item(of, name=name)).rows) for name, of in renderings.sources.items()]
    assert sizes == [7, 5]
