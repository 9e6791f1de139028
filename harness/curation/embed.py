"""Texts as vectors of length 1: by a sentence-transformers model, or by TF-IDF and truncated SVD of the texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.api import TFIDF
from harness.curation.declare import embedder_folder, require_embedder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

COMPONENTS = 128
"""Dimensions that the SVD keeps of TF-IDF, where there are more."""


def embed(texts: Sequence[str], model: str, seed: int) -> npt.NDArray[np.float32]:
    """[n, d], rows of length 1, or 0 where `tfidf` finds no word in a text. Equal texts and seeds give equal vectors.

    `model` is `tfidf`, or a sentence-transformers model, a folder or `id@revision`. Raises UserError where that
    package is not installed.
    """
    return _tfidf(texts, seed) if model == TFIDF else _sentences(texts, model)


def _tfidf(texts: Sequence[str], seed: int) -> npt.NDArray[np.float32]:
    """Words and pairs of them that two texts at least have, weighted by 1 + log of their count."""
    import numpy as np
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=min(2, len(texts)))
    try:
        weights = words.fit_transform(texts)
    except ValueError:  # no word is in two of the texts
        return np.zeros((len(texts), 1), dtype=np.float32)
    if min(weights.shape) > COMPONENTS:
        weights = TruncatedSVD(COMPONENTS, random_state=seed).fit_transform(weights)
    dense = weights if isinstance(weights, np.ndarray) else weights.toarray()
    return np.asarray(normalize(dense), dtype=np.float32)


def _sentences(texts: Sequence[str], model: str) -> npt.NDArray[np.float32]:
    require_embedder({"name": model})
    import numpy as np
    from sentence_transformers import SentenceTransformer

    folder = embedder_folder(model)
    name, _, revision = model.partition("@") if folder is None else (str(folder), "", "")
    encoder = SentenceTransformer(name, revision=revision or None)
    vectors = encoder.encode(list(texts), normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False)
    return np.asarray(vectors, dtype=np.float32)
