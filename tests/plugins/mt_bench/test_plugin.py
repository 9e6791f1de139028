import pytest
from harness.plugins import mt_bench
from harness.plugins.mt_bench import MTBenchOptions

from harness.api import Arm
from harness.evaluate.declare import Declarer
from harness.testing import check_plugin


def offered(**options):
    arm = Arm("sft", ("mt_bench",), {MTBenchOptions: MTBenchOptions(**options)})
    return {evaluator.name: evaluator for evaluator in mt_bench.evaluator(arm)}


def test_it_is_a_plug_in_as_others_are():
    check_plugin("mt_bench")


def test_all_variants_ask_the_same_so_a_model_answers_once():
    assert len({evaluator.task.questions for evaluator in offered().values()}) == 1


def test_no_two_variants_share_a_protocol_and_extra_judging_is_asked_for():
    found = offered()
    protocols = {name: evaluator.protocol for name, evaluator in found.items()}
    assert protocols == {
        "mt_bench": "official-1",
        "mt_bench_strict": "strict-1",
        "mt_bench_corrected": "sound-references-1",
        "mt_bench_pairwise": "pairwise-1",
    }
    assert [name for name, evaluator in found.items() if evaluator.optional] == [
        "mt_bench_corrected",
        "mt_bench_pairwise",
    ]
    assert {name: evaluator.task.scorer.needs for name, evaluator in found.items()} == {
        "mt_bench": {"judge"},
        "mt_bench_strict": {"judge"},
        "mt_bench_corrected": {"judge"},
        "mt_bench_pairwise": {"judge", "opponent"},
    }


def test_another_template_more_judgments_and_other_references_are_other_protocols():
    assert offered(template="vicuna_v1.1", repeats=3)["mt_bench"].protocol == "official-1-vicuna_v1.1-x3"
    assert offered(references="mine.jsonl")["mt_bench_corrected"].protocol == "corrected-1"


def test_ratings_are_shown_out_of_ten_and_win_rates_out_of_a_hundred():
    assert [evaluator.out_of for evaluator in offered().values()] == [10, 10, 10, 100]


@pytest.mark.parametrize("repeats", [0, 11])
def test_so_many_judgments_are_refused(repeats):
    with pytest.raises(ValueError, match="repeats"):
        MTBenchOptions(repeats=repeats)


def test_the_users_references_enter_the_key_by_their_content_wherever_they_lie(tmp_path):
    def declared(name, text):
        path = tmp_path / name
        path.write_text(text)
        scored = offered(references=str(path))["mt_bench_corrected"]
        return Declarer("mt_bench 1.0", None, None).evaluate(scored, {"model": "a judge"})

    one = declared("one.jsonl", '{"question_id": 104}\n')
    assert one == declared("moved.jsonl", '{"question_id": 104}\n')
    assert one != declared("other.jsonl", '{"question_id": 105}\n')
    assert str(tmp_path) not in one.model_dump_json()


def test_references_that_are_not_there_are_refused_before_anything_runs(refused, tmp_path):
    scored = offered(references=str(tmp_path / "gone.jsonl"))["mt_bench_corrected"]
    assert "gone.jsonl" in refused(Declarer("mt_bench 1.0", None, None).evaluate, scored, {})
