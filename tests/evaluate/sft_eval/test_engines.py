"""All of `sft_eval` at once, by the command and on both engines."""

import json
from importlib.util import find_spec

import pytest

SUITE = "name: nlp\nversion: 1\nsummary: All that sft_eval offers.\nbenchmarks: [sft_eval]\n"


@pytest.mark.soak
@pytest.mark.vllm
@pytest.mark.timeout(3600)
def test_both_engines_answer_alike(command, model, made_up_mirror, tmp_path):
    if find_spec("vllm") is None:
        pytest.skip("vllm is not installed")
    (tmp_path / "suite.yaml").write_text(SUITE)
    said = {}
    for engine in ("hf", "vllm"):
        asked = ("eval", model / "model", "--suite", "suite.yaml", "--engine", engine, "--data-root", made_up_mirror)
        run = command(*asked, "--out", engine, "--set", "runtime.batch_size=8", cwd=tmp_path)
        try:
            _, errors = run.communicate(timeout=1500)
        finally:
            run.kill()  # its workers end with it
        assert run.returncode == 0, errors[-2000:]
        said[engine] = {
            (path.parent.name, sample["id"]): sample
            for path in (tmp_path / engine / "samples").rglob("*.jsonl")
            for sample in map(json.loads, path.read_bytes().splitlines())
        }
    assert len({benchmark for benchmark, _ in said["hf"]}) == 16
    assert said["hf"].keys() == said["vllm"].keys()
    for item, sample in said["hf"].items():
        other = said["vllm"][item]
        assert (sample["prompt_sha256"], sample["outcome"]) == (other["prompt_sha256"], other["outcome"])
        assert sample["scores"] == pytest.approx(other["scores"], rel=1e-4)
        if sample["finish"]:
            assert sample["response"] == other["response"]
