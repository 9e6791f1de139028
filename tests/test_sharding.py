import json

import pytest

from harness.errors import UserError
from harness.sharding import GATHER, SHIPPED, read_sharding


@pytest.fixture
def written(tmp_path):
    """Writes a configuration; returns its path."""

    def write(config):
        path = tmp_path / "mine.json"
        path.write_text(config if isinstance(config, str) else json.dumps(config))
        return str(path)

    return write


def test_ones_own_file_is_read(written):
    zero = {"stage": 3, GATHER: True, "offload_optimizer": {"device": "cpu"}, "offload_param": {"device": "none"}}
    found = read_sharding(written({"zero_optimization": zero}))
    assert (found.stage, found.offloads_optimizer, found.offloads_parameters) == (3, True, False)
    assert read_sharding(written({})).stage == 0


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_leaves_to_the_recipe_what_the_recipe_says(name):
    sharding = read_sharding(name)
    assert sharding.stage == int(name[4])
    assert (sharding.offloads_optimizer, sharding.offloads_parameters) == (name.endswith("offload"),) * 2
    assert sharding.shards_parameters == name.startswith("zero3")


def test_what_the_recipe_decides_is_left_for_it_to_fill_in(written):
    sharding = read_sharding(written({"bf16": {"immediate_grad_update": True}}))
    filled = sharding.filled()
    assert filled["bf16"] == {"immediate_grad_update": True, "enabled": "auto"}
    assert (filled["train_batch_size"], filled["gradient_clipping"]) == ("auto", "auto")
    assert "gradient_clipping" not in sharding.config


@pytest.mark.parametrize(("said", "dtype"), [({}, "fp32"), ({"data_types": {"grad_accum_dtype": "bf16"}}, "bf16")])
def test_gradients_add_up_in_full_precision_unless_the_file_says_otherwise(written, said, dtype):
    assert read_sharding(written(said)).filled()["data_types"] == {"grad_accum_dtype": dtype}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a DeepSpeed configuration"),
        ({"zero_optimization": {"stage": 4}}, "there is no ZeRO stage 4"),
        ({"zero_optimization": 2}, "zero_optimization is not an object"),
        ({"zero_optimization": {"stage": 3}}, f"ZeRO-3 without {GATHER} saves no weights (set it to true)"),
        ({"optimizer": {"type": "AdamW"}}, "holds a section 'optimizer'"),
        ({"scheduler": {}}, "holds a section 'scheduler'"),
        ({"fp16": {"enabled": True}}, "holds a section 'fp16'"),
        ({"tensor_parallel": {"autotp_size": 2}}, "holds a section 'tensor_parallel'"),
        ({"train_batch_size": 8}, "sets train_batch_size to 8, which the recipe decides"),
        ({"gradient_clipping": 0.5}, "sets gradient_clipping to 0.5"),
        ({"bf16": {"enabled": True}}, "sets bf16.enabled to True"),
        ({"bf16": {"bf16_master_weights_and_grads": True}}, "sets bf16.bf16_master_weights_and_grads to True"),
        ({"bf16": True}, "bf16 is not an object"),
        ({"data_types": "fp32"}, "data_types is not an object"),
        ({"bfloat16": {"enabled": True}}, "holds a section 'bfloat16'"),
        ({"torch_autocast": {"enabled": True}}, "holds a section 'torch_autocast'"),
        ({"gradient_allreduce_op": "sum"}, "holds a section 'gradient_allreduce_op'"),
        ({"progressive_layer_drop": {"enabled": True}}, "without some of its layers"),
        ({"zero_optimization": {"stage": 2, "offload_optimizer": "cpu"}}, "offload_optimizer is not an object"),
        ({"zero_optimization": {"stage": 2, "zero_quantized_gradients": True}}, "zero_quantized_gradients: more than"),
    ],
)
def test_what_would_lose_the_model_or_change_results_is_refused(written, refused, config, said):
    assert said in refused(read_sharding, written(config))


def test_a_file_that_is_not_there():
    with pytest.raises(UserError, match=r"no DeepSpeed configuration 'none\.json'.*use zero0, zero1"):
        read_sharding("none.json")


def test_the_order_of_the_state_decides_its_division_and_the_size_of_buckets_does_not(written):
    def division(**zero):
        return read_sharding(written({"zero_optimization": {"stage": 2, **zero}})).division

    assert division() == division(reduce_bucket_size=1000)
    assert division() != division(round_robin_gradients=True)
