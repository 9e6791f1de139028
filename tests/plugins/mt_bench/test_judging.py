import json
from types import SimpleNamespace

import pytest
from harness.plugins.mt_bench import judging
from harness.plugins.mt_bench.judging import Preferences, Ratings
from harness.plugins.mt_bench.questions import TwoTurns

from harness.api import Files, Verdict
from harness.errors import UserError

FIRST, SECOND = "first", "second {answer}"
GONE = Verdict(None, "judge_error", "the endpoint is away")
MINE = Files(("mine.jsonl",))
CORRECTED = Ratings(sound=True, corrected=MINE)


def asks(judged):
    return [prompt.messages[1].content for prompt in judged.asked]


def system(judged):
    return [prompt.messages[0].content for prompt in judged.asked]


# --- prompts -------------------------------------------------------------------------------------------------------


def test_each_turn_is_rated_in_its_own_prompt(bench):
    judged = bench.judge(Ratings(), bench.answered(bench.item()), "[[7]]", "[[3]]")
    assert system(judged) == ["as single-v1", "as single-v1-multi-turn"]
    assert asks(judged) == [f"what?|{FIRST}", f"what?|{FIRST}|and why?|{SECOND}"]
    assert {(prompt.temperature, prompt.max_tokens, prompt.top_logprobs) for prompt in judged.asked} == {
        (0.0, 2048, None)
    }


@pytest.mark.parametrize("category", ["math", "reasoning", "coding"])
def test_where_answers_can_be_wrong_the_judge_sees_the_reference_file(bench, category):
    judged = bench.judge(
        Ratings(), bench.answered(bench.item(category, 101, reference=["of the", "question"])), "[[7]]", "[[3]]"
    )
    assert system(judged) == ["as single-math-v1", "as single-math-v1-multi-turn"]
    one, two = "the reference 101 one", "the reference 101 two"
    assert asks(judged) == [f"{one}|what?|{FIRST}", f"{one}|{two}|what?|{FIRST}|and why?|{SECOND}"]


def test_answers_are_judged_without_the_space_around_them(bench):
    judged = bench.judge(Ratings(), bench.answered(bench.item(), "\n one \n", " two"), "[[7]]", "[[3]]")
    assert asks(judged) == ["what?|one", "what?|one|and why?|two"]


def test_repeated_judgments_are_told_apart_and_the_first_is_that_of_a_single_one(bench):
    once = bench.judge(Ratings(), bench.answered(bench.item()), "[[7]]", "[[3]]")
    thrice = bench.judge(Ratings(3), bench.answered(bench.item()), *["[[7]]", "[[3]]"] * 3)
    assert thrice.asked[:2] == once.asked
    assert len({(prompt.messages, prompt.repeat) for prompt in thrice.asked}) == 6
    assert len({prompt.messages for prompt in thrice.asked}) == 2


def test_official_strict_and_corrected_ask_the_same_of_a_question_with_a_sound_reference(bench):
    bench.data[MINE] = bench.references(judging.REPORTED_WRONG, "corrected")
    response = bench.answered(bench.item("math", 112))
    scorers = (Ratings(), Ratings(protocol="official"), Ratings(sound=True), CORRECTED)
    asked = [bench.judge(scorer, response, "[[7]]", "[[3]]").asked for scorer in scorers]
    assert len({tuple((prompt.messages, prompt.repeat) for prompt in prompts) for prompts in asked}) == 1


class FastChat:
    """FastChat's own judging of single answers and of pairs; what it sends is noted, and nobody replies."""

    def __init__(self, common, real, monkeypatch):
        self._common = common
        self._prompts = {row["name"]: row for row in real[judging.PROMPTS]}
        self._references = {row["question_id"]: row for row in real[judging.REFERENCES]}
        self.sent = []
        self.sampling = set()

        def send(_, talk, *, temperature, max_tokens):
            self.sent.append(talk.to_openai_api_messages())
            self.sampling.add((temperature, max_tokens))
            return ""

        monkeypatch.setattr(common, "chat_completion_openai", send)

    def single(self, question, turns, *, multi_turn):
        judge, reference = self._judge(question, "single-v1", "single-math-v1", multi_turn)
        self._common.run_judge_single(question, self._answer(turns), judge, reference, multi_turn=multi_turn)

    def pair(self, question, one, other, *, multi_turn):
        judge, reference = self._judge(question, "pair-v2", "pair-math-v1", multi_turn)
        answers = self._answer(one), self._answer(other)
        self._common.run_judge_pair(question, *answers, judge, reference, multi_turn=multi_turn)

    def _judge(self, question, general, math, multi_turn):
        referenced = question["category"] in self._common.NEED_REF_CATS
        name = (math if referenced else general) + ("-multi-turn" if multi_turn else "")
        reference = self._references[question["question_id"]] if referenced else None
        return self._common.Judge("gpt-4", self._prompts[name]), reference

    @staticmethod
    def _answer(turns):
        return {"choices": [{"turns": turns}]}


@pytest.fixture
def peer(fastchat, real, monkeypatch):
    return FastChat(fastchat, real, monkeypatch)


def _openai(prompts):
    return [[{"role": message.role, "content": message.content} for message in prompt.messages] for prompt in prompts]


def test_the_prompts_are_those_that_fastchat_sends(real, bench, peer):
    own = []
    for item in TwoTurns().items(real.__getitem__):
        own += next(Ratings().score(bench.answered(item, "{a}", "b"), real.__getitem__, None))
        for multi_turn in (False, True):
            peer.single(item.content, ["{a}", "b"], multi_turn=multi_turn)
    assert len(own) == 160
    assert _openai(own) == peer.sent
    assert {(prompt.temperature, prompt.max_tokens) for prompt in own} == peer.sampling


def test_the_pairs_are_those_that_fastchat_sends(real, bench, peer):
    own = []
    for item in TwoTurns().items(real.__getitem__):
        response, opponent = bench.answered(item, "{a}", "b"), bench.answered(item, "c", "d")
        own += next(Preferences().score(response, real.__getitem__, opponent))
        for first, second in ((["{a}", "b"], ["c", "d"]), (["c", "d"], ["{a}", "b"])):
            for multi_turn in (False, True):
                peer.pair(item.content, first, second, multi_turn=multi_turn)
    assert len(own) == 320
    assert _openai(own) == peer.sent


# --- ratings -------------------------------------------------------------------------------------------------------


def test_a_question_is_the_mean_of_its_judgments_as_a_share_and_weighs_as_many(bench):
    scores = bench.judge(Ratings(), bench.answered(bench.item("stem", 141)), "[[7]]", "[[3]]").scores
    assert scores.values == pytest.approx({"rating": 0.5, "turn_1": 0.7, "turn_2": 0.3, "stem": 0.5})
    assert scores.weights == {"rating": 2, "turn_1": 1, "turn_2": 1, "stem": 2}
    assert scores.extracted == [7, 3]
    assert scores.missing is None


def test_repeats_are_averaged(bench):
    scores = bench.judge(
        Ratings(3), bench.answered(bench.item()), "[[7]]", "[[3]]", "[[8]]", "[[3]]", "[[9]]", "[[6]]"
    ).scores
    assert scores.values == pytest.approx({"rating": 0.6, "turn_1": 0.8, "turn_2": 0.4, "writing": 0.6})
    assert scores.weights == {"rating": 6, "turn_1": 3, "turn_2": 3, "writing": 6}


@pytest.mark.parametrize("lost", ["no rating", GONE])
def test_officially_a_judgment_without_a_rating_is_left_out_and_noted(bench, lost):
    scores = bench.judge(Ratings(protocol="official"), bench.answered(bench.item()), "[[7]]", lost).scores
    assert scores.values == pytest.approx({"rating": 0.7, "turn_1": 0.7, "writing": 0.7})
    assert scores.weights == {"rating": 1, "turn_1": 1, "writing": 1}
    assert scores.extracted == [7, None]
    assert [verdict.outcome for verdict in scores.judgments] == [
        "ok",
        "judge_error" if lost is GONE else "judge_unparsed",
    ]


@pytest.mark.parametrize("protocol", ["official", "strict"])
def test_a_question_without_any_rating_is_missing_and_no_zero(bench, protocol):
    scores = bench.judge(Ratings(protocol=protocol), bench.answered(bench.item()), "gibberish", "more of it").scores
    assert scores.values == {}
    assert scores.missing == "judge_unparsed"
    assert [verdict.text for verdict in scores.judgments] == ["gibberish", "more of it"]


@pytest.mark.parametrize(
    ("lost", "outcome"),
    [
        ("no rating", "judge_unparsed"),
        ("[[11]]", "judge_unparsed"),
        (GONE, "judge_error"),
        (Verdict(None, "judge_refused"), "judge_refused"),
    ],
)
def test_strictly_a_question_that_lacks_a_judgment_is_missing(bench, lost, outcome):
    scores = bench.judge(Ratings(), bench.answered(bench.item()), "[[7]]", lost).scores
    assert (scores.values, scores.missing) == ({}, outcome)
    assert [verdict.value for verdict in scores.judgments] == [7, None]


def test_the_weighted_mean_over_questions_is_fastchats_mean_over_judgments(bench, tmp_path, capsys):
    """FastChat's own `show_result`, given the same judgments."""
    show_result = pytest.importorskip("fastchat.llm_judge.show_result")

    says = [("[[9]]", "[[4]]"), ("[[8]]", "no rating"), ("[[2]]", "[[11]]"), ("none", "none"), ("[6]", "[[5.5]]")]
    found = [bench.judge(Ratings(protocol="official"), bench.answered(bench.item()), *pair).scores for pair in says]
    rows = [
        {"model": "m", "turn": turn, "score": value if value is not None else -1}
        for scores in found
        for turn, value in enumerate(scores.extracted or [None, None], start=1)
    ]
    file = tmp_path / "judgments.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    show_result.display_result_single(
        SimpleNamespace(input_file=str(file), model_list=None, bench_name="mt_bench", judge_model="gpt-4")
    )
    shown = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines() if line.startswith("m ")]
    assert [10 * _mean(found, name) for name in ("turn_1", "turn_2", "rating")] == pytest.approx(shown, abs=1e-5)


def _mean(found, name):
    pairs = [(scores.values[name], scores.weights[name]) for scores in found if name in scores.values]
    return sum(value * weight for value, weight in pairs) / sum(weight for _, weight in pairs)


# --- references ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", judging.REPORTED_WRONG)
def test_a_reference_reported_wrong_is_left_out_where_only_sound_ones_count(bench, number):
    judged = bench.judge(Ratings(sound=True), bench.answered(bench.item("math", number)), "[[7]]", "[[3]]")
    assert system(judged) == ["as single-v1", "as single-v1-multi-turn"]


def test_the_users_references_take_the_place_of_published_ones(bench):
    bench.data[MINE] = bench.references([*judging.REPORTED_WRONG, 101], "corrected")
    for number, says in (104, "corrected"), (101, "corrected"), (102, "the reference"):
        judged = bench.judge(CORRECTED, bench.answered(bench.item("reasoning", number)), "[[7]]", "[[3]]")
        assert asks(judged)[0].startswith(f"{says} {number} one|")
    judged = bench.judge(CORRECTED, bench.answered(bench.item("writing", 81)), "[[7]]", "[[3]]")
    assert asks(judged)[0].startswith("what?|")


def test_corrections_that_leave_a_wrong_reference_are_refused(bench, refused):
    bench.data[MINE] = bench.references([number for number in judging.REPORTED_WRONG if number not in (114, 130)])
    assert "lack those of 114, 130" in refused(
        bench.judge, CORRECTED, bench.answered(bench.item("math", 111)), "[[7]]", "[[3]]"
    )


@pytest.mark.parametrize("row", [{"question_id": 104}, {"question_id": 104, "choices": []}, {"answer": "4"}])
def test_corrections_in_another_form_are_refused(bench, refused, row):
    bench.data[MINE] = [row]
    assert '"choices"' in refused(bench.judge, CORRECTED, bench.answered(bench.item("math", 111)), "[[7]]", "[[3]]")


def test_the_users_file_is_declared():
    assert Ratings().data == (judging.PROMPTS, judging.REFERENCES)
    assert CORRECTED.data == (judging.PROMPTS, judging.REFERENCES, MINE)


def test_there_are_references_for_the_30_questions_that_need_one(real):
    items = TwoTurns().items(real.__getitem__)
    found = {item.id: Ratings().reference(item, real.__getitem__) for item in items}
    assert [int(id_) for id_, turns in found.items() if turns] == list(range(101, 131))
    sound = {item.id: Ratings(sound=True).reference(item, real.__getitem__) for item in items}
    assert {int(id_) for id_ in found if found[id_] and not sound[id_]} == set(judging.REPORTED_WRONG)
    assert len(judging.REPORTED_WRONG) == 13


# --- preferences ---------------------------------------------------------------------------------------------------


def test_both_orders_are_asked_of_both_turns(bench):
    judged = bench.judge(
        Preferences(),
        bench.answered(bench.item(), "a", "b"),
        *["[[A]]"] * 4,
        opponent=bench.answered(bench.item(), "c", "d"),
    )
    assert system(judged) == ["as pair-v2", "as pair-v2-multi-turn"] * 2
    assert asks(judged) == ["what?|a|c", "what?|and why?|a|b|c|d", "what?|c|a", "what?|and why?|c|d|a|b"]


@pytest.mark.parametrize(
    ("first", "swapped", "rate", "consistent"),
    [
        ("A", "B", 1, 1),
        ("B", "A", 0, 1),
        ("C", "C", 0.5, 1),
        ("A", "A", 0.5, 0),  # always the one shown first
        ("B", "B", 0.5, 0),
        ("A", "C", 0.5, 0),
        ("C", "A", 0.5, 0),
    ],
)
def test_what_does_not_win_in_both_orders_is_a_tie(bench, first, swapped, rate, consistent):
    says = [f"[[{first}]]", "[[C]]", f"[[{swapped}]]", "[[C]]"]
    scores = bench.judge(
        Preferences(), bench.answered(bench.item()), *says, opponent=bench.answered(bench.item(), "c", "d")
    ).scores
    assert scores.values["turn_1"] == rate
    assert scores.values["turn_2"] == 0.5
    assert scores.values["win_rate"] == (rate + 0.5) / 2
    outcome = {"won": rate == 1, "tied": rate == 0.5, "lost": rate == 0}
    expected = {name: (float(held) + (name == "tied")) / 2 for name, held in outcome.items()}
    assert {name: scores.values[name] for name in outcome} == expected
    assert scores.values["consistent"] == (consistent + 1) / 2
    assert set(scores.weights.values()) == {1, 2}


def test_a_pair_that_lacks_a_verdict_is_missing(bench):
    says = ["[[A]]", "[[A]]", "[[B]]", "no verdict"]
    scores = bench.judge(
        Preferences(), bench.answered(bench.item()), *says, opponent=bench.answered(bench.item(), "c", "d")
    ).scores
    assert (scores.values, scores.missing) == ({}, "judge_unparsed")


def test_repeats_are_matches_of_their_own(bench):
    says = ["[[A]]", "[[A]]", "[[A]]", "[[B]]", "[[B]]", "[[B]]", "[[A]]", "[[B]]"]
    scores = bench.judge(
        Preferences(2), bench.answered(bench.item()), *says, opponent=bench.answered(bench.item(), "c", "d")
    ).scores
    assert scores.values["win_rate"] == (1 + 1 + 0.5 + 0.5) / 4
    assert scores.weights["win_rate"] == 4


def test_equal_answers_are_tied_without_asking(bench):
    response = bench.answered(bench.item("stem"), "a", "b")
    with pytest.raises(StopIteration) as end:
        next(Preferences().score(response, bench.data.__getitem__, bench.answered(bench.item("stem"), " a", "b\n")))
    scores = end.value.value
    names = ("win_rate", "won", "tied", "lost", "turn_1", "turn_2", "stem")
    assert scores.values == dict(zip(names, (0.5, 0, 1, 0, 0.5, 0.5, 0.5), strict=True))
    assert scores.judgments == ()


def test_without_an_opponent_nothing_is_compared(bench):
    with pytest.raises(UserError, match="keep the baseline"):
        bench.judge(Preferences(), bench.answered(bench.item()))


def test_the_win_rate_is_fastchats(bench, tmp_path, capsys):
    """FastChat's own `show_result`, given the same verdicts."""
    show_result = pytest.importorskip("fastchat.llm_judge.show_result")

    verdicts = ["AABB", "ABBB", "ACBC", "BBAA", "CCCC", "AAAA", "ABBA"]
    names = {"A": "model_1", "B": "model_2"}
    swapped = {"A": "model_2", "B": "model_1"}
    found, rows = [], []
    for four in verdicts:
        says = [f"[[{letter}]]" for letter in four]
        found.append(
            bench.judge(
                Preferences(), bench.answered(bench.item()), *says, opponent=bench.answered(bench.item(), "c", "d")
            ).scores
        )
        rows += [
            {
                "model_1": "m",
                "model_2": "baseline",
                "g1_winner": names.get(four[turn], "tie"),
                "g2_winner": swapped.get(four[turn + 2], "tie"),
            }
            for turn in (0, 1)
        ]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    show_result.display_result_pairwise(
        SimpleNamespace(input_file=str(file), model_list=None, baseline_model="baseline", bench_name="", judge_model="")
    )
    (shown,) = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("m ")]
    assert [float(n) / len(rows) for n in shown[1:4]] == pytest.approx(
        [_mean(found, name) for name in ("won", "lost", "tied")]
    )
    assert float(shown[-1]) == pytest.approx(_mean(found, "win_rate"), abs=1e-5)


# --- controls ------------------------------------------------------------------------------------------------------


def test_a_model_that_always_says_the_same_is_told(bench):
    questions = [bench.item("writing", number) for number in range(81, 86)]
    for answers, alike in ((["Yes."] * 10, 1), ([f"my {n} {n * n} {n**3}" for n in range(10)], 1 / 10)):
        responses = [bench.answered(q, *answers[2 * n : 2 * n + 2]) for n, q in enumerate(questions)]
        scored = [(response, bench.judge(Ratings(), response, "[[9]]", "[[9]]").scores) for response in responses]
        assert Ratings().totals(scored, None) == {"answers_alike": pytest.approx(alike)}
