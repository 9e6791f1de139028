"""Which worker does a job: whoever needs torch gets a lane with a model's threads, and whoever waits one apart."""

import pytest

from harness.jobs import Job
from harness.lanes import LIGHT, lane

ENGINE = {"name": "hf"}
JUDGE = {"model": "judge-1"}
TFIDF, SENTENCES = {"name": "tfidf"}, {"name": "org/encoder"}


@pytest.mark.parametrize(
    ("engine", "judge", "embedder", "expected"),
    [
        (None, None, None, "data"),
        (None, None, TFIDF, "data"),
        (None, None, SENTENCES, "torch"),
        (None, JUDGE, None, "judge"),
        (None, JUDGE, TFIDF, "judge"),
        (None, JUDGE, SENTENCES, "torch"),
        (None, JUDGE, {"content": "1f"}, "torch"),
        (ENGINE, None, None, "torch"),
        (ENGINE, None, SENTENCES, "torch"),
        ({"name": "vllm"}, None, SENTENCES, "vllm"),
    ],
)
def test_a_curation_goes_where_what_it_needs_is(engine, judge, embedder, expected):
    declared = {"curation": {"class": "Own"}, "engine": engine, "judge": judge, "embedder": embedder}
    assert lane(Job("prepare", "own", declared), "hf") == expected
    assert (expected in LIGHT) == (engine is None and embedder in (None, TFIDF))
