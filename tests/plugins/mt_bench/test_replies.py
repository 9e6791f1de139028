"""The table of judgments that FastChat's parser reads otherwise than they are meant, and more of their kind."""

import pytest
from harness.plugins.mt_bench.replies import DROPPED, official_rating, preference, strict_rating

from harness.api import JudgeReply

TABLE = [
    # what the judge says, FastChat's reading, the strict one
    ("Rating: [[7]]", 7, 7),
    ("Rating: [[8.5]]", 8.5, 8.5),
    ("cite [1] then score 9", 1, 9),
    ("The format [[5]] asked. Rating: [[9]]", 5, 9),
    ("Rating: [[11]]", 11, None),
    ("Rating: [[8/10]]", DROPPED, 8),
    ("Rating: [[ 7 ]]", DROPPED, 7),
    ("**Rating: 7**", DROPPED, 7),
    ("I cannot rate this.", DROPPED, None),
    ("", DROPPED, None),
    # more of their kind
    ("Rating: **[[7]]**", 7, 7),
    ("Rating: [7]", 7, 7),
    ("Rating: [[0]]", 0, None),
    ("Rating: [[10]]", 10, 10),
    ("Rating: [[10.5]]", 10.5, None),
    ("Rating: [[4/5]]", DROPPED, None),
    ("Rating: [[-3]]", DROPPED, None),
    ("Rating: [[NaN]]", DROPPED, None),
    ("Rating: [[inf]]", DROPPED, None),
    ("Rating: [[7-8]]", DROPPED, None),
    ("In the form [[5]]: Rating: [[N/A]]", 5, None),
    ("Rating: [[6]], in the form [[rating]]", 6, 6),
    ("see [1] and [2]", 1, None),
    ("Rating: 7 out of 10", DROPPED, 7),
    ("Overall score (1 to 10): 6/10.", DROPPED, 6),
    ("Rating: 70%", DROPPED, None),
    ("Score: 80/100", DROPPED, None),
    ("a score of 1 to 10", DROPPED, None),
    ("Accuracy score: 9. Depth score: 3.", DROPPED, None),
    ("Score: 9, so the rating is 9", DROPPED, 9),
    (f"Rating: [[{'9' * 400}.0]]", DROPPED, None),
    (f"Rating: [[{'9' * 400}]]", DROPPED, None),
    (f"Rating: [[{'9' * 5000}]]", DROPPED, None),
]


@pytest.mark.parametrize(("says", "official", "strict"), TABLE, ids=[text[0][:40] for text in TABLE])
def test_the_official_and_the_strict_reading(says, official, strict):
    reply = JudgeReply(says)
    assert official_rating(reply) == official
    assert strict_rating(reply) == strict


@pytest.mark.parametrize("says", [says for says, *_ in TABLE if "9" * 400 not in says])
def test_the_official_reading_is_fastchats(fastchat, monkeypatch, says):
    assert _fastchats(fastchat, monkeypatch, says) == official_rating(JudgeReply(says))


@pytest.mark.parametrize("number", ["08", "007"])
def test_what_fastchat_dies_of_is_dropped_officially_and_read_strictly(fastchat, monkeypatch, number):
    says = f"Rating: [[{number}]]"
    with pytest.raises(SyntaxError):
        _fastchats(fastchat, monkeypatch, says)
    assert official_rating(JudgeReply(says)) == DROPPED
    assert strict_rating(JudgeReply(says)) == int(number)


def test_a_call_that_fails_is_no_rating_for_either(fastchat):
    says = JudgeReply(fastchat.API_ERROR_OUTPUT)
    assert (official_rating(says), strict_rating(says)) == (DROPPED, None)


@pytest.mark.parametrize("says", ["Rating: [[5]]", "Rating: 5"])
def test_a_judgment_that_was_cut_off_is_no_strict_one(says):
    cut = JudgeReply(says, finish="length")
    assert official_rating(cut) == official_rating(JudgeReply(says))
    assert strict_rating(cut) is None


@pytest.mark.parametrize(
    ("says", "strict"),
    [
        ("[[A]]", "A"),
        ("Of [[A]], [[B]] and [[C]] for a tie: my verdict is [[B]].", "B"),
        ("**[[C]]**", "C"),
        ("[[D]]", None),
        ("A is better", None),
        ("", None),
    ],
)
def test_the_last_preference_counts(says, strict):
    assert preference(JudgeReply(says)) == strict
    assert preference(JudgeReply(says, finish="length")) is None


def _fastchats(common, monkeypatch, says):
    """The rating that FastChat's own code gives for these words of a judge."""
    monkeypatch.setattr(common, "chat_completion_openai", lambda *_, **__: says)
    template = {"prompt_template": "{question}{answer}", "system_prompt": "", "output_format": "[[rating]]"}
    answer = {"choices": [{"turns": ["", ""]}]}
    judge = common.Judge("gpt-4", template)
    return common.run_judge_single({"turns": ["", ""]}, answer, judge, None)[0]
