import json

from harness.evaluate.asked import read_asked, write_asked
from harness.jobs import ANSWERS, ASKED


def test_prompts_of_choices_are_written_once_and_come_back_for_each(tmp_path):
    rounds = [
        [{"prompt": "Capital?", "continuation": " Lyon"}, {"prompt": "Capital?", "continuation": " Paris"}],
        [{"prompt": [{"role": "user", "content": "And\u2028now?"}]}],
    ]
    write_asked(tmp_path / ASKED, [("a/0", rounds), ("b", [[{"prompt": "x"}], [{"prompt": "x"}]])])
    assert list(read_asked(tmp_path / ASKED)) == [("a/0", rounds), ("b", [[{"prompt": "x"}], [{"prompt": "x"}]])]


def test_equal_items_give_equal_files_and_repetition_costs_little(tmp_path):
    shots = "".join(f"Question {n}: what is {n} + {n}? Answer: {2 * n}\n" for n in range(50))
    items = [(str(n), [[{"prompt": f"{shots}Question: {n}?"}]]) for n in range(200)]
    for name in ("one", "two"):
        write_asked(tmp_path / name, iter(items))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert (tmp_path / "one").stat().st_size < 200 * len(shots) / 10


def test_a_run_keeps_what_it_asked_beside_its_answers(tiny_run):
    jobs = [path.parent for path in (tiny_run / "store" / "jobs").glob(f"*/{ASKED}")]
    assert len(jobs) == 6
    for job in jobs:
        answers = [json.loads(line) for line in (job / ANSWERS).read_text(encoding="utf-8").splitlines()]
        asked = list(read_asked(job / ASKED))
        assert [name for name, _ in asked] == [answer["id"] for answer in answers]
        assert all(len(rounds) == len(answer["rounds"]) for (_, rounds), answer in zip(asked, answers, strict=True))
