"""Disperse-then-merge: exact partitions, k-means as scikit-learn does it, experts side by side, and their mean."""

from fractions import Fraction

import numpy as np
import pytest
from harness.plugins.dtm import Disperse
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.api import Average, Curated, DataInfo, Example, KeepLast, Message, UserError
from harness.arms import bind
from harness.armspec import ArmSpec
from harness.canonical import share
from harness.store import Store
from harness.testing import run_tiny

DATA = {
    "chats": DataInfo("chats", "general", 30),
    "code": DataInfo("code", "specialist", 12),
    "books": DataInfo("books", "pretraining", 100),
}


def arm(*methods, **options):
    return bind(ArmSpec(methods, {"dtm": options}))


def talk(n, answer="Fine."):
    turns = (Message("user", f"question {n}"), Message("assistant", answer))
    return Example(
        f"e{n}", (Message("system", "Be brief."), *turns, Message("user", "why?"), Message("assistant", "so"))
    )


class Tools:
    """What a curation is given, with embeddings of the test's own."""

    def __init__(self, seed=0, vectors=None):
        self.seed, self.vectors, self.told, self.embedded = seed, vectors, {}, None

    def embed(self, texts, model):
        self.embedded = (model, list(texts))
        return self.vectors

    def tell(self, name, value):
        self.told[name] = value


def disperse(k, by="random", **changes):
    return Disperse(**{"k": k, "by": by, "of": "response", "embedding": "tfidf", "first_turn": False, **changes})


# --- portions ------------------------------------------------------------------------------------------------------


@given(n=st.integers(1, 60), k=st.integers(1, 8), seed=st.integers(0, 2**32))
def test_a_random_split_is_exact_disjoint_and_even(n, k, seed):
    examples = [talk(i) for i in range(n)]
    if n < k:
        with pytest.raises(UserError, match=f"dtm.k is {k}, and there are {n} examples to disperse"):
            disperse(k).curate(examples, Tools(seed))
        return
    portions = disperse(k).curate(examples, Tools(seed))
    assert tuple(portions) == tuple(map(str, range(k)))
    assert sorted((e.id for portion in portions.values() for e in portion), key=str) == sorted(e.id for e in examples)
    sizes = [len(portion) for portion in portions.values()]
    assert max(sizes) - min(sizes) <= 1
    for portion in portions.values():
        assert portion == [example for example in examples if example in portion]
    assert disperse(k).curate(examples, Tools(seed)) == portions
    assert disperse(k).curate(examples[::-1], Tools(seed)) == {name: of[::-1] for name, of in portions.items()}


def test_another_seed_splits_differently():
    examples = [talk(i) for i in range(40)]
    assert disperse(2).curate(examples, Tools(0)) != disperse(2).curate(examples, Tools(1))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 5))
def test_clusters_are_those_of_scikit_learn(seed, k):
    from sklearn.cluster import KMeans

    vectors = np.random.default_rng(seed).normal(size=(25, 3)).astype(np.float32)
    examples, tools = [talk(i) for i in range(25)], Tools(seed, vectors)
    portions = disperse(k, "clusters").curate(examples, tools)
    means = KMeans(k, n_init=10, random_state=seed).fit(vectors)
    wanted = {frozenset(f"e{i}" for i in np.flatnonzero(means.labels_ == label)) for label in range(k)}
    assert {frozenset(e.id for e in portion) for portion in portions.values()} == wanted
    assert sum(map(len, portions.values())) == 25
    firsts = [examples.index(portion[0]) for portion in portions.values()]
    assert firsts == sorted(firsts)
    assert tools.told["inertia"] == pytest.approx(means.inertia_)
    assert disperse(k, "clusters").curate(examples, Tools(seed, vectors)) == portions


def test_more_clusters_than_different_embeddings_are_refused():
    vectors = np.repeat(np.eye(2, dtype=np.float32), 5, axis=0)
    with pytest.raises(UserError, match=r"dtm.k is 3, and there are 2 different embeddings to disperse \(lower"):
        disperse(3, "clusters").curate([talk(i) for i in range(10)], Tools(vectors=vectors))


@pytest.mark.parametrize(
    ("of", "first_turn", "text"),
    [
        ("response", False, "Fine.\nso"),
        ("instruction", False, "question 0\nwhy?"),
        ("both", False, "question 0\nFine.\nwhy?\nso"),
        ("response", True, "Fine."),
        ("instruction", True, "question 0"),
        ("both", True, "question 0\nFine."),
    ],
)
def test_what_is_embedded(of, first_turn, text):
    tools = Tools(vectors=np.eye(2, dtype=np.float32))
    curation = disperse(2, "clusters", of=of, first_turn=first_turn, embedding="org/model")
    curation.curate([talk(0), talk(1)], tools)
    assert tools.embedded == ("org/model", [text, text.replace("question 0", "question 1")])
    assert curation.embedder == "org/model"
    assert disperse(2).embedder is None


def test_the_first_turn_keeps_the_system_prompt():
    (portion,) = disperse(1, first_turn=True).curate([talk(0)], Tools()).values()
    assert [message.role for message in portion[0].messages] == ["system", "user", "assistant"]
    text = Example("t", (Message("text", "Once upon a time."),))
    assert disperse(1, first_turn=True).curate([text], Tools()) == {"0": [text]}


# --- stages and merging --------------------------------------------------------------------------------------------


def test_experts_are_trained_from_the_base_side_by_side():
    bound = arm("dtm", k=3)
    stages = bound.stages(DATA)
    assert [stage.name for stage in stages] == ["expert_0", "expert_1", "expert_2"]
    assert {stage.start for stage in stages} == {"base"}
    (first,), (second,) = stages[0].mixture.items, stages[1].mixture.items
    assert isinstance(first, Curated)
    assert first.parents == ("chats", "code")
    assert (first.curation, first.portion, second.portion) == (second.curation, "0", "1")
    assert bound.merger(stages) == Average(("expert_0", "expert_1", "expert_2"))


def test_another_merger_takes_the_means_place(tmp_path):
    plugin = tmp_path / "last.py"
    plugin.write_text(
        '"""Another."""\nfrom harness.api import *\nPLUGIN = Plugin(name="last", version="1.0")\n'
        "@hookimpl\ndef merger(arm, stages):\n    return Average((stages[-1].name,))\n"
    )
    bound = arm("dtm", str(plugin))
    assert bound.merger(bound.stages(DATA)) == Average(("expert_3",))


def test_experts_can_be_weighed_by_their_portions():
    bound = arm("dtm", k=2, weights="size")
    assert bound.merger(bound.stages(DATA)) == Average(("expert_0", "expert_1"), by_examples=True)


def test_nobody_else_s_merger_weighs_by_portions():
    with pytest.raises(UserError) as caught:
        arm("dtm", "ties", weights="size").stages(DATA)
    assert str(caught.value) == (
        "dtm.weights=size is for dtm's own mean, and 'ties' takes its place (leave one of the two away)"
    )
    assert len(arm("dtm", "im", weights="size").stages(DATA)) == 4


def test_one_expert_alone():
    bound = arm("dtm", only=2)
    stages = bound.stages(DATA)
    assert stages == (arm("dtm").stages(DATA)[2],)
    assert bound.merger(stages) == KeepLast()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"k": 43}, r"dtm.k is 43, and there are 42 examples to disperse \(lower dtm.k\)"),
        ({"only": 4}, r"dtm.only is 4, and dtm.k 4 \(the experts are 0 to 3\)"),
    ],
)
def test_what_cannot_be_dispersed_is_refused_before_anything_runs(options, why):
    with pytest.raises(UserError, match=why):
        arm("dtm", **options).stages(DATA)


def test_without_eos_the_end_of_a_turn_is_not_learnt():
    assert [dict(stage.train) for stage in arm("dtm", k=2, no_eos=True).stages(DATA)] == [{"end_of_turn": False}] * 2
    assert [dict(stage.train) for stage in arm("dtm", k=2).stages(DATA)] == [{}] * 2


# --- a whole run ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dispersed(tmp_path_factory):
    """A run of `im,dtm`, and of its first expert alone."""
    folder = tmp_path_factory.mktemp("dtm")
    run_tiny(["im,dtm", "im,dtm:only=0", "im,dtm:weights=size"], folder, settings=["dtm.embedder=tfidf", "dtm.k=2"])
    return Store(folder / "store")


def manifests(store, kind):
    return {entry.manifest["label"]: entry.manifest for entry in store.entries() if entry.manifest["kind"] == kind}


def test_every_example_is_trained_on_by_one_expert(dispersed):
    (curated,) = [m for label, m in manifests(dispersed, "prepare").items() if "dtm curates" in label]
    sizes = curated["result"]["examples"]
    assert sum(sizes.values()) == curated["result"]["from"] == 120
    trained = manifests(dispersed, "train")
    assert len(trained) == 3, "the baseline and two experts, one of which two arms have in common"
    experts = {label: m["result"]["datasets"] for label, m in trained.items() if "expert" in label}
    found = {name: of["examples"] for datasets in experts.values() for name, of in datasets.items()}
    assert found == {"portion 0": sizes["0"], "portion 1": sizes["1"]}


def test_the_merge_is_the_mean_of_the_experts(dispersed):
    from safetensors.numpy import load_file

    def weights(key):
        return load_file(dispersed.folder(key) / "model" / "model.safetensors")

    (curated,) = [m for label, m in manifests(dispersed, "prepare").items() if "dtm curates" in label]
    sizes = curated["result"]["examples"]
    merges = [entry.manifest for entry in dispersed.entries() if entry.manifest["kind"] == "merge"]
    shares = {frozenset(merge["result"]["shares"].items()): merge for merge in merges}
    wanted = [
        {"expert_0": "1/2", "expert_1": "1/2"},
        {f"expert_{j}": share(Fraction(sizes[str(j)], 120)) for j in (0, 1)},
    ]
    assert shares.keys() == {frozenset(of.items()) for of in wanted}
    for of in wanted:
        merge = shares[frozenset(of.items())]
        merged, experts = weights(merge["key"]), [weights(merge["parents"][f"expert_{j}"]) for j in (0, 1)]
        assert any(not np.array_equal(experts[0][name], experts[1][name]) for name in merged)
        a, b = (float(Fraction(of[f"expert_{j}"])) for j in (0, 1))
        for name, tensor in merged.items():
            np.testing.assert_allclose(tensor, a * experts[0][name] + b * experts[1][name], rtol=1e-5, atol=1e-7)
