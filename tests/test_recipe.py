"""What the user writes: YAML, --set and --seeds; every slip is named with its place."""

from fractions import Fraction
from importlib.resources import files

import pytest
import yaml

from harness.data.resolve import Places
from harness.planner import build, choose_arms
from harness.recipe import Recipe, load, named_model
from harness.settings import Setting

MINIMAL = """
name: own
model: {init: {config: {hidden_size: 32}}}
data:
  general: chats.jsonl
  specialist: [gsm8k, {source: ./maths.csv, fraction: 1/4}]
benchmarks: gsm8k
"""


@pytest.fixture
def written(tmp_path):
    """Writes a recipe; returns its path."""

    def write(text):
        path = tmp_path / "own.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_a_recipe_file(written):
    recipe = load(written(MINIMAL))
    assert [use.source for use in recipe.data["specialist"]] == ["gsm8k", "./maths.csv"]
    assert recipe.data["specialist"][1].fraction == Fraction(1, 4)
    assert recipe.benchmarks == ("gsm8k",)
    assert recipe.plugin_names() == ("gsm8k",)
    assert recipe.seeds == (0,)


def test_a_resolved_recipe_survives_json(written):
    recipe = load(written(MINIMAL))
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize("name", [f.name for f in files("harness.recipes").iterdir() if f.name.endswith(".yaml")])
def test_embedded_recipes_are_valid(name):
    assert load(name.removesuffix(".yaml")).name == name.removesuffix(".yaml")


def test_the_recipe_of_all_methods_compares_at_least_ten_arms(tmp_path):
    whole = load("playground-all")
    arms = choose_arms(whole, (), (), baseline=True, factorial=False)
    plan = build(whole, arms, Places(None, tmp_path))
    assert len(plan.arms) >= 10
    assert {arm.baseline for arm in plan.arms} == {None, "sft"}
    assert sum(arm.spec.swept == ("dmt.k",) for arm in plan.arms) >= 5
    assert {"playground", *whole.benchmarks} == {"playground"}


# --- slips ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("benchmark=gsm8k", "there is no setting 'benchmark' (did you mean 'benchmarks'?)"),
        ("train.lrr=1", "there is no setting 'train.lrr' (did you mean 'train.lr'?)"),
        ("runtime.worker=1", "there is no setting 'runtime.worker' (did you mean 'runtime.workers'?)"),
        ("engine.dytpe=float32", "there is no setting 'engine.dytpe' (did you mean 'engine.dtype'?)"),
        ("model.ini={}", "there is no setting 'model.ini' (did you mean 'model.init'?)"),
        (
            "model.init.vocabsize=1",
            "there is no setting 'model.init.vocabsize' (did you mean 'model.init.vocab_size'?)",
        ),
        (
            "data.general=[{source: x.csv, fractio: 1/2}]",
            "there is no setting 'data.general.0.fractio' (did you mean 'data.general.fraction'?)",
        ),
        ("lr=1e-3", "there is no setting 'lr' (did you mean 'train.lr'?)"),
        ("micro_tokens=64", "there is no setting 'micro_tokens' (did you mean 'runtime.micro_tokens'?)"),
        ("name_of=x", "there is no setting 'name_of' (did you mean 'name'?)"),
        ("benchmarks=gsm8kk", "no benchmark is called 'gsm8kk' (did you mean 'gsm8k'?)"),
        ("data.general=gsm8kk:train", "no dataset is called 'gsm8kk' (did you mean 'gsm8k'?)"),
        ("dmt.kk=1", "there is no setting 'dmt.kk' (did you mean 'dmt.k'?)"),
        ("options.dmt.kk=1", "there is no setting 'dmt.kk' (did you mean 'dmt.k'?)"),
        ("judge={modle: gpt}", "there is no setting 'judge.modle' (did you mean 'judge.model'?)"),
        ("dmtt.k=1", "there is no setting 'dmtt.k' (did you mean 'dmt.k'?)"),
        ("options.dmtt.k=1", "no plug-in is called 'dmtt' (did you mean 'dmt'?)"),
        ("suite=playgroud", "there is no suite playgroud (give a YAML file; did you mean 'playground'?)"),
    ],
)
def test_an_unknown_key_at_every_level(written, refused, setting, expected):
    assert refused(load, written(MINIMAL), [Setting.parse(setting)]) == expected


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("train.lr=fast", "train.lr = fast will not do: a number is wanted (the default is 2e-05)"),
        ("train.lr=0", "train.lr = 0 will not do: it must be more than 0 (the default is 2e-05)"),
        ("train.epochs=", "train.epochs =  will not do: a number is wanted (the default is 3.0)"),
        (
            "train.batch_size=1.5",
            "train.batch_size = 1.5 will not do: a whole number is wanted (the default is 128)",
        ),
        ("train.liger=maybe", "train.liger = maybe will not do: true or false is wanted (the default is false)"),
        (
            "engine.name=sglang",
            "engine.name = sglang will not do: it must be 'hf', 'vllm' or 'endpoint' (the default is hf)",
        ),
        (
            "match=rows",
            "match = rows will not do: it must be 'none', 'examples', 'tokens' or 'steps' (the default is none)",
        ),
        ("train.lr=.inf", "train.lr = inf will not do: a finite number is wanted (the default is 2e-05)"),
        ("judge={model: gpt}", "judge.base_url is missing (write judge.base_url: and what it is)"),
    ],
)  # fmt: skip
def test_a_value_that_will_not_do_and_what_is_usual(written, refused, setting, expected):
    assert refused(load, written(MINIMAL), [Setting.parse(setting)]) == expected


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("seeds=[]", "seeds = [] will not do: it needs 1 at least"),
        ("seeds=3", "seeds = 3 will not do: a list is wanted"),
        ("seeds=[1,1]", "seeds = [1, 1] will not do: every seed counts once"),
        ("seeds=[-1]", "seeds.0 = -1 will not do: it must be at least 0"),
        ("judge=nobody", "judge = nobody will not do: it has keys of its own, such as judge.model"),
        ("train.lora=16", "train.lora = 16 will not do: it has keys of its own, such as train.lora.rank"),
        ("limit=0", "limit = 0 will not do: it must be at least 1"),
        ("benchmarks=[]", "give either benchmarks or a suite"),
        (
            "data.general=[{source: x.csv, fraction: 1/2, amount: 3}]",
            "data.general.0 will not do: give a fraction or an amount, not both",
        ),
        (
            "data.general=[{source: x.csv, fraction: 3/2}]",
            "data.general.0.fraction = 3/2 will not do: it must be at most 1",
        ),
        (
            "name=my run",
            "name = my run will not do: letters, digits, dots, - and _ make a name, beginning with a letter or a digit",
        ),
    ],
)  # fmt: skip
def test_a_value_that_will_not_do(written, refused, setting, expected):
    assert (
        refused(load, written(MINIMAL), [Setting.parse(setting)]) == f"{expected} (docs/recipes.md lists the settings)"
    )


def test_a_key_that_is_missing(written, refused):
    path = written("name: own\ndata: {general: gsm8k}\nbenchmarks: gsm8k\n")
    assert refused(load, path) == "model is missing (write model: and what it is)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "name: own\ntrain: [1, 2\n",
            ", line 3 is no YAML: expected ',' or ']', but got '<stream end>' (repair the file)",
        ),
        ("name: own\nname: other\n", ", line 2 is no YAML: name stands twice (repair the file)"),
        ("train:\n  lr: 1\n  lr: 2\n", ", line 3 is no YAML: lr stands twice (repair the file)"),
        ("[a]: 1\n", ", line 1 is no YAML: a key is no word (repair the file)"),
        ("- name\n", " holds no recipe (a recipe is a mapping; see docs/recipes.md)"),
        ("", " holds no recipe (a recipe is a mapping; see docs/recipes.md)"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_recipe(written, refused, text, expected):
    path = written(text)
    assert refused(load, path) == f"{path}{expected}"


def test_a_file_that_is_no_text(tmp_path, refused):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"\xff\xfe")
    said = refused(load, str(path))
    assert said.startswith(f"cannot read the recipe {path}: 'utf-8' codec can't decode byte")
    assert said.endswith(" (give a YAML file in UTF-8)")


def test_options_left_empty(written, refused):
    path = written(MINIMAL + "options:\n")
    assert refused(load, path) == (
        "options = None will not do: a mapping is wanted (docs/recipes.md lists the settings)"
    )
    assert load(path, [Setting.parse("dmt.k=1/4")]).options == {"dmt": {"k": "1/4"}}


def test_a_recipe_that_is_not_there(refused):
    assert refused(load, "gsm8k-mni") == ("there is no recipe gsm8k-mni (give a YAML file; did you mean 'gsm8k-mini'?)")


def test_yaml_cannot_run_code(written, refused):
    message = refused(load, written("name: !!python/object/apply:os.getcwd []\n"))
    assert "could not determine a constructor" in message


# --- --set and --seeds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "arm", "path", "value"),
    [
        ("train.lr=1e-4", None, "train.lr", 1e-4),
        ("train.lr=1.5E-4", None, "train.lr", 1.5e-4),
        ("train.lr=-2e3", None, "train.lr", -2000.0),
        ("train.epochs=3", None, "train.epochs", 3),
        ("train.betas=[0.9, 0.95]", None, "train.betas", [0.9, 0.95]),
        ("dmt.k=1/256", None, "dmt.k", "1/256"),
        ("model=org/name@abc", None, "model", "org/name@abc"),
        ("model.trust_remote_code=true", None, "model.trust_remote_code", True),
        ("limit=null", None, "limit", None),
        ("model.chat_template=", None, "model.chat_template", ""),
        ("dmt+im:train.lr=1e-4", "dmt+im", "train.lr", 1e-4),
        (" name = x ", None, "name", "x"),
        ("data.general={source: a.csv, name: b=c}", None, "data.general", {"source": "a.csv", "name": "b=c"}),
    ],
)
def test_settings_are_typed_as_yaml(text, arm, path, value):
    setting = Setting.parse(text)
    assert (setting.arm, ".".join(setting.path), setting.value) == (arm, path, value)
    assert type(setting.value) is type(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train.lr", "--set train.lr: a key and a value are wanted (write --set train.lr=1e-4)"),
        ("=3", "--set =3: a key and a value are wanted (write --set train.lr=1e-4)"),
        (":train.lr=3", "--set :train.lr=3: a key and a value are wanted (write --set ARM:train.lr=1e-4)"),
        ("im:=3", "--set im:=3: a key and a value are wanted (write --set ARM:train.lr=1e-4)"),
        ("seeds=[1", "--set seeds=[1: the value is no YAML (quote it)"),
    ],
)
def test_settings_that_cannot_be_read(refused, text, expected):
    assert refused(Setting.parse, text) == expected


def test_settings_reach_the_recipe(written):
    settings = [
        "train.lr=1e-4",
        "train.betas=[0.9, 0.95]",
        "dmt.k=1/16",
        "model.init.config.rms_norm_eps=1e-5",
        "im:x=1",
    ]
    recipe = load(written(MINIMAL), [Setting.parse(text) for text in settings])
    assert recipe.train.lr == 1e-4
    assert recipe.train.betas == (0.9, 0.95)
    assert recipe.options == {"dmt": {"k": "1/16"}}
    assert recipe.model.init.config == {"hidden_size": 32, "rms_norm_eps": 1e-5}


def test_the_last_setting_holds(written):
    assert load(written(MINIMAL), [Setting.parse("limit=1"), Setting.parse("limit=2")]).limit == 2


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("1", (0,)), ("3", (0, 1, 2)), ("4,7", (4, 7)), ("4,", (4,)), ("x", None), (",", None), ("1,,2", None)],
)
def test_seeds(written, refused, text, seeds):
    if seeds is None:
        message = refused(lambda: load(written(MINIMAL), [Setting.seeds(text)]))
        assert message == f"--seeds {text}: a number of seeds or a list of them is wanted (write --seeds 3)"
    else:
        assert load(written(MINIMAL), [Setting.seeds(text)]).seeds == seeds


@pytest.mark.parametrize("text", ["0", "-1"])
def test_no_seed_at_all(refused, text):
    expected = f"--seeds {text}: a run has at least one seed (write --seeds 1; --seeds 0, is the seed 0 alone)"
    assert refused(Setting.seeds, text) == expected


def test_model_by_name(written):
    recipe = load(written(MINIMAL), [Setting.parse("model=org/name@abc")])
    assert (recipe.model.id, recipe.model.revision, recipe.model.init) == ("org/name", "abc", None)
    assert load(written(MINIMAL), [Setting.parse("model=org/name")]).model.revision is None


def test_columns_of_a_source(written, refused):
    mapped = {"source": "x.csv", "columns": {"kind": "pair", "prompt": "q", "completion": "a"}}
    recipe = load(written(MINIMAL), [Setting(None, ("data", "general"), mapped)])
    assert recipe.data["general"][0].mapped_columns().completion == "a"
    wrong = yaml.safe_load("{source: x.csv, columns: {kind: pair, promt: q}}")
    recipe = load(written(MINIMAL), [Setting(None, ("data", "general"), wrong)])
    assert "promt" in refused(recipe.data["general"][0].mapped_columns)
    unknown = {"source": "x.csv", "columns": {"kind": "pairs"}}
    recipe = load(written(MINIMAL), [Setting(None, ("data", "general"), unknown)])
    assert refused(recipe.data["general"][0].mapped_columns) == (
        "the columns of x.csv: there is no kind 'pairs' (did you mean 'pair'?)"
    )


def test_a_model_has_one_origin(refused):
    assert refused(load, None, [Setting.parse("model.id=org/name")]) == (
        "model will not do: a model has an id or init, not both; to replace it whole: --set model=ORG/NAME "
        "(docs/recipes.md lists the settings)"
    )
    assert load(None, [Setting.parse("model=org/name@v2")]).model.revision == "v2"


def test_an_at_sign_in_the_name_of_a_folder_is_no_revision(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tuned@v2").mkdir()
    assert named_model("tuned@v2") == {"id": "tuned@v2", "revision": None}
    assert named_model("org/tuned@v2") == {"id": "org/tuned", "revision": "v2"}
