"""A model's shape and its numbers of parameters, from its configuration alone.

Exact for the architectures of `FAMILIES`: every one of them is held against transformers' own model by a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.canonical import Json


@dataclass(frozen=True)
class Family:
    """How the layers of an architecture differ from Llama's, and what its configuration leaves unsaid."""

    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Of transformers' configuration class, under the names that `Shape` reads."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What this configuration calls the usual fields."""
    gated: bool = True
    """Whether the feed-forward part has three matrices (gate, up, down), or two."""
    norms: int = 2
    """Normalisations of a layer as wide as the model."""
    layer_norm: bool = False
    """Whether a normalisation has a bias."""
    qkv_bias: bool | None = False
    """None where `attention_bias` of the configuration says so, for all four projections."""
    linear_bias: bool = False
    """Whether every linear layer has a bias."""
    head_norms: Literal["none", "head", "row"] = "none"
    """Normalised queries and keys: over each head, or over all of them together."""
    positions: bool = False
    """Whether positions are learnt."""
    experts: str | None = None
    """The field that counts the experts of a layer."""


_LLAMA = {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "max_position_embeddings": 2048,
    "vocab_size": 32000,
}
_QWEN = {**_LLAMA, "intermediate_size": 22016, "num_key_value_heads": 32, "vocab_size": 151936}
_GPT = {
    "hidden_size": "n_embd",
    "intermediate_size": "n_inner",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "max_position_embeddings": "n_positions",
}
FAMILIES: Mapping[str, Family] = {
    "llama": Family(_LLAMA, qkv_bias=None),
    "mistral": Family(
        {**_LLAMA, "intermediate_size": 14336, "num_key_value_heads": 8, "max_position_embeddings": 131072}
    ),
    "qwen2": Family({**_QWEN, "max_position_embeddings": 32768}, qkv_bias=True),
    "qwen3": Family({**_QWEN, "head_dim": 128, "max_position_embeddings": 32768}, qkv_bias=None, head_norms="head"),
    "gemma": Family(
        {
            **_LLAMA,
            "hidden_size": 3072,
            "intermediate_size": 24576,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 16,
            "max_position_embeddings": 8192,
            "head_dim": 256,
            "vocab_size": 256000,
            "tie_word_embeddings": True,
        },
        qkv_bias=None,
    ),
    "gemma3_text": Family(
        {
            **_LLAMA,
            "hidden_size": 2304,
            "intermediate_size": 9216,
            "num_hidden_layers": 26,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "max_position_embeddings": 131072,
            "head_dim": 256,
            "vocab_size": 262208,
            "tie_word_embeddings": True,
        },
        norms=4,
        qkv_bias=None,
        head_norms="head",
    ),
    "olmo2": Family({**_LLAMA, "vocab_size": 50304}, qkv_bias=None, head_norms="row"),
    "granite": Family(_LLAMA, qkv_bias=None),
    "gpt2": Family(
        {
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "max_position_embeddings": 1024,
            "vocab_size": 50257,
            "tie_word_embeddings": True,
        },
        names=_GPT,
        gated=False,
        layer_norm=True,
        qkv_bias=True,
        linear_bias=True,
        positions=True,
    ),
    "mixtral": Family(
        {
            **_LLAMA,
            "intermediate_size": 14336,
            "num_key_value_heads": 8,
            "max_position_embeddings": 131072,
            "num_local_experts": 8,
            "num_experts_per_tok": 2,
        },
        experts="num_local_experts",
    ),
}
"""Architectures (`model_type`) that are reckoned; of others nothing is said."""


@dataclass(frozen=True)
class Shape:
    """The sizes that memory and time depend on."""

    architecture: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head: int
    """Width of an attention head."""
    vocabulary: int
    context: int
    tied: bool
    """Whether the head's weights are the embedding's."""
    experts: int = 1
    experts_used: int = 1
    """Of each layer, by one token."""
    mlp_bias: bool = False

    @property
    def family(self) -> Family:
        """The rules of the architecture."""
        return FAMILIES[self.architecture]

    @property
    def attention_width(self) -> int:
        """All heads beside one another."""
        return self.heads * self.head

    @property
    def kv_width(self) -> int:
        """Keys of all heads beside one another."""
        return self.kv_heads * self.head

    @property
    def matrices(self) -> list[tuple[int, int, int]]:
        """Inputs, outputs and count of each linear layer in one layer, experts counted each."""
        inner = [(self.hidden, self.intermediate, (2 if self.family.gated else 1) * self.experts)]
        router = [(self.hidden, self.experts, 1)] if self.experts > 1 else []
        return [
            (self.hidden, self.attention_width, 1),
            (self.hidden, self.kv_width, 2),
            (self.attention_width, self.hidden, 1),
            *inner,
            (self.intermediate, self.hidden, self.experts),
            *router,
        ]


def shape_of(config: Mapping[str, Json]) -> Shape | None:
    """The shape that a transformers configuration describes; None where its architecture is not one of `FAMILIES`."""
    architecture = config.get("model_type", "")
    family = FAMILIES.get(architecture)
    if family is None:
        return None

    def of(name: str, otherwise: Any = None) -> Any:
        for key in (family.names.get(name, name), name):
            if config.get(key) is not None:
                return config[key]
        return family.defaults.get(name, otherwise)

    hidden, heads = of("hidden_size"), of("num_attention_heads")
    return Shape(
        architecture=architecture,
        layers=of("num_hidden_layers"),
        hidden=hidden,
        intermediate=of("intermediate_size", 4 * hidden),
        heads=heads,
        kv_heads=of("num_key_value_heads", heads),
        head=of("head_dim", hidden // heads),
        vocabulary=of("vocab_size"),
        context=of("max_position_embeddings"),
        tied=bool(of("tie_word_embeddings")),
        experts=of(family.experts, 1) if family.experts else 1,
        experts_used=of("num_experts_per_tok", 1) if family.experts else 1,
        mlp_bias=bool(of("mlp_bias")) or family.linear_bias,
    )


def parameters(shape: Shape, config: Mapping[str, Json]) -> int:
    """Numbers in the model's weights, those that are tied counted once."""
    family = shape.family
    norm = shape.hidden * (2 if family.layer_norm else 1)
    layer = sum(inputs * outputs * count for inputs, outputs, count in shape.matrices) + family.norms * norm
    biased = config.get("attention_bias", False) if family.qkv_bias is None else family.qkv_bias
    if biased:
        layer += shape.attention_width + 2 * shape.kv_width
    if (biased and family.qkv_bias is None) or family.linear_bias:
        layer += shape.hidden
    if shape.mlp_bias:
        layer += (2 if family.gated else 1) * shape.intermediate + shape.hidden
    if family.head_norms == "head":
        layer += 2 * shape.head
    elif family.head_norms == "row":
        layer += shape.attention_width + shape.kv_width
    embedding = shape.vocabulary * shape.hidden
    positions = shape.context * shape.hidden if family.positions else 0
    return shape.layers * layer + norm + positions + embedding * (1 if shape.tied else 2)


def used_by_a_token(shape: Shape, total: int) -> int:
    """The parameters that one token passes through: all but the experts that it is not sent to."""
    idle = shape.experts - shape.experts_used
    matrices = 3 if shape.family.gated else 2
    return total - shape.layers * idle * matrices * shape.hidden * shape.intermediate


def adapter_parameters(shape: Shape, rank: int) -> int:
    """Those of low-rank adapters on every linear layer but the head (LoRA, arXiv:2106.09685)."""
    return shape.layers * sum(rank * (inputs + outputs) * count for inputs, outputs, count in shape.matrices)


def in_matrices(shape: Shape) -> int:
    """Weights of the linear layers but the head: what computing in another dtype copies, and what 4 bits replace."""
    return shape.layers * sum(inputs * outputs * count for inputs, outputs, count in shape.matrices)


def flops_per_token(shape: Shape, total: int, length: float) -> float:
    """Of a training step, forward and backward: 6 for each parameter used, and attention over `length` tokens.

    The embedding is looked up, not multiplied (Kaplan et al., arXiv:2001.08361); causal attention sees half of the
    tokens on average.
    """
    looked_up = 0 if shape.tied else shape.vocabulary * shape.hidden
    return 6.0 * (used_by_a_token(shape, total) - looked_up) + 6.0 * shape.layers * shape.attention_width * length
