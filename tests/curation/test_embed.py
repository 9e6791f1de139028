"""Texts as vectors: TF-IDF and SVD as scikit-learn composes them, and sentence-transformers models."""

import shutil
from dataclasses import dataclass

import numpy as np
import pytest

from harness.api import Curated, Curation
from harness.curation.embed import COMPONENTS, embed
from harness.errors import Failure, UserError

WORDS = [f"{first}{second}" for first in ("ba", "ki", "mo", "ta", "ru") for second in ("lo", "na", "se", "vi", "zu")]


def texts(n):
    draw = np.random.default_rng(0)
    return [" ".join(draw.choice(WORDS, size=8)) for _ in range(n)]


def test_tfidf_is_scikit_learns_pipeline():
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    of = texts(200)
    wanted = make_pipeline(
        TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2),
        TruncatedSVD(COMPONENTS, random_state=5),
        Normalizer(),
    ).fit_transform(of)
    found = embed(of, "tfidf", seed=5)
    assert (found.shape, found.dtype) == ((200, COMPONENTS), np.float32)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    np.testing.assert_array_equal(embed(of, "tfidf", seed=5), found)


def test_few_words_are_not_reduced():
    found = embed(["red red blue", "blue red", "blue", "!"], "tfidf", seed=0)
    assert found.shape[1] < COMPONENTS
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 1, 1, 0], atol=1e-6)
    assert found[0] @ found[1] > found[0] @ found[2]


@pytest.mark.parametrize("of", [["one", "two", "three"], ["!", "?"], ["..."]])
def test_texts_without_a_common_word_are_all_alike(of):
    np.testing.assert_array_equal(embed(of, "tfidf", seed=0), np.zeros((len(of), 1), dtype=np.float32))


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("harness.curation.declare.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"embeddings of org/model need sentence-transformers.*harness\[embeddings\]"):
        embed(["a"], "org/model", seed=0)


@pytest.fixture(scope="module")
def sentence_model(tmp_path_factory):
    """The folder of a tiny sentence-transformers model of our own: a BERT with random weights, and mean pooling."""
    pytest.importorskip("sentence_transformers", reason="the extra `embeddings` is not installed")
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("sentences")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cats", "dogs", "eat", "sleep"]
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=backend, mask_token="[MASK]", **special).save_pretrained(folder / "bert")
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(words), **size)).save_pretrained(folder / "bert")
    bert = Transformer(str(folder / "bert"))
    SentenceTransformer(modules=[bert, Pooling(16)]).save(str(folder / "model"))
    return folder / "model"


def test_a_sentence_model_is_asked_as_it_is(sentence_model):
    import torch
    from transformers import AutoModel, AutoTokenizer

    of = ["cats eat", "dogs sleep and eat", "cats eat"]
    found = embed(of, str(sentence_model), seed=0)
    tokenizer, bert = AutoTokenizer.from_pretrained(sentence_model), AutoModel.from_pretrained(sentence_model)
    for text, vector in zip(of, found, strict=True):
        with torch.no_grad():
            mean = bert(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(dim=0)
        np.testing.assert_allclose(vector, (mean / mean.norm()).numpy(), atol=1e-5)


@pytest.mark.parametrize("name", ["~/encoder", "~/enc@der"])
def test_a_folder_in_the_users_own_and_one_with_an_at_are_folders(sentence_model, tmp_path, monkeypatch, name):
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copytree(sentence_model, tmp_path / name.removeprefix("~/"))
    np.testing.assert_array_equal(embed(["cats eat"], name, seed=0), embed(["cats eat"], str(sentence_model), seed=0))


@dataclass(frozen=True)
class Spread(Curation):
    """The example farthest from the mean."""

    model: str

    @property
    def embedder(self):
        return self.model

    def curate(self, examples, tools):
        vectors = tools.embed([example.messages[1].content for example in examples], self.model)
        return {"all": [examples[int(np.argmax(np.linalg.norm(vectors - vectors.mean(axis=0), axis=1)))]]}


def test_a_folder_is_known_by_its_files_wherever_it_lies(sentence_model, tmp_path, declare, do):
    copy = tmp_path / "copy"
    shutil.copytree(sentence_model, copy)
    one, other = (declare(Curated("talk", Spread(str(folder)))) for folder in (sentence_model, copy))
    assert one == other
    assert set(one.embedder) == {"content"}
    (copy / "README.md").write_text("changed")
    assert declare(Curated("talk", Spread(str(copy)))) != one
    outcome, _ = do(Curated("talk", Spread(str(sentence_model))))
    assert outcome["result"]["examples"] == {"all": 1}


def test_an_embedder_that_is_not_declared_is_not_asked(do):
    @dataclass(frozen=True)
    class Secret(Curation):
        def curate(self, examples, tools):
            return {"all": tools.embed(["a"], "tfidf")}

    with pytest.raises(Failure, match=r"own asks for embeddings of tfidf undeclared \(name it in its `embedder`\)"):
        do(Curated("talk", Secret()))
