from dataclasses import replace

import pytest

from harness.api import Benchmark, Item, Questions, Reply, Response, Scorer, Scores
from harness.evaluate.controls import told_alike
from harness.evaluate.marking import Together
from harness.evaluate.samples import Sample


def sample(*texts):
    rounds = [[{"text": text, "finish": "stop", "tokens": 3, "prompt_cut": 0}] for text in texts]
    return Sample({"id": "1", "doc_sha256": "", "prompt_sha256": "", "rounds": rounds}, None, Scores({"rating": 0.9}))


def told(*answers):
    return [sample.alike for sample in told_alike([sample(*texts) for texts in answers])]


def test_the_items_that_most_answers_are_alike_for_are_told():
    assert told(("Yes.", "No."), ("what", "else"), ("yes.", "no."), ("Yes.", "No.")) == [True, False, True, True]


@pytest.mark.parametrize("alike", [1, 2])
def test_half_the_items_or_a_single_one_are_nothing_to_tell(alike):
    answers = [("Yes.",)] * alike + [(f"answer {n} of {n * n} more",) for n in range(alike - 1)] + [("one", "two")]
    assert told(*answers) == [False] * len(answers)
    assert told(("Yes.",)) == [False]


def test_all_turns_count():
    assert told(("Yes.", "what this is"), ("Yes.", "and that was"), ("Yes.", "for other things")) == [False] * 3


def test_the_line_of_a_sample_says_so_only_where_it_is_so():
    one, other = told_alike([sample("Yes."), sample("Yes.")])
    assert one.line()["alike"] is True
    assert "alike" not in sample("Yes.").line()
    assert other.alike


class Unasked(Questions):
    def items(self, read):
        raise NotImplementedError

    def ask(self, item):
        raise NotImplementedError


class Checked(Scorer):
    def score(self, response, read, opponent):
        raise NotImplementedError


class Judged(Checked):
    needs = frozenset({"judge"})


@pytest.mark.parametrize(("scorer", "alike"), [(Judged(), True), (Checked(), False)])
def test_only_judges_are_won_over(scorer, alike):
    responses = [Response(Item(str(n), {}), ((Reply("Yes.", "stop"),),)) for n in range(3)]
    samples = [replace(one, record={**one.record, "id": str(n)}) for n, one in enumerate([sample("Yes.")] * 3)]
    together = Together(Benchmark(Unasked(), scorer, "rating"), responses, lambda _: [])
    assert [one.alike for one in together.settled(samples)] == [alike] * 3
