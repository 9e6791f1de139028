import json
from fractions import Fraction
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.api import DataSource, Example, Files, Generated, Message
from harness.canonical import share
from harness.data.mixtures import choose, count, evenly, materialise, settled
from harness.data.sources import declare
from harness.errors import UserError
from harness.jobs import DataDeclaration, MixtureItem, Operation


def item(n, *ops, name="d"):
    return MixtureItem(data=DataDeclaration(name=name, source={"generated": {}}, n=n), ops=ops)


def numbers(n):
    def make():
        for k in range(n):
            yield Example(str(k), (Message("user", f"{k}?"), Message("assistant", str(k))))

    return DataSource(Generated(make, n, {}))


def take(n, *ops):
    return [int(example.id) for _, example in materialise([item(n, *ops)], {"d": numbers(n)}, data_root=None).examples]


def fraction(value, seed=0):
    return Operation(op="sample", fraction=share(Fraction(value)), seed=seed)


def amount(value, seed=0):
    return Operation(op="sample", amount=value, seed=seed)


@pytest.mark.parametrize(
    ("n", "k", "expected"),
    [
        (110_142, "1/256", 430),
        (20_022, "1/256", 78),
        (86_060, "1/256", 336),
        (100, "1/256", 1),
        (100, "0", 0),
        (7, "1", 7),
        (10, "1/3", 3),
    ],
)
def test_a_fraction_comes_to_its_floor_and_at_least_one_above_zero(n, k, expected):
    assert count(item(n, fraction(k))) == expected


def test_an_unknown_size_stays_unknown():
    assert count(item(None, fraction("1/2"))) is None
    assert count(item(None)) is None


def test_operations_apply_first_to_last():
    assert count(item(100, fraction("1/2"), amount(20), fraction("1/4"))) == 5
    assert len(take(100, fraction("1/2"), amount(20), fraction("1/4"))) == 5


def test_the_sample_is_the_same_on_every_machine():
    assert take(20, amount(5)) == [0, 4, 10, 14, 16]
    assert take(20, amount(5, seed=1)) == [0, 1, 3, 11, 18]


@given(n=st.integers(1, 40), seed=st.integers(0, 5), shares=st.tuples(*[st.fractions(0, 1, max_denominator=300)] * 2))
def test_samples_are_exact_ordered_nested_and_without_repetition(n, seed, shares):
    small, large = (take(n, fraction(k, seed)) for k in sorted(shares))
    assert set(small) <= set(large)
    assert small == sorted(set(small))
    assert [len(small), len(large)] == [count(item(n, fraction(k, seed))) for k in sorted(shares)]


@given(n=st.integers(1, 40), seed=st.integers(0, 5), k=st.fractions(0, 1, max_denominator=300))
def test_a_sample_and_its_rest_are_all_and_have_nothing_in_common(n, seed, k):
    rest = fraction(k, seed).model_copy(update={"op": "rest"})
    assert sorted(take(n, fraction(k, seed)) + take(n, rest)) == list(range(n))
    assert take(n, rest) == sorted(take(n, rest))
    assert len(take(n, rest)) == count(item(n, rest))


@given(n=st.integers(1, 40), first=st.integers(1, 40), second=st.integers(1, 40))
def test_a_sample_of_a_sample_is_the_smaller_sample(n, first, second):
    small, large = sorted([min(first, n), min(second, n)])
    assert take(n, amount(large), amount(small)) == take(n, amount(small))


HALVES_TOO = st.characters(codec=None, exclude_categories=())
"""Every character, and halves of surrogate pairs, which JSON can spell."""


@given(n=st.integers(0, 60), seed=st.integers(0, 9), size=st.integers(0, 60), data=st.data())
def test_a_sample_is_the_examples_of_the_smallest_digests(n, seed, size, data):
    ids = data.draw(st.lists(st.text(HALVES_TOO, max_size=3), min_size=n, max_size=n, unique=True))
    ranked = sorted(ids, key=lambda id_: sha256(f"{seed}/{id_}".encode(errors="surrogatepass")).digest())
    chosen = set(ranked[: min(size, n)])
    found = choose(item(n, amount(min(size, n), seed)), ids)
    assert [ids[index] for index in found] == [id_ for id_ in ids if id_ in chosen]


@given(sizes=st.lists(st.integers(0, 9), max_size=3), limit=st.integers(1, 30))
def test_evenly_spread_examples_are_those_of_the_whole_mixture(sizes, limit):
    items = [item(9, amount(size), name=f"d{i % 2}") for i, size in enumerate(sizes)]
    sources = {"d0": numbers(9), "d1": numbers(9)}
    whole = [example for _, example in materialise(items, sources, data_root=None).examples]
    taken = min(limit, len(whole))
    assert evenly(items, sources, limit, data_root=None) == [whole[i * len(whole) // taken] for i in range(taken)]


# --- beside --------------------------------------------------------------------------------------------------------


def aside(ratio, n=1000, name="web", seed=3):
    return item(n, Operation(op="beside", fraction=share(Fraction(ratio)), seed=seed), name=name)


@given(sizes=st.lists(st.integers(0, 50), min_size=1, max_size=3), ratio=st.fractions(0, 1, max_denominator=50))
def test_what_is_beside_is_as_much_as_the_rest_times_its_ratio(sizes, ratio):
    rest = [item(n, name=str(k)) for k, n in enumerate(sizes)]
    *same, web = settled([*rest, aside(ratio)], count)
    assert same == rest
    assert count(web) == max(1, int(ratio * sum(sizes)))
    assert web.ops == (amount(count(web), seed=3),)


def test_several_beside_do_not_measure_each_other():
    mixture = settled([aside(1), item(30, fraction("1/3")), aside("1/2", name="books")], count)
    assert [count(one) for one in mixture] == [10, 10, 5]


def test_what_is_beside_the_unknown_waits_until_it_is_known():
    mixture = (item(None, name="made"), aside(1))
    assert settled(mixture, count) == mixture
    assert count(mixture[1]) is None
    assert [count(one) for one in settled(mixture, lambda _: 12)] == [None, 12]


def test_more_beside_than_there_is_and_what_stands_beside_nothing():
    (_, web) = settled([item(30), aside(1, n=20)], count)
    with pytest.raises(UserError, match="30 examples of web are wanted, and there are 20"):
        count(web)
    with pytest.raises(UserError, match=r"web: beside\(\) measures by the rest of a mixture"):
        choose(aside(1), ["a"])


def test_datasets_follow_one_another_with_their_names():
    items = [item(3, name="a"), item(2, amount(1), name="b"), item(3, fraction("0"), name="a")]
    mixture = materialise(items, {"a": numbers(3), "b": numbers(2)}, data_root=None).examples
    assert [name for name, _ in mixture] == ["a", "a", "a", "b"]


@pytest.mark.parametrize(
    ("operation", "problem"),
    [
        (amount(11), "11 examples of d are wanted, and there are 10"),
        (Operation(op="shuffle", amount=1), "d: no operation on data is called 'shuffle'"),
        (Operation(op="sample"), "d: sample needs a fraction or an amount"),
        (Operation(op="sample", amount=1, fraction="1/2"), "d: sample needs a fraction or an amount"),
        (Operation(op="sample", fraction="3/2"), "d: the fraction 3/2 is not between 0 and 1"),
    ],
)
def test_what_cannot_be_done_is_refused_when_planned_and_when_done(operation, problem):
    for attempt in (lambda: count(item(10, operation)), lambda: take(10, operation)):
        with pytest.raises(UserError) as caught:
            attempt()
        assert caught.value.problem == problem
        assert caught.value.remedy


def test_a_dataset_without_a_source_is_named():
    with pytest.raises(UserError, match="the dataset d, which has no source"):
        materialise([item(3)], {"other": numbers(3)}, data_root=None)


def test_a_file_that_changed_since_it_was_planned_is_refused(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"prompt": "q", "completion": "a"}))
    source = DataSource(Files((str(path),)))
    planned = MixtureItem(data=declare("mine", source, None, data_root=None, cache=None))
    assert len(materialise([planned], {"mine": source}, data_root=None).examples) == 1
    path.write_text(json.dumps({"prompt": "q", "completion": "b"}))
    with pytest.raises(UserError, match="the files of the dataset mine have changed since the run was planned"):
        materialise([planned], {"mine": source}, data_root=None)
