"""Files of samples from strangers: what is no sample is refused by its line, whatever it is."""

import json

import pytest

from harness.board.samples import read_samples
from harness.errors import Failure

SAMPLE = {"id": 1, "doc_sha256": "a", "scores": {"exact_match,none": 1.0}, "weights": {"exact_match,none": 2}}


def written(folder, *lines):
    path = folder / "samples.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_samples_in_their_order(tmp_path):
    other = {"id": 0, "doc_sha256": "a", "scores": {}}
    assert read_samples(written(tmp_path, json.dumps(SAMPLE), json.dumps(other))) == [SAMPLE, other]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[" * 100_000,
        "[]",
        '{"id": 1, "scores": {}}',
        '{"id": 1, "doc_sha256": "a"}',
        '{"id": 1, "doc_sha256": "a", "scores": [1]}',
        '{"id": 1, "doc_sha256": "a", "scores": {"a": NaN}}',
        '{"id": 1, "doc_sha256": "a", "scores": {}, "response": -Infinity}',
        '{"id": 1, "doc_sha256": "a", "scores": {"a": 1e400}}',
        f'{{"id": 1, "doc_sha256": "a", "scores": {{"a": 1{"0" * 400}}}}}',
        '{"id": 1, "doc_sha256": "a", "scores": {"a": 1}, "weights": 2}',
        '{"id": 1, "doc_sha256": "a", "scores": {"a": 1}, "weights": {"a": "2"}}',
        '{"id": 1, "doc_sha256": "a", "scores": {"a": 1}, "weights": {"a": -0.2}}',
        '{"id": 1, "doc_sha256": "a", "scores": {"a": 1}, "weights": {"a": Infinity}}',
    ],
)
def test_a_line_that_is_no_sample(tmp_path, line):
    path = written(tmp_path, json.dumps(SAMPLE), line)
    with pytest.raises(Failure, match=r"samples\.jsonl:2 is not a sample: "):
        read_samples(path)


def test_an_item_that_stands_there_twice(tmp_path):
    path = written(tmp_path, json.dumps(SAMPLE), json.dumps(SAMPLE))
    with pytest.raises(Failure, match=r"samples\.jsonl:2 holds item 1 a second time"):
        read_samples(path)
