"""What each selection leaves, by numbers worked out by hand, and the properties that every selection has."""

import json
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from harness.plugins.alpagasus import Highly, JudgedHighly
from harness.plugins.decontaminate import Clean
from harness.plugins.deita import BestAndDiverse, JudgedBestAndDiverse
from harness.plugins.instag import JudgeTagged, Tagged, complex_and_diverse, tags_in
from harness.plugins.phased import Judged
from hypothesis import given
from hypothesis import strategies as st

from harness.api import (
    Curated,
    DataInfo,
    Example,
    Item,
    JudgeReply,
    Message,
    Mixture,
    Stage,
    Verdict,
    cells,
    ratings,
    select,
    transcript,
)
from harness.arms import ArmSpec, bind


class Tools:
    """Tools that answer from what a test hands them: the judge by a function of the conversation it is shown."""

    seed = 0

    def __init__(self, *, replies=None, vectors=None, benchmarks=None):
        self.replies, self.vectors, self._benchmarks = replies, vectors, benchmarks
        self.told = {}

    def ask(self, prompts):
        verdicts = []
        for prompt in prompts:
            reply = self.replies(prompt.messages[0].content, prompt.messages[1].content)
            value = None if reply is None else prompt.parse(JudgeReply(reply))
            outcome = "judge_error" if reply is None else "ok" if value is not None else "judge_unparsed"
            verdicts.append(Verdict(value, outcome))
        return verdicts

    def embed(self, texts, model):
        assert model == "tfidf"
        return np.array([self.vectors[text] for text in texts], dtype=np.float32)

    def benchmarks(self):
        return self._benchmarks

    def tell(self, name, value):
        self.told[name] = value


def example(id_, question="q", answer="a", **meta):
    return Example(id_, (Message("user", question), Message("assistant", answer)), meta)


def left(curation, examples, tools=None):
    return [one.id for one in curation.curate(examples, tools or Tools())["all"]]


# --- ratings -------------------------------------------------------------------------------------------------------


def rate(examples, tools=None, *, column=""):
    return ratings(examples, tools or Tools(), what="rating", column=column, question="How good?", scale=(0, 5))


def test_numbers_of_a_column_are_read_as_numbers_or_as_text():
    assert rate([example("a", score=5), example("b", score="3.75"), example("c", score=0.0)], column="score") == [
        5,
        3.75,
        0,
    ]


@pytest.mark.parametrize("cell", ["high", None, True, float("nan"), float("inf"), [4], 10**400])
def test_a_cell_that_is_no_number(refused, cell):
    said = refused(rate, [example("x", score=cell)], column="score")
    assert said == f"example x, column 'score': {str(cell)[:40]!r} is no number (name a column of numbers)"


def test_a_column_that_a_row_lacks(refused):
    said = refused(cells, [example("x", tags=[]), example("y", score=1, kind="b")], "tags")
    assert said == "example y has no column 'tags'; there are kind, score (name another column)"
    assert "there are none besides the conversation" in refused(cells, [example("x")], "tags")


@pytest.mark.parametrize(
    ("reply", "number"),
    [
        ("4.5", 4.5),
        (" 5\n", 5),
        ("Score: 3.5", 3.5),
        ("rating = 2.", 2),
        ("4/5", 4),
        ("4 / 5.", 4),
        ("4/10", None),
        ("4/0", None),
        (f"4/{'9' * 5000}", None),
        ("9" * 5000, None),
        ("0", 0),
        ("5.5", None),
        ("-1", None),
        ("I would say 4", None),
        ("4 5", None),
        ("", None),
        (None, None),
    ],
)
def test_what_a_judges_rating_may_look_like(reply, number):
    examples = [example("x"), example("y", "rated")]
    tools = Tools(replies=lambda _, conversation: "1" if "rated" in conversation else reply)
    assert rate(examples, tools) == [number, 1]


def test_the_judge_is_shown_the_whole_conversation_and_those_it_leaves_unrated_are_counted():
    examples = [example("a", "one"), example("b", "two"), example("c", "three")]
    shown = []

    def reply(_, conversation):
        shown.append(conversation)
        return {"one": "4", "two": "no idea", "three": None}[conversation.split("\n")[1]]

    tools = Tools(replies=reply)
    assert rate(examples, tools) == [4, None, None]
    assert shown == [transcript(one) for one in examples]
    assert shown[0] == "[user]\none\n\n[assistant]\na"
    assert tools.told == {"no rating": {"judge_unparsed": 1, "judge_error": 1}}


JUDGED = [
    JudgedHighly(4.5, "", "accurate"),
    JudgedBestAndDiverse(4, 0.9, "", "", "tfidf"),
    JudgeTagged("", "", None, 1, ""),
    Judged(),
]


@pytest.mark.parametrize("curation", JUDGED, ids=lambda curation: type(curation).__name__)
def test_a_judge_that_is_of_no_use_is_told_of_at_once(refused, curation):
    tools = Tools(replies=lambda _, conversation: None if "one" in conversation else "What a question!")
    said = refused(curation.curate, [example("a", "one"), example("b", "two"), example("c", "three")], tools)
    assert re.match(
        "the judge was asked about 3 examples, and there is no (rating|complexity|tags|difficulty) for", said
    )
    assert "any: 1 judge_error, 2 judge_unparsed (take a judge" in said


# --- alpagasus -----------------------------------------------------------------------------------------------------


def test_alpagasus_keeps_what_is_rated_high_enough():
    examples = [example(str(score), score=score) for score in (5, 4.5, 4.49, "4.75", 0)]
    curated = Highly(4.5, "score", "accurate").curate(examples, Tools())["all"]
    assert [(one.id, one.meta["alpagasus"]) for one in curated] == [("5", 5), ("4.5", 4.5), ("4.75", 4.75)]


def test_alpagasus_asks_the_judge_for_what_it_is_told_to_rate():
    def reply(question, conversation):
        assert "How helpful is the answer?" in question
        assert "from 0 to 5" in question
        return {"one": "4.5", "two": "4", "three": None}[conversation.split("\n")[1]]

    tools = Tools(replies=reply)
    examples = [example("a", "one"), example("b", "two"), example("c", "three")]
    assert left(JudgedHighly(4.5, "", "helpful"), examples, tools) == ["a"]
    assert tools.told == {"no rating": {"judge_error": 1}}


scores = st.lists(st.floats(0, 5), max_size=20)


@given(scores, st.floats(0, 5))
def test_alpagasus_takes_a_subset_in_order_and_the_rest_is_what_a_higher_threshold_would_leave(found, threshold):
    examples = [example(str(n), score=score) for n, score in enumerate(found)]
    kept = left(Highly(threshold, "score", "accurate"), examples)
    assert kept == [str(n) for n, score in enumerate(found) if score >= threshold]


# --- deita ---------------------------------------------------------------------------------------------------------

FOUR = [
    example("low", "low", complexity=1, quality=2),
    example("best", "best", complexity=3, quality=4),
    example("copy", "copy", complexity=2, quality=5),
    example("other", "other", complexity=3, quality=3),
]
"""Scores 2, 12, 10 and 9. Cosines with `best`: `copy` 0.96, `other` 0.6, `low` 0; `other` and `copy`: 0.8."""
VECTORS = {"low\na": (0, 1), "best\na": (1, 0), "copy\na": (0.96, 0.28), "other\na": (0.6, 0.8)}


@pytest.mark.parametrize(
    ("amount", "threshold", "expected", "alike"),
    [
        (4, 0.9, ["low", "best", "other"], 1),
        (2, 0.9, ["best", "other"], 1),
        (1, 0.9, ["best"], 0),
        (4, 0.5, ["low", "best"], 2),
        (4, 0.97, ["low", "best", "copy", "other"], 0),
        (9, 0.97, ["low", "best", "copy", "other"], 0),
    ],
)
def test_deita_takes_the_best_that_are_not_alike(amount, threshold, expected, alike):
    tools = Tools(vectors=VECTORS)
    curation = BestAndDiverse(amount, threshold, "complexity", "quality", "tfidf")
    assert left(curation, FOUR, tools) == expected
    assert tools.told == {"too alike": alike}


def test_deita_leaves_its_score_and_asks_for_what_no_column_has():
    def reply(question, conversation):
        assert "from 1 to 6" in question
        if "difficult" not in question:
            return "2"
        return None if "copy" in conversation else "3.5"

    tools = Tools(replies=reply, vectors=VECTORS)
    made = JudgedBestAndDiverse(4, 0.9, "", "", "tfidf").curate(FOUR, tools)["all"]
    assert [(one.id, one.meta["deita"]) for one in made] == [("low", 7), ("best", 7), ("other", 7)]
    assert tools.told == {"no complexity": {"judge_error": 1}, "no quality": {}, "too alike": 0}


@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6), st.floats(0, 2 * np.pi)), min_size=1, max_size=12),
    st.integers(1, 12),
    st.floats(-0.5, 1),
)
def test_deita_is_the_greedy_selection_that_its_definition_says(rows, amount, threshold):
    examples = [example(str(n), str(n), complexity=c, quality=q) for n, (c, q, _) in enumerate(rows)]
    angles = [angle for *_, angle in rows]
    vectors = np.array([(np.cos(angle), np.sin(angle)) for angle in angles], dtype=np.float32)
    taken = []
    for n in sorted(range(len(rows)), key=lambda n: -rows[n][0] * rows[n][1]):
        if len(taken) < amount and all(vectors[n] @ vectors[m] < np.float32(threshold) for m in taken):
            taken.append(n)
    tools = Tools(vectors={f"{n}\na": vector for n, vector in enumerate(vectors)})
    found = left(BestAndDiverse(amount, threshold, "complexity", "quality", "tfidf"), examples, tools)
    near = [abs(float(vectors[n] @ vectors[m]) - threshold) < 1e-6 for n in range(len(rows)) for m in range(n)]
    assert any(near) or found == [str(n) for n in sorted(taken)]


# --- instag --------------------------------------------------------------------------------------------------------

TAGGED = [
    example("0", tags=["Code", "python"]),
    example("1", tags="poetry,  Rhyme "),
    example("2", tags=["mathematics"]),
    example("3", tags=[]),
    example("4", tags=["cooking", "rhyme", "letters"]),
]


@pytest.mark.parametrize(
    ("drop", "keep", "expected"),
    [
        ("code|math", "", "134"),
        ("", "", "01234"),
        ("", "code|math", "02"),
        ("^rhyme$", "", "023"),
        ("python", "code|rhyme", "14"),
    ],
)
def test_instag_filters_by_pattern(drop, keep, expected):
    assert left(Tagged(drop, keep, None, 1, "tags"), TAGGED) == list(expected)


def test_instag_leaves_plain_tags_in_the_meta_and_tells_how_common_they_are():
    tools = Tools()
    made = Tagged("", "", None, 1, "tags").curate(TAGGED, tools)["all"]
    assert [one.meta["tags"] for one in made[:2]] == [["code", "python"], ["poetry", "rhyme"]]
    assert tools.told["tags"]["rhyme"] == 2
    assert sum(tools.told["tags"].values()) == 8


def test_instag_selects_by_tags_that_are_not_rare_and_filters_by_all():
    made = Tagged("code|math", "", 5, 2, "tags").curate(TAGGED, Tools())["all"]
    assert [(one.id, one.meta["tags"]) for one in made] == [
        ("1", ["poetry", "rhyme"]),
        ("4", ["cooking", "letters", "rhyme"]),
    ]
    assert left(Tagged("", "mathematics", None, 2, "tags"), TAGGED) == ["2"]


@pytest.mark.parametrize("cell", [None, 3, ["a", 1], {"a": 1}])
def test_cells_that_are_no_tags(refused, cell):
    said = refused(left, Tagged("", "", None, 1, "tags"), [example("x", tags=cell)])
    assert said.startswith("example x:")
    assert "are no tags" in said


def test_complexity_first_diverse_selection_by_hand():
    tags = {0: {"a"}, 1: {"a", "b", "c"}, 2: {"b", "c"}, 3: {"d", "a"}, 4: {"d"}, 5: set()}
    # By number of tags: 1, 2, 3, 0, 4, 5. Round 1 takes 1 (a b c) and 3 (d); round 2 takes 2 (b c), 0 (a) and 4 (d).
    for amount, expected in [(1, [1]), (2, [1, 3]), (3, [1, 3, 2]), (5, [1, 3, 2, 0, 4]), (9, [1, 3, 2, 0, 4])]:
        assert complex_and_diverse(tags, amount) == expected


tag_sets = st.dictionaries(st.integers(0, 30), st.sets(st.sampled_from("abcdefg")), max_size=15)


@given(tag_sets, st.integers(1, 20))
def test_a_selection_is_so_large_as_it_can_be_and_its_first_round_covers_all_tags(tags, amount):
    taken = complex_and_diverse(tags, amount)
    with_tags = [n for n, of in tags.items() if of]
    assert len(taken) == len(set(taken)) == min(amount, len(with_tags))
    assert taken[: len(taken) // 2] == complex_and_diverse(tags, len(taken) // 2)
    every = set().union(*tags.values())
    cover = next((k for k in range(len(taken) + 1) if set().union(*(tags[n] for n in taken[:k])) == every), None)
    assert len(taken) < len(with_tags) or cover is not None
    assert cover is None or cover <= len(every)


rows_of_tags = st.lists(
    st.lists(st.sampled_from(["code", "maths", "verse", "law"]), max_size=3), min_size=1, max_size=9
)


@given(rows_of_tags, st.sampled_from(["code|math", "verse", "l", "nothing"]))
def test_dropping_and_keeping_by_one_pattern_part_the_examples_in_two(tags, pattern):
    examples = [example(str(n), tags=of) for n, of in enumerate(tags)]
    dropped = left(Tagged(pattern, "", None, 1, "tags"), examples)
    kept = left(Tagged("", pattern, None, 1, "tags"), examples)
    assert sorted(dropped + kept, key=int) == [one.id for one in examples]
    assert dropped == left(Tagged(pattern, "", None, 1, "tags"), examples)


@pytest.mark.parametrize(
    ("reply", "tags"),
    [
        ('["Spelling", "letter  writing"]', {"spelling", "letter writing"}),
        ('Here they are:\n```json\n["a"]\n```', {"a"}),
        ("[]", set()),
        ('["a", ""]', {"a"}),
        ("a, b", None),
        ("[1, 2]", None),
        ('["a"', None),
        ('[{"tag": "a"}]', None),
        ("] [", None),
    ],
)
def test_tags_of_a_reply(reply, tags):
    assert tags_in(JudgeReply(reply)) == tags


def test_examples_that_the_judge_cannot_tag_are_left_out_and_counted():
    replies = {"one": '["verse"]', "two": "I cannot", "three": None, "four": '["math"]'}
    tools = Tools(replies=lambda _, shown: replies[shown.split("\n")[1]])
    examples = [example(word, word) for word in replies]
    assert left(JudgeTagged("math", "", None, 1, ""), examples, tools) == ["one"]
    assert tools.told["no tags"] == {"judge_unparsed": 1, "judge_error": 1}


def test_a_pattern_that_is_none(refused):
    assert "is no regular expression" in refused(bind, ArmSpec(("instag",), {"instag": {"drop": "("}}))


# --- decontaminate -------------------------------------------------------------------------------------------------

WORDS = [f"word{n}" for n in range(14)]


def benchmarks(*contents):
    return {"exam": [Item(str(n), {"question": content, "answer": 7}) for n, content in enumerate(contents)]}


def test_thirteen_words_in_a_row_are_an_overlap_and_twelve_are_none():
    known = benchmarks(" ".join(WORDS))
    tools = Tools(benchmarks=known)
    examples = [
        example("12", "So: " + ", ".join(WORDS[:12])),
        example("13", "So: " + ", ".join(WORDS[:13]).upper() + "!"),
        example("answer", answer=" ".join(["Well", *WORDS[1:], "it is"])),
        replace(example("rejected"), rejected=" ".join(WORDS[:13])),
        example("apart", " ".join(WORDS[:7]), " ".join(WORDS[7:])),
    ]
    assert left(Clean(13, 8), examples, tools) == ["12", "apart"]
    assert tools.told["overlaps"] == [
        {"example": "13", "benchmark": "exam", "item": "0"},
        {"example": "answer", "benchmark": "exam", "item": "0"},
        {"example": "rejected", "benchmark": "exam", "item": "0"},
    ]


def test_a_short_item_is_looked_for_whole():
    known = benchmarks(" ".join(WORDS[:8]), " ".join(WORDS[3:10]))
    examples = [example("eight", " ".join(WORDS[:9])), example("seven", " ".join(WORDS[3:11]))]
    tools = Tools(benchmarks=known)
    assert left(Clean(13, 8), examples, tools) == ["seven"]
    assert left(Clean(13, 7), examples, tools) == []
    assert [overlap["item"] for overlap in tools.told["overlaps"]] == ["0", "1"]
    assert left(Clean(3, 8), examples, tools) == []


@pytest.mark.parametrize(("known", "named"), [({}, "no benchmark"), (benchmarks(" ".join(WORDS[:7])), "exam")])
def test_benchmarks_with_nothing_to_look_for_clean_nothing(refused, known, named):
    said = refused(left, Clean(13, 8), [example("x")], Tools(benchmarks=known))
    assert said.startswith(f"nothing in {named} has 8 words in a row (lower decontaminate.shortest")


def test_texts_are_found_wherever_an_item_has_them():
    deep = {"exam": [Item("7", {"turns": [{"text": " ".join(WORDS)}, 3, None]})]}
    tools = Tools(benchmarks=deep)
    assert left(Clean(13, 8), [example("x", " ".join(WORDS))], tools) == []


texts = st.lists(st.sampled_from("abc"), max_size=7).map(" ".join)


@given(st.lists(texts, max_size=6), st.lists(texts, max_size=4), st.integers(1, 5))
def test_overlaps_are_those_of_a_plain_search(questions, items, n):
    examples = [example(str(k), question, "") for k, question in enumerate(questions)]
    found = left(Clean(n, 1), examples, Tools(benchmarks=benchmarks("unheard of", *items)))

    def looked_for(item):
        words = item.split()
        length = min(n, len(words))
        return [" ".join(words[k : k + length]) for k in range(len(words) - length + 1)] if length else []

    sought = [run for item in items for run in looked_for(item)]
    clean = [one.id for one in examples if not any(f" {run} " in f" {one.messages[0].content} " for run in sought)]
    assert found == clean


# --- around a strategy ---------------------------------------------------------------------------------------------

DATA = {
    "code": DataInfo("code", "specialist", 10),
    "chats": DataInfo("chats", "general", 20),
    "web": DataInfo("web", "pretraining", 30),
}


def stages(*methods, data=DATA, **options):
    return list(bind(ArmSpec(methods, options)).stages(data))


def test_a_selection_filters_the_data_of_whatever_strategy_there_is():
    high = Highly(4.5, "score", "accurate")
    (stage,) = stages("alpagasus", alpagasus={"column": "score"})
    assert stage == Stage("all", Mixture.of(Curated("code", high), Curated("chats", high)))
    tagged = JudgeTagged("code|math", "", None, 1, "")
    first, second = stages("instag", "dmt", dmt={"k": "1/2"})
    assert first.mixture == Mixture.of("code")
    assert second.mixture.items[0] == Curated("chats", tagged)
    assert second.mixture.items[1].parent == "code"


def test_a_replayed_share_is_one_of_what_is_left():
    _, general = stages("alpagasus", "dmt", alpagasus={"column": "s", "role": "specialist"}, dmt={"k": "1/2"})
    assert general.mixture.items[0] == "chats"
    assert general.mixture.items[1].parent == Curated("code", Highly(4.5, "s", "accurate"))


def test_selections_stack():
    (stage,) = stages("alpagasus", "decontaminate", alpagasus={"column": "s", "role": "general"})
    clean = Clean(13, 8)
    outer = [stage.mixture.items[1], stage.mixture.items[1].parents[0]]
    assert {type(one.curation) for one in outer} == {Clean, Highly}
    assert stage.mixture.items[0] == Curated("code", clean)


def test_a_role_that_no_dataset_holds(refused):
    assert "role 'poems'" in refused(stages, "deita", deita={"role": "poems"})


def test_text_for_pretraining_is_selected_where_it_is_named():
    clean = Clean(13, 8)
    plan = [Stage("all", Mixture.of("chats", "web"))]
    (stage,) = select(plan, DATA, "", clean)
    assert stage.mixture == Mixture.of(Curated("chats", clean), "web")
    (stage,) = select(plan, DATA, "pretraining", clean)
    assert stage.mixture == Mixture.of("chats", Curated("web", clean))


def test_the_judge_is_asked_only_where_no_column_is_named():
    kinds = {
        type(stages(name, **{name: options})[0].mixture.items[-1].curation)
        for name, options in [
            ("alpagasus", {}),
            ("deita", {"complexity": "c"}),
            ("instag", {}),
        ]
    }
    assert kinds == {JudgedHighly, JudgedBestAndDiverse, JudgeTagged}
    (stage,) = stages("deita", deita={"complexity": "c", "quality": "q"})
    assert stage.mixture.items[0].curation == BestAndDiverse(6000, 0.9, "c", "q", "tfidf")


# --- the mirror's real rows ----------------------------------------------------------------------------------------


def test_phased_sfts_real_scores_are_a_column_to_filter_by(mirror):
    from harness.data.show import find
    from harness.data.sources import open_dataset

    found = find("picked:alpaca_scored")
    examples = open_dataset(found.name, found.source, data_root=mirror).examples(meta=True)
    counts = Counter(float(one.meta["score"]) for one in examples)
    assert sum(counts.values()) == 6889
    kept = left(Highly(4.5, "score", "accurate"), examples)
    assert len(kept) == sum(n for score, n in counts.items() if score >= 4.5)
    assert 0 < len(kept) < 6889


def test_a_real_training_set_overlaps_with_itself_alone(mirror):
    rows = [json.loads(line) for line in (mirror / "openai/gsm8k/test.jsonl").read_text().splitlines()]
    known = {"gsm8k": [Item(str(n), row) for n, row in enumerate(rows)]}
    leaked = [example(f"test{n}", row["question"], row["answer"]) for n, row in enumerate(rows[:20])]
    longer = replace(leaked[0], id="longer", messages=(*leaked[0].messages, Message("user", "Why?")))
    tools = Tools(benchmarks=known)
    assert left(Clean(13, 8), [*leaked, longer, example("own", "What is 2 + 2?", "4")], tools) == ["own"]
    assert [overlap["item"] for overlap in tools.told["overlaps"]] == [*map(str, range(20)), "0"]


def test_ten_of_gsm8ks_training_questions_overlap_with_its_test_questions(mirror):
    def rows(name):
        return [json.loads(line) for line in (mirror / f"openai/gsm8k/{name}.jsonl").read_text().splitlines()]

    def runs(row):
        for text in (row["question"], row["answer"]):
            words = re.findall(r"\w+", text.lower())
            yield from (tuple(words[k : k + 13]) for k in range(len(words) - 12))

    train, test = rows("train"), rows("test")
    sought = {run for row in test for run in runs(row)}
    expected = [str(n) for n, row in enumerate(train) if not sought.isdisjoint(runs(row))]
    tools = Tools(benchmarks={"gsm8k": [Item(str(n), row) for n, row in enumerate(test)]})
    examples = [example(str(n), row["question"], row["answer"]) for n, row in enumerate(train)]
    left(Clean(13, 13), examples, tools)
    assert [overlap["example"] for overlap in tools.told["overlaps"]] == expected
    assert len(expected) == 10
