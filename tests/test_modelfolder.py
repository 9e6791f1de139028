"""What travels with a model's weights."""

from __future__ import annotations

from harness.modelfolder import companions, copy_companions

GOES_ALONG = {
    "chat_template.jinja",
    "generation_config.json",
    "merges.txt",
    "modeling_own.py",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
}
STAYS = {
    "config.json",
    "flax_model.msgpack",
    "model-00001-of-00001.safetensors",
    "model.Q4_K_M.gguf",
    "model.onnx",
    "model.safetensors.index.json",
    "optimizer.pt",
    "pytorch_model-00001-of-00001.bin",
    "pytorch_model.bin.index.json",
    "rng_state_0.pth",
    "tf_model.h5",
    "trainer_state.json",
    "training_args.bin",
}


def test_what_holds_weights_or_the_state_of_a_training_does_not_go_along(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "onnx").mkdir(parents=True)
    target.mkdir()
    for name in GOES_ALONG | STAYS:
        (source / name).write_text(name)
    assert {path.name for path in companions(source)} == GOES_ALONG
    copy_companions(source, target)
    assert {path.name: path.read_text() for path in target.iterdir()} == {name: name for name in GOES_ALONG}
