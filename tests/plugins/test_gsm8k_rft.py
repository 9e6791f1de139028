"""Rejection sampling: equations and duplicates by hand, and a whole run on sums that a tiny model can learn."""

from __future__ import annotations

import json
from functools import cache
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.api import ANSWERED, Answered, Curated, DataInfo, Example, Message, Mixture, Stage, UserError
from harness.arms import ArmSpec, bind
from harness.discovery import load_plugin
from harness.store import Store
from harness.testing import run_tiny

rft = load_plugin("gsm8k_rft").module


class Told(dict):
    """The tools of a curation that wants none but to tell."""

    seed = 0

    def tell(self, name, value):
        self[name] = value


def example(name, answer, of=None, question="how many?"):
    turns = (Message("user", question), Message("assistant", answer))
    return Example(name, turns, {} if of is None else {ANSWERED: of})


# --- equations -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("equation", "true"),
    [
        ("48/2=24", True),
        ("20*.01=.2", True),
        ("2*(3+4)-1=13", True),
        ("-3+5=2", True),
        ("3 + 4 = 7", True),
        ("1/3=0.333", True),  # 0.00033 apart
        ("2/3=0.666", True),  # 0.00067
        ("2/3=0.66", False),  # 0.0067
        ("0=0.001", False),  # no less than the tolerance
        ("10/4=2", False),
        ("5=5=5", True),
        ("2+3=5=6", False),
        ("5", False),
        ("=5", False),
        ("", False),
        ("1/0=0", False),
        ("2**3=8", False),
        ("5%=0.05", False),
        ("1,000+1=1001", False),
        ("True=1", False),
        ("1e999=1e999", False),
        ("x=5", False),
        ("__import__('os').getpid()=1", False),
        ("(" * 150 + "1" + ")" * 150 + "=1", False),
        ("+".join(["1"] * 101) + "=101", False),
        ("1j=1j", False),
        ("05=5", False),
    ],
)
def test_which_equations_hold(equation, true):
    assert rft.holds(equation, 1e-3) is true


@given(st.integers(-999, 999), st.integers(1, 999), st.sampled_from("+-*/"), st.floats(-0.01, 0.01))
def test_an_equation_holds_as_far_as_python_says(left, right, operator, off):
    value = eval(f"{left}{operator}{right}")
    written = f"{value + off:.6f}"
    assert rft.holds(f"{left}{operator}{right}={written}", 1e-3) is (abs(value - float(written)) < 1e-3)


@given(st.text(max_size=60))
def test_no_text_of_a_model_raises(text):
    assert rft.holds(text, 1e-3) in {True, False}


def test_equations_of_a_solution():
    assert rft.equations("2 and 3 are <<2 + 3=5>>5, twice <<5*2=10>>10.\n#### 10") == ("2+3=5", "5*2=10")
    assert rft.equations("<<a<<1=1>>") == ("1=1",)


# --- duplicates ------------------------------------------------------------------------------------------------------


@cache
def edits(one, other):
    """Levenshtein's distance by its definition."""
    if not one or not other:
        return len(one) + len(other)
    if one[-1] == other[-1]:
        return edits(one[:-1], other[:-1])
    return 1 + min(edits(one[:-1], other), edits(one, other[:-1]), edits(one[:-1], other[:-1]))


def test_of_two_with_the_same_equations_the_farther_stays():
    near, far = example("near", "aaab<<2=2>>"), example("far", "bbbb<<2=2>>")
    other = example("other", "aaaa<<1=1>>")
    # The other is 1 letter and 2 digits from near, 4 letters and 2 digits from far.
    assert [edits(one.messages[-1].content, "aaaa<<1=1>>") for one in (near, far)] == [3, 6]
    assert rft.distinct([other, near, far]) == [other, far]
    assert rft.distinct([other, far, near]) == [other, far]
    assert rft.distinct([near, other, far]) == [far, other]
    assert rft.distinct([near, far, other]) == [near, other]  # there was nothing yet to be far from


def test_a_tie_is_decided_by_the_distance_to_all_others_kept():
    kept = [example("first", "aaaa<<1=1>>"), example("second", "bbbb<<3=3>>")]
    one, two = example("one", "aaaa<<2=2>>"), example("two", "abab<<2=2>>")
    to_first = [edits(solution, "aaaa<<1=1>>") for solution in ("aaaa<<2=2>>", "abab<<2=2>>")]
    to_second = [edits(solution, "bbbb<<3=3>>") for solution in ("aaaa<<2=2>>", "abab<<2=2>>")]
    assert (to_first, to_second) == ([2, 4], [6, 4])
    # 8 in all for both: neither is farther, and the first stays, whichever it is.
    assert rft.distinct([*kept, one, two]) == [*kept, one]
    assert rft.distinct([*kept, two, one]) == [*kept, two]


solutions = st.lists(st.tuples(st.text("ab", max_size=5), st.sampled_from(["", "<<1=1>>", "<<2=2>>"])), max_size=6)


@given(solutions)
def test_duplicates_go_as_the_definition_says(texts):
    given_ = [example(str(i), text + chain) for i, (text, chain) in enumerate(texts)]
    kept = {}
    for one in given_:
        text = one.messages[-1].content
        chain = rft.equations(text)
        others = [other for path, other in kept.items() if path != chain]
        if chain not in kept or sum(edits(text, o) for o in others) > sum(edits(kept[chain], o) for o in others):
            kept[chain] = text
    found = [e.messages[-1].content for e in rft.distinct(given_)]
    assert found == list(kept.values())


# --- the curation ----------------------------------------------------------------------------------------------------


def test_what_stays_and_what_goes():
    tools = Told()
    given_ = [
        example("d/1", "<<2+3=5>>\n#### 5"),
        example("a/1.0", "other <<3+2=5>>\n#### 5", of="1"),
        example("a/1.1", "wrong <<2+4=6>>\n#### 6", of="1"),
        example("a/1.2", "lucky <<2+2=5>>\n#### 5.00", of="1"),
        example("a/1.3", "again <<2+3=5>>\n#### 5", of="1"),
        example("a/1.4", "nothing at all", of="1"),
        example("a/1.5", "and again <<3+2=5>>\n#### 5", of="1"),
        example("d/2", "bare\n#### 7", question="and then?"),
    ]
    kept = rft.RejectionSampling().curate(given_, tools)["all"]
    # Of 1.0 and 1.5 the one stays that is farther from 1.3, by then the only other one kept.
    assert [edits(f"{text} <<3+2=5>>", "again <<2+3=5>>") for text in ("other", "and again")] == [7, 6]
    assert [one.id for one in kept] == ["d/1", "a/1.0", "a/1.3", "d/2"]
    assert tools == {"answers": 6, "wrong": 2, "miscalculated": 1, "duplicate": 1, "kept": 2}


def test_data_without_final_answers_is_refused():
    with pytest.raises(UserError, match="solution of d/1 does not end in `#### answer`"):
        rft.RejectionSampling().curate([example("d/1", "five")], Told())


# --- the strategy ----------------------------------------------------------------------------------------------------

DATA = {"maths": DataInfo("maths", "specialist", 60), "chats": DataInfo("chats", "general", 60)}


def stages(*names, **options):
    return list(bind(ArmSpec(names, {"gsm8k_rft": options})).stages(DATA))


def rft_of(name, **drawn):
    asked = {"samples": 100, "temperature": 0.7, "max_new_tokens": 512, **drawn}
    answers = Answered(name, model="sampler", **asked)
    return Curated((name, answers), rft.RejectionSampling(1e-3), name=f"{name} rft")


def test_alone_it_trains_from_the_base_on_the_larger_set():
    assert stages("gsm8k_rft", role="specialist", samples=4) == [
        Stage("sampler", Mixture.of("maths")),
        Stage("all", Mixture.of(rft_of("maths", samples=4), "chats"), start="base"),
    ]


def test_the_stages_of_another_strategy_get_the_larger_set():
    sampler, specialist, general = stages("gsm8k_rft", "mixed_sequential", role="specialist")
    assert sampler == Stage("sampler", Mixture.of("maths"))
    assert specialist == Stage("specialist", Mixture.of(rft_of("maths")), start="base")
    assert general == Stage("general", Mixture.of("chats"))


SUMS = '''
"""Sums with worked solutions, few enough to be learnt by a tiny model."""
from functools import partial
from harness.api import DataSource, Example, Generated, Message, Plugin, hookimpl

PLUGIN = Plugin(name="worked_sums", version="1.0", summary="Worked sums.")


def sums():
    for i in range(24):
        a, b = i % 4, i % 3
        solution = f"<<{a}+{b}={a + b}>>{a + b}\\n#### {a + b}"
        yield Example(f"s{i}", (Message("user", f"{a} and {b}, {i}?"), Message("assistant", solution)))


@hookimpl
def data_source(arm):
    return {"worked_sums": DataSource(Generated(sums, n=24, recipe={"n": 24}))}
'''


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    """A run on worked sums: its folder, and what to run again."""
    folder = tmp_path_factory.mktemp("rft")
    (folder / "worked_sums.py").write_text(SUMS)
    settings = [
        f"data={{general: [{folder}/worked_sums.py]}}",
        "train.epochs=12",
        "gsm8k_rft.samples=6",
        "gsm8k_rft.temperature=1.0",
        "gsm8k_rft.max_new_tokens=40",
        "benchmarks=[playground:playground_arithmetic]",
    ]
    run = lambda: run_tiny(["gsm8k_rft"], folder, settings=settings)  # noqa: E731
    run()
    return SimpleNamespace(folder=folder, again=run)


def entries(folder):
    return {entry.manifest["label"]: entry for entry in Store(folder / "store").entries()}


@pytest.mark.timeout(300)
def test_a_run_samples_checks_and_trains_on_what_stays(sampled):
    found = entries(sampled.folder)
    curated = next(entry for label, entry in found.items() if "gsm8k_rft curates" in label)
    told = curated.manifest["result"]["told"]
    answers = found["gsm8k_rft: sampler answers worked_sums (seed 0)"].manifest["result"]
    assert told["answers"] == answers["examples"] <= 24 * 6
    assert told["wrong"] + told["miscalculated"] + told["duplicate"] + told["kept"] == told["answers"]
    rows = Store(sampled.folder / "store").folder(curated.key) / "all.jsonl"
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    gold = [line for line in lines if ANSWERED not in line]
    assert len(gold) == 24
    assert len(lines) == 24 + told["kept"]
    trained = found["gsm8k_rft: train all (seed 0)"].manifest["result"]["datasets"]
    assert trained == {"worked_sums rft": trained["worked_sums rft"]}
    assert trained["worked_sums rft"]["examples"] == 12 * len(lines)


def test_a_second_run_samples_nothing(sampled):
    before = {label: entry.key for label, entry in entries(sampled.folder).items()}
    sampled.again()
    assert {label: entry.key for label, entry in entries(sampled.folder).items()} == before
