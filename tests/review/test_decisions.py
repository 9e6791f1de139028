"""Decisions on disk: candidates' ids, undo, lines that a crash cut off, two reviews together, what is exported."""

import json
import math
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from harness.cli.app import app
from harness.review.agreement import cohens_kappa, merge
from harness.review.candidates import read_candidates
from harness.review.decisions import Decision, Decisions, journal, kept, lines_of, read_decisions

VERDICTS = st.sampled_from(("keep", "drop"))


def decision(row, verdict, edited=None):
    return Decision(row=row, verdict=verdict, edited=edited)


def standing(**verdicts):
    return {row: decision(row, verdict) for row, verdict in verdicts.items()}


@pytest.fixture
def harness(monkeypatch, tmp_path):
    """Gives a command; returns what it prints, or raises what it refuses with."""
    monkeypatch.chdir(tmp_path)

    def give(*arguments):
        done = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
        assert done.exit_code == 0
        return done.output

    return give


# --- candidates ----------------------------------------------------------------------------------------------------


def test_ids_stay_when_rows_are_added_and_moved(candidates):
    rows = [{"prompt": f"q{i}", "completion": "a", "score": i} for i in range(4)]
    before = read_candidates(candidates(rows))
    after = read_candidates(candidates([{"prompt": "new", "completion": "a", "score": 9}, *reversed(rows)]))
    assert [one.id for one in after[1:]] == [one.id for one in reversed(before)]
    assert before[2].facts == {"score": 2}


def test_equal_rows_are_two_candidates(candidates):
    one, two, three = read_candidates(candidates([{"prompt": "q", "completion": "a"}] * 3))
    assert (two.id, three.id) == (f"{one.id}-2", f"{one.id}-3")


def test_rows_without_a_conversation_are_refused_by_their_line(candidates, refused):
    assert "candidates.jsonl, line 2" in refused(read_candidates, candidates([{"prompt": "q", "completion": "a"}, {}]))
    assert "holds no rows" in refused(read_candidates, candidates([]))
    assert "no usual form of conversation fits" in refused(read_candidates, candidates([{"a": "b"}]))


@pytest.mark.parametrize("cell", ["NaN", "Infinity", r'"\ud83d"'])
def test_rows_that_have_no_exact_json_or_utf_8_are_reviewed_all_the_same(harness, tmp_path, cell):
    path = tmp_path / "candidates.jsonl"
    path.write_text(f'{{"prompt": "q", "completion": "a", "x": {cell}}}\n')
    (candidate,) = read_candidates(path)
    assert candidate.facts == {"x": "\ud83d" if "ud83d" in cell else None}
    taken = [decision(candidate.id, "edit", {**candidate.row, "prompt": "better"})]
    with journal(tmp_path / "ann") as written:
        written.take(taken[0])
    assert [*read_decisions(tmp_path / "ann").standing.values()] == taken
    harness("data", "review", "--merge", "ann", "ann", "--out", "both")
    harness("data", "review", path, "--decisions", "both", "--export", "kept.jsonl")
    assert [one.row for one in read_candidates(tmp_path / "kept.jsonl")] == [taken[0].edited]
    assert (tmp_path / "kept.jsonl").read_bytes().decode()  # UTF-8, as whoever trains on it wants


# --- decisions -----------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), VERDICTS), max_size=12), st.data())
def test_undoing_the_last_ones_leaves_what_stood_before_them(taken, data):
    n = data.draw(st.integers(0, len(taken)))
    decisions = Decisions(decision(row, verdict) for row, verdict in taken)
    for _ in range(n):
        decisions.take(decision(decisions.last("abc").row, "undo"))
    assert {row: one.verdict for row, one in decisions.standing.items()} == dict(taken[: len(taken) - n])


def test_only_decisions_on_rows_at_hand_are_taken_back():
    decisions = Decisions([decision("here", "keep"), decision("elsewhere", "drop")])
    assert decisions.last({"here"}) == decision("here", "keep")
    assert decisions.last({"nowhere"}) is None


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(("keep", "drop", "undo"))), max_size=12))
def test_a_file_says_what_was_decided(tmp_path_factory, taken):
    path = tmp_path_factory.mktemp("review") / "own.review.jsonl"
    whole = Decisions()
    with journal(path) as written:
        for row, verdict in taken:
            written.take(decision(row, verdict))
            whole.take(decision(row, verdict))
            assert read_decisions(path).standing == whole.standing
    with journal(path) as again:
        assert again.decisions.standing == whole.standing
        assert again.decisions.last("abc") == whole.last("abc")


def test_a_line_that_a_crash_cut_off_was_never_taken(tmp_path):
    path = tmp_path / "own.review.jsonl"
    whole = lines_of([decision("a", "keep"), decision("b", "drop")])
    for cut in range(len(whole)):
        path.write_text(whole[:cut])
        left = whole[:cut].count("\n")
        assert len(read_decisions(path).standing) == left
        with journal(path) as written:
            written.take(decision("c", "edit", {"prompt": "q"}))
        assert path.read_text() == "".join(whole.splitlines(keepends=True)[:left]) + lines_of(
            [decision("c", "edit", {"prompt": "q"})]
        )


def test_a_broken_line_is_named(tmp_path, refused):
    path = tmp_path / "own.review.jsonl"
    path.write_text(lines_of([decision("a", "keep")]) + '{"row": "b", "verdict": "maybe"}\n')
    assert f"{path}, line 2: no decision" in refused(read_decisions, path)


@pytest.mark.parametrize(
    "content", [b'[{"prompt": "q", "completion": "a"}]', b"weights", b"\x00" * 8, b'{"rowing": 1}']
)
def test_a_file_that_somebody_else_wrote_is_left_as_it_is(tmp_path, refused, content):
    path = tmp_path / "notes.json"
    path.write_bytes(content)

    def take():
        with journal(path) as written:
            written.take(decision("a", "keep"))

    assert f"{path} is no file of decisions" in refused(take)
    assert path.read_bytes() == content


def test_candidates_are_no_decisions(harness, pairs, refused):
    path = pairs(1)
    assert "and no decisions" in refused(harness, "data", "review", path, "--decisions", path.parent / "." / path.name)


# --- two reviews ---------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_kappa_is_scikit_learns(pairs):
    from sklearn.metrics import cohen_kappa_score

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = cohen_kappa_score(*zip(*pairs, strict=True), labels=[False, True])
    found = cohens_kappa(pairs)
    assert (found is None) == math.isnan(theirs)
    assert found is None or found == pytest.approx(theirs)


def test_kappa_by_hand():
    # Cohen's own kind of table: 20 kept by both, 15 dropped by both, 5 and 10 differ; p_o = 0.7, p_e = 0.5.
    pairs = [(True, True)] * 20 + [(True, False)] * 5 + [(False, True)] * 10 + [(False, False)] * 15
    assert cohens_kappa(pairs) == pytest.approx(0.4)
    assert cohens_kappa([(True, True)] * 3) is None
    assert cohens_kappa([]) is None


def test_what_two_decided_together():
    ann = {**standing(a="keep", b="drop", c="keep", d="keep"), "e": decision("e", "edit", {"x": 1})}
    bob = {**standing(a="keep", b="drop", c="drop", f="drop"), "e": decision("e", "edit", {"x": 2})}
    found = merge(ann, bob)
    assert {one.row: one.verdict for one in found.together} == {"a": "keep", "b": "drop", "d": "keep", "f": "drop"}
    assert (set(found.open), found.both, found.alone, found.agreed) == ({"c", "e"}, 4, (1, 1), 3)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abcdef"), VERDICTS), st.dictionaries(st.sampled_from("abcdef"), VERDICTS))
def test_merging_has_no_order_and_loses_no_row(one, other):
    ab, ba = merge(standing(**one), standing(**other)), merge(standing(**other), standing(**one))
    assert {d.row: d.verdict for d in ab.together} == {d.row: d.verdict for d in ba.together}
    assert (ab.kappa, ab.agreed, set(ab.open)) == (ba.kappa, ba.agreed, set(ba.open))
    assert {d.row for d in ab.together} | set(ab.open) == set(one) | set(other)


def test_two_reviews_are_merged_and_what_is_open_is_left_to_a_third(harness, pairs, tmp_path):
    path = pairs(4)
    rows = [candidate.id for candidate in read_candidates(path)]
    for name, verdicts in (("ann", ("keep", "drop", "keep")), ("bob", ("keep", "drop", "drop", "keep"))):
        decisions = [decision(row, verdict) for row, verdict in zip(rows, verdicts, strict=False)]
        (tmp_path / name).write_text(lines_of(decisions))
    assert harness("data", "review", "--merge", "ann", "bob", "--out", "both").splitlines() == [
        "3 candidates by both, 0 and 1 by one alone",
        "kept or dropped alike: 2, 66.7 %; Cohen's kappa 0.40",
        "3 decisions in both; 1 are left open: harness data review FILE --decisions both",
    ]
    assert rows[2] not in read_decisions(tmp_path / "both").standing


def test_what_cannot_be_merged(harness, tmp_path, refused):
    for name, row in (("ann", "a"), ("bob", "b")):
        (tmp_path / name).write_text(lines_of([decision(row, "keep")]))
    assert "decide on no candidate both" in refused(harness, "data", "review", "--merge", "ann", "bob", "--out", "both")
    assert "there is no file eve" in refused(harness, "data", "review", "--merge", "ann", "eve", "--out", "both")
    assert "is there already" in refused(harness, "data", "review", "--merge", "ann", "bob", "--out", "bob")
    assert "writes a third" in refused(harness, "data", "review", "--merge", "ann", "bob")
    for more in (("--as", "eve"), ("--decisions", "eve"), ("--export", "kept.jsonl"), ("ann",)):
        assert "writes a third" in refused(harness, "data", "review", "--merge", "ann", "bob", "--out", "both", *more)
    assert "is where --merge writes" in refused(harness, "data", "review", "ann", "--out", "both")


# --- export --------------------------------------------------------------------------------------------------------


def test_kept_rows_are_exported_in_the_files_order(harness, pairs, tmp_path, refused):
    path = pairs(4, score=1.5)
    rows = read_candidates(path)
    assert "holds no decision on these rows" in refused(harness, "data", "review", path, "--export", "kept.jsonl")
    edited = {"input": "q", "output": "better", "score": 1.5}
    taken = [decision(rows[3].id, "keep"), decision(rows[0].id, "edit", edited), decision(rows[1].id, "drop")]
    path.with_name(f"{path.name}.review.jsonl").write_text(lines_of(taken))
    said = harness("data", "review", path, "--export", "kept.jsonl")
    assert said == "kept.jsonl: 2 kept, 1 of them edited; 1 dropped; 1 left\n"
    written = [json.loads(line) for line in (tmp_path / "kept.jsonl").read_text().splitlines()]
    assert written == [edited, dict(rows[3].row)]
    assert [one.row for one in read_candidates(tmp_path / "kept.jsonl")] == written
    assert "writes JSONL" in refused(harness, "data", "review", path, "--export", "kept.csv")


def test_an_export_writes_over_nothing_that_it_reads(harness, pairs, tmp_path, refused):
    path = pairs(2)
    decisions = path.with_name(f"{path.name}.review.jsonl")
    decisions.write_text(lines_of([decision(read_candidates(path)[0].id, "keep")]))
    (tmp_path / "other.jsonl").symlink_to(path)
    before = {file: file.read_bytes() for file in (path, decisions)}
    for out in (path.name, decisions, "other.jsonl"):
        assert "would write over" in refused(harness, "data", "review", path, "--export", out)
    assert {file: file.read_bytes() for file in before} == before


def test_decisions_on_rows_that_are_gone_are_passed_over(pairs):
    rows = read_candidates(pairs(1))
    assert kept(rows, standing(gone="keep")) == []
