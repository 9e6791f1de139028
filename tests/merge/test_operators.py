"""Each operator against plain torch arithmetic in float64, against numbers worked out by hand, and its properties."""

from fractions import Fraction

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.api import Average, Parameter, disjoint_mean, proportions, weighted_sum

NEEDS_BASE = ["task_arithmetic", "ties", "dare", "pointwise"]
FEW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def floats(tensors):
    return {name: tensor.double() for name, tensor in tensors.items() if tensor.is_floating_point()}


def close(found, expected, atol=2e-6):
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name].double(), tensor, atol=atol, rtol=0, msg=lambda text, n=name: n + text)


def deltas(models, base, name):
    return torch.stack([model[name].double() - base[name].double() for model in models])


@pytest.fixture
def models(tensors_of):
    return [tensors_of(seed) for seed in (1, 2, 3)]


@pytest.fixture
def base(tensors_of):
    return tensors_of(0)


# --- against plain arithmetic --------------------------------------------------------------------------------------


def test_the_average_weighs_by_proportion(merged, models):
    found = merged("average", models, weights=[2, 1, "1/2"])
    exact = {name: (2 * m[0] + m[1] + m[2] / 2) / 3.5 for name in floats(models[0])
             for m in [[floats(model)[name] for model in models]]}  # fmt: skip
    close(found, exact)


def test_task_vectors_are_summed_and_scaled(merged, models, base):
    found = merged("task_arithmetic", models, base, scale="-1/4", weights=[1, 2, 0])
    close(found, {n: t - (deltas(models, base, n)[0] + 2 * deltas(models, base, n)[1]) / 4
                  for n, t in floats(base).items()})  # fmt: skip


@pytest.mark.parametrize("trim", ["model", "parameter"])
def test_ties_trims_elects_and_merges(merged, models, base, trim):
    density, scale = Fraction(1, 3), Fraction(3, 2)
    names = list(floats(base))
    vectors = [torch.cat([deltas([m], base, n).float().flatten() for n in names]) for m in models]
    whole = [v.abs().sort(descending=True).values[max(1, int(density * len(v))) - 1] for v in vectors]
    expected = {}
    for name in names:
        rows = deltas(models, base, name).float()
        kept = []
        for row, threshold in zip(rows, whole, strict=True):
            if trim == "parameter":
                ordered = row.abs().flatten().sort(descending=True).values
                threshold = ordered[max(1, int(density * row.numel())) - 1]  # noqa: PLW2901
            kept.append(torch.where(row.abs() >= threshold, row, 0.0))
        kept = torch.stack(kept)
        sign = torch.where(kept.sum(0) >= 0, 1.0, -1.0)
        agrees = kept * sign > 0
        mean = (kept * agrees).sum(0) / agrees.sum(0).clamp(min=1)
        expected[name] = base[name].double() + float(scale) * mean.double()
    close(merged("ties", models, base, density=str(density), scale=str(scale), trim=trim), expected)


def test_the_disjoint_mean_of_a_column_by_hand():
    columns = torch.tensor([[3.0, 3.0, 0.0, -2.0, 1.0], [-1.0, -5.0, 4.0, 0.0, -1.0], [1.0, 1.0, 0.0, -4.0, 0.0]])
    # signs +, -, +, -, + (a sum of 0 elects +): (3 + 1) / 2, -5, 4, (-2 - 4) / 2, 1
    assert disjoint_mean(list(columns), [1 / 3] * 3).tolist() == pytest.approx([2, -5, 4, -3, 1])
    columns = torch.tensor([[2.0, 3.0], [-3.0, 6.0]])
    # weights 3 : 1 turn the sign of the first; the second is (3 * 3 + 6) / 4
    assert disjoint_mean(list(columns), [0.75, 0.25]).tolist() == pytest.approx([2, 3.75])


def test_dare_keeps_an_entry_or_drops_it(merged, models, base):
    found = merged("dare", models[:1], base, density="1/4", seed=3)
    kept = total = 0
    for name, tensor in floats(base).items():
        delta = deltas(models[:1], base, name)[0]
        moved = found[name].double() - tensor
        is_kept = moved.abs() > 1e-9
        torch.testing.assert_close(moved[is_kept], 4 * delta[is_kept], atol=1e-5, rtol=0)
        kept, total = kept + int(is_kept.sum()), total + is_kept.numel()
    assert 0 < kept < total


def test_dare_drops_others_under_another_seed_and_the_same_under_its_own(merged, models, base):
    one, again, other = (merged("dare", models, base, density="1/2", seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["layers.0.weight"], other["layers.0.weight"])


def test_dare_is_right_on_average(combination):
    """Over 4000 draws, the mean of what is kept lies within five standard errors of the task vector."""
    dare = combination("dare", ["a", "b"], density="1/5")
    first, second, n = torch.tensor([1.0, -2.0]), torch.tensor([3.0, 0.5]), 4000
    drawn = torch.stack([
        dare.combine(Parameter("p", (first.clone(), second.clone()), (0.5, 0.5), torch.zeros(2),
                               generator=torch.Generator().manual_seed(seed)), None)
        for seed in range(n)
    ])  # fmt: skip
    spread = ((first**2 + second**2) / 4 * (1 - 0.2) / 0.2 / n).sqrt()
    assert ((drawn.mean(0) - (first + second) / 2).abs() < 5 * spread).all()


def test_slerp_goes_along_the_arc(combination):
    slerp = combination("slerp", ["a", "b"], t="1/3")
    east, north = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    found = slerp.combine(Parameter("p", (east, north), tuple(map(float, slerp.shares))), None)
    # a third of a right angle: 2 (cos 30, sin 30)
    assert found.flatten().tolist() == pytest.approx([3**0.5, 1.0])


@pytest.mark.parametrize(("t", "which"), [("0", 0), ("1", 1)])
def test_the_ends_of_the_arc_are_the_models(merged, models, t, which):
    found = merged("slerp", models[:2], t=t)
    assert all(torch.equal(found[name], models[which][name]) for name in found)


def test_slerp_of_one_expert_starts_at_the_base(merged, models, base):
    found = merged("slerp", models[:1], base, t="0")
    assert all(torch.equal(found[name], base[name]) for name in found)


def test_slerp_of_three_is_refused(merged, models, refused):
    assert refused(merged, "slerp", models) == (
        "slerp merges two models, and there are 3 (use average, or train two experts)"
    )


def test_entries_are_merged_one_by_one(combination):
    rows = [[1.0, -4.0, 2.0], [3.0, 4.0, -1.0], [-2.0, 1.0, 0.0], [6.0, 0.5, 5.0]]
    for by, expected in {
        "median": [2.0, 0.75, 1.0],
        "sum": [8.0, 1.5, 6.0],
        "max_magnitude": [6.0, 4.0, 5.0],
    }.items():
        pointwise = combination("pointwise", "abcd", by=by)
        parameter = Parameter("p", tuple(torch.tensor(row) + 10 for row in rows), (0.25,) * 4, torch.full((3,), 10.0))
        assert pointwise.combine(parameter, None).tolist() == pytest.approx([10 + value for value in expected]), by


def test_the_median_of_long_vectors_is_torch_s(combination):
    models = torch.randn(3, 2**18 + 5, generator=torch.Generator().manual_seed(0))
    parameter = Parameter("p", tuple(model.clone() for model in models), (1 / 3,) * 3, torch.zeros(2**18 + 5))
    assert torch.equal(combination("pointwise", "abc").combine(parameter, None), models.median(dim=0).values)


def test_a_density_of_nothing_is_refused(combination, refused):
    assert refused(combination, "dare", "ab", density=0) == (
        "dare.density is 0: nothing would be left of the experts (--set dare.density=1/10)"
    )


def fisher_mean(combination, tensors, fishers, **options):
    made = combination("fisher", [str(i) for i in range(len(tensors))], **options)

    def parameter():
        return Parameter("p", tuple(torch.tensor(row) for row in tensors), tuple(map(float, made.shares)),
                         fisher=tuple(torch.tensor(row) for row in fishers))  # fmt: skip

    return made.combine(parameter(), made.survey(lambda: [parameter()])).tolist()


def test_what_matters_more_weighs_more(combination):
    tensors, fishers = [[1.0, 2.0, 8.0], [5.0, 4.0, 4.0]], [[3.0, 0.0, 4.0], [6.0, 8.0, 0.0]]
    # (3 * 1 + 6 * 5) / 9; all of the second; all of the first
    assert fisher_mean(combination, tensors, fishers, normalize=False) == pytest.approx([33 / 9, 4, 8], rel=1e-5)
    # by norms 5 and 10: 0.6 and 0.6
    assert fisher_mean(combination, tensors, fishers) == pytest.approx([3, 4, 8], rel=1e-5)
    # weighed 3 : 1 besides: (0.6 * 3 * 1 + 0.6 * 5) / (0.6 * 4)
    assert fisher_mean(combination, tensors, fishers, weights=[3, 1]) == pytest.approx([2, 4, 8], rel=1e-5)


def test_where_nothing_matters_the_mean_is_plain(combination):
    assert fisher_mean(combination, [[1.0], [3.0]], [[0.0], [0.0]]) == pytest.approx([2])
    found = fisher_mean(combination, [[1.0, 1.0], [3.0, 3.0]], [[0.0, 2.0], [0.0, 2.0]])
    assert found == pytest.approx([2, 2])


# --- properties ----------------------------------------------------------------------------------------------------

numbers = st.floats(-4, 4, width=32)
vectors = st.integers(2, 5).flatmap(
    lambda k: st.lists(st.lists(numbers, min_size=6, max_size=6), min_size=k, max_size=k)
)


@given(st.lists(st.fractions(0, 10), min_size=1, max_size=6).filter(any))
def test_proportions_sum_to_one(weights):
    found = proportions(weights, [str(i) for i in range(len(weights))])
    assert sum(found) == 1
    assert [w * sum(weights) for w in found] == weights


def test_proportions_that_cannot_be(refused):
    assert refused(proportions, [Fraction(1)], ["a", "b"]) == (
        "there are 1 weights for 2 models (a, b) (give one for each)"
    )
    assert refused(proportions, [Fraction(-1), Fraction(2)], ["a", "b"]) == (
        "the weights -1, 2 have no mean (give weights of 0 or more)"
    )


def combine(combination, method, rows, base, **options):
    made = combination(method, [str(i) for i in range(len(rows))], **options)

    def parameter():
        generator = torch.Generator().manual_seed(0)
        tensors = tuple(torch.tensor(row) for row in rows)
        return Parameter("p", tensors, tuple(map(float, made.shares)), torch.tensor(base), generator=generator)

    return made.combine(parameter(), made.survey(lambda: [parameter()]))


@FEW
@given(rows=vectors, base=st.lists(numbers, min_size=6, max_size=6))
def test_merging_identical_models_is_the_identity(combination, rows, base):
    """Not so of the trimmed (ties below density 1), the dropped (dare) and the summed (task arithmetic, sum)."""
    same = [rows[0]] * len(rows)
    for method, options in [
        ("ties", {"density": 1}),
        ("dare", {"density": 1}),
        ("task_arithmetic", {"scale": Fraction(1, len(rows))}),
        ("pointwise", {"by": "median"}),
        ("pointwise", {"by": "max_magnitude"}),
    ]:
        torch.testing.assert_close(combine(combination, method, same, base, **options), torch.tensor(rows[0]),
                                   atol=1e-5, rtol=1e-5)  # fmt: skip
    for method in ("average", "slerp"):
        found = combine(combination, method, same if method == "average" else same[:2], base)
        # without a base the tensors are themselves what is merged
        torch.testing.assert_close(found, torch.tensor(rows[0]), atol=1e-5, rtol=1e-5)


informations = st.lists(st.lists(st.floats(0.125, 8, width=32), min_size=4, max_size=4), min_size=2, max_size=4)


@FEW
@given(row=st.lists(numbers, min_size=4, max_size=4), scale=st.integers(-30, 30), fishers=informations)
def test_fisher_weights_keep_identical_models_and_forget_a_model_s_own_scale(combination, row, scale, fishers):
    assert fisher_mean(combination, [row] * len(fishers), fishers) == pytest.approx(row, rel=1e-4, abs=1e-5)
    others = [[value + k for value in row] for k in range(len(fishers))]
    scaled = [[value * 2.0**scale for value in fishers[0]], *fishers[1:]]
    here, there = (fisher_mean(combination, others, each) for each in (fishers, scaled))
    assert here == pytest.approx(there, rel=1e-4, abs=1e-4)


@FEW
@given(rows=vectors, base=st.lists(numbers, min_size=6, max_size=6), data=st.data())
def test_the_order_of_the_models_makes_no_difference(combination, rows, base, data):
    """Not so of dare, which draws for one model after the other, and of slerp, which goes from one to the other."""
    order = data.draw(st.permutations(range(len(rows))))
    other = [rows[i] for i in order]
    for method, options in [
        ("average", {}),
        ("task_arithmetic", {}),
        ("ties", {"density": "1/2"}),
        *(("pointwise", {"by": by}) for by in ("median", "sum", "max_magnitude")),
    ]:
        here, there = (combine(combination, method, each, base, **options) for each in (rows, other))
        if method == "ties":  # a sum of rounding alone may elect either sign
            trimmed = torch.tensor(rows).double() - torch.tensor(base).double()
            if (trimmed.sum(0).abs() < 1e-4).any():
                continue
        torch.testing.assert_close(here, there, atol=1e-5, rtol=1e-5)


@FEW
@given(rows=vectors, t=st.fractions(0, 1))
def test_slerp_from_the_other_end(combination, rows, t):
    base = [0.0] * 6
    there = combine(combination, "slerp", rows[:2], base, t=t)
    back = combine(combination, "slerp", rows[1::-1], base, t=1 - t)
    torch.testing.assert_close(there, back, atol=1e-4, rtol=1e-4)


@FEW
@given(
    rows=st.lists(st.lists(st.sampled_from([0.0, 1e-30, 0.5, -0.5, 0.25, 3.0, -3.0000002]), min_size=8, max_size=8),
                  min_size=1, max_size=3),
    density=st.fractions(0, 1),
)  # fmt: skip
def test_the_threshold_of_the_whole_task_vector_is_the_kth_largest(combination, rows, density):
    ties = combination("ties", [str(i) for i in range(len(rows))], density=density)

    def parameters():
        for half in (slice(0, 3), slice(3, 8)):
            tensors = tuple(torch.tensor(row[half]) for row in rows)
            yield Parameter("p", tensors, (1.0,) * len(rows), torch.zeros(half.stop - half.start))

    k = max(1, int(density * 8))
    exact = [sorted(map(abs, torch.tensor(row).tolist()), reverse=True)[k - 1] for row in rows]
    assert ties.survey(parameters) == exact


def test_an_average_is_a_weighted_sum():
    tensors = [torch.tensor([1.0, 2.0]), torch.tensor([3.0, 6.0])]
    summed = weighted_sum(tensors, [0.5, 0.5])
    found = Average(("a", "b")).combine(Parameter("p", tuple(tensors), (0.5, 0.5)), None)
    assert found.tolist() == [2.0, 4.0] == summed.tolist()


@FEW
@given(
    weights=st.lists(st.fractions(0, 5, max_denominator=9), min_size=1, max_size=7).filter(any),
    seed=st.integers(0, 2**31),
)
def test_an_average_of_identical_models_is_exactly_that_model(weights, seed):
    model = torch.randn(1000, generator=torch.Generator().manual_seed(seed))
    names = tuple(map(str, range(len(weights))))
    shares = tuple(map(float, proportions(weights, names)))
    found = Average(names).combine(Parameter("p", tuple(model.clone() for _ in names), shares), None)
    assert torch.equal(found, model)
