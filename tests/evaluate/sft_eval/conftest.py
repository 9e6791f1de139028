"""Made-up rows in the form of each dataset that the tasks of `sft_eval` read: words at random, nothing of anybody's."""

import json
import re
import shutil
from random import Random

import pytest

NOUNS = ("apple", "bridge", "candle", "drum", "engine", "farmer", "garden", "hammer", "island", "jacket", "kettle")
VERBS = ("carries", "finds", "breaks", "paints", "sells", "watches", "moves")
ENDS = ("slowly", "at noon", "for Ann", "near the lake", "twice", "without a word")


class Author:
    """Writes rows; the same ones again for the same seed."""

    def __init__(self, seed):
        self.draw = Random(seed)

    def noun(self):
        return self.draw.choice(NOUNS)

    def sentence(self):
        return f"The {self.noun()} {self.draw.choice(VERBS)} the {self.noun()} {self.draw.choice(ENDS)}."

    def choices(self, n):
        return [f"the {noun} {self.draw.choice(ENDS)}" for noun in self.draw.sample(NOUNS, n)]

    def number(self, below):
        return self.draw.randrange(below)

    def flag(self):
        return self.number(2)

    # --- one row of each form ------------------------------------------------------------------------------------

    def mmlu(self):
        return {"question": f" {self.sentence()} What next?", "choices": self.choices(4), "answer": self.number(4)}

    def piqa(self):
        return {
            "goal": f"Use the {self.noun()}",
            "sol1": self.sentence(),
            "sol2": self.sentence(),
            "label": self.flag(),
        }

    def science(self, question):
        n = 3 + self.flag()
        choices = {"text": self.choices(n), "label": list("ABCD"[:n])}
        return {question: self.sentence()[:-1], "choices": choices, "answerKey": self.draw.choice("ABC")}

    def hellaswag(self):
        return {
            "activity_label": "Making a " + self.noun(),
            "ctx_a": self.sentence(),
            "ctx_b": "then the " + self.noun(),
            "endings": [f"[step] {choice} [substeps]  and rests." for choice in self.choices(4)],
            "label": str(self.number(4)),
        }

    def lambada(self):
        return {"text": f"{self.sentence()} {self.sentence()} It was the {self.noun()}"}

    def translation(self, *languages):
        return {"translation": {language: f"{language}: {self.sentence()}" for language in languages}}

    def wsc(self):
        first, second = self.draw.sample(NOUNS, 2)
        before = f"The {first} hit the {second} because "
        pronoun = self.draw.choice(("it", "his"))
        return {
            "text": f"{before}{pronoun}  {self.draw.choice(ENDS)}.",
            "pronoun": pronoun,
            "pronoun_loc": len(before),
            "options": [f"The {first}", f"The {second}"],
            "label": self.flag(),
        }

    def winogrande(self):
        first, second = self.draw.sample(NOUNS, 2)
        return {
            "sentence": f"The {first} met the {second} and the _ was {self.draw.choice(ENDS)}.",
            "option1": first,
            "option2": second,
            "answer": str(1 + self.flag()),
        }

    def coqa(self):
        turns = 1 + self.number(3)

        def turn_texts():
            return {"input_text": [self.noun() for _ in range(turns)]}

        return {
            "story": " ".join(self.sentence() for _ in range(3)),
            "questions": {"input_text": [f"Who sees the {self.noun()}?" for _ in range(turns)]},
            "answers": turn_texts(),
            "additional_answers": {str(n): turn_texts() for n in range(3)},
        }

    def gsm8k(self):
        first, second = 2 + self.number(90), 2 + self.number(90)
        return {
            "question": f"Ann has {first} {self.noun()}s and buys {second}. How many has she?",
            "answer": f"She has {first} + {second}.\n#### {first + second}",
        }

    def bbh(self):
        return {"input": f"{self.sentence()} Options: (A) {self.noun()} (B) {self.noun()}", "target": "(A)"}

    def truthfulqa(self):
        def targets(n):
            return {"choices": self.choices(n), "labels": [1] + [self.flag() for _ in range(n - 2)] + [0]}

        return {"question": f"Who has the {self.noun()}?", "mc1_targets": targets(3), "mc2_targets": targets(4)}

    def toxigen(self):
        return {
            "text": self.sentence(),
            "toxicity_ai": 1.0 + self.number(5) / 2,
            "toxicity_human": 1.0 + self.number(9) / 2,
        }

    def ethics(self, kind):
        texts = {
            "commonsense": ("input",),
            "deontology": ("scenario", "excuse"),
            "justice": ("scenario",),
            "utilitarianism": ("activity", "baseline"),
            "virtue": ("scenario", "trait"),
        }[kind]
        return {"label": self.flag(), **{name: self.sentence() for name in texts}}


# --- datasets --------------------------------------------------------------------------------------------------------


def rows(n, seed, form, *arguments):
    author = Author(seed)
    return [getattr(author, form)(*arguments) for _ in range(n)]


def write_all(mmlu_subjects, bbh_tasks):
    """What each hub dataset holds, as the tasks ask for it: `(id, configuration)` to splits to rows."""
    made = {
        ("baber/piqa", None): {"train": rows(12, 1, "piqa"), "validation": rows(5, 2, "piqa")},
        ("allenai/openbookqa", "main"): {
            split: rows(4, seed, "science", "question_stem")
            for seed, split in enumerate(("train", "validation", "test"))
        },
        ("Rowan/hellaswag", None): {"train": rows(12, 1, "hellaswag"), "validation": rows(4, 2, "hellaswag")},
        ("EleutherAI/lambada_openai", "default"): {"test": rows(5, 1, "lambada")},
        ("cimec/lambada", None): {"validation": rows(2, 2, "lambada"), "test": rows(3, 3, "lambada")},
        ("lighteval/winograd_wsc", "wsc273"): {"test": rows(6, 1, "wsc")},
        ("allenai/winogrande", "winogrande_xl"): {
            "train": rows(8, 1, "winogrande"),
            "validation": rows(6, 2, "winogrande"),
        },
        ("EleutherAI/coqa", None): {"train": rows(2, 1, "coqa"), "validation": rows(5, 2, "coqa")},
        ("openai/gsm8k", "main"): {"test": rows(4, 1, "gsm8k")},
        ("truthfulqa/truthful_qa", "multiple_choice"): {"validation": rows(4, 1, "truthfulqa")},
        ("skg/toxigen-data", "annotated"): {"train": rows(2, 1, "toxigen"), "test": rows(6, 2, "toxigen")},
    }
    for seed, language in enumerate(("de", "en", "es", "fr", "it")):
        made["EleutherAI/lambada_openai", language] = {"test": rows(2 + seed, seed, "lambada")}
    for seed, (hub, pair) in enumerate((("wmt/wmt14", "fr-en"), ("wmt/wmt16", "de-en"), ("wmt/wmt16", "ro-en"))):
        languages = pair.split("-")
        made[hub, pair] = {
            "validation": rows(1, seed, "translation", *languages),
            "test": rows(2 + seed, 9 + seed, "translation", *languages),
        }
    for seed, (name, n) in enumerate((("ARC-Easy", 6), ("ARC-Challenge", 3))):
        sizes = {"train": 26, "validation": 1, "test": n}
        made["allenai/ai2_arc", name] = {
            split: rows(size, seed + size, "science", "question") for split, size in sizes.items()
        }
    for seed, kind in enumerate(("commonsense", "deontology", "justice", "utilitarianism", "virtue")):
        sizes = {"train": 2, "test": 2 + seed}
        made["EleutherAI/hendrycks_ethics", kind] = {
            split: rows(size, seed + size, "ethics", kind) for split, size in sizes.items()
        }
    for seed, subject in enumerate(mmlu_subjects):
        made["cais/mmlu", subject] = {"dev": rows(5, seed, "mmlu"), "test": rows(1 + seed % 3, 99 + seed, "mmlu")}
    for seed, name in enumerate(bbh_tasks):
        made["SaylorTwift/bbh", name] = {"test": rows(1 + (seed == 0), seed, "bbh")}
    return made


def write_file(path, content):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(content), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in content))


@pytest.fixture(scope="session")
def evaluators():
    """The benchmarks of `sft_eval` by name, under its defaults or options."""
    from harness.arms import bind
    from harness.armspec import ArmSpec

    def offered(**options):
        bound = bind(ArmSpec(("sft",), {"sft_eval": options}), ["sft_eval"])
        return {name: evaluator for name, (evaluator, _) in bound.evaluators().items()}

    return offered


@pytest.fixture(scope="session")
def made_up():
    """`(hub id, configuration)` to splits to rows."""
    from harness.plugins.sft_eval import BBH_TASKS, MMLU_SUBJECTS

    return write_all(MMLU_SUBJECTS, BBH_TASKS)


@pytest.fixture(scope="session")
def made_up_mirror(made_up, evaluators, tmp_path_factory):
    """The same rows as a mirror holds them: under the names that the plug-in declares."""
    root = tmp_path_factory.mktemp("made-up")
    hubs = {hub for evaluator in evaluators().values() for hub in evaluator.task.data}
    for hub in hubs:
        for name in hub.mirror or hub.files:
            file = name.replace("-*.", "-00000-of-00001.").replace("/*.", "/0000.").replace("*", "default")
            words = re.split(r"[/_.]|-0", file)
            configurations = {key[1]: splits for key, splits in made_up.items() if key[0] == hub.id}
            named = [configuration for configuration in configurations if configuration in (*words, *file.split("/"))]
            splits = configurations[
                named[0] if named else "default" if "default" in configurations else min(configurations)
            ]
            write_file(root / hub.id / file, splits[next(split for split in splits if split in words)])
    return root


@pytest.fixture(scope="session")
def model(chat_models, tmp_path_factory):
    """Model `a`, with room for worked examples, and with the end of the text likelier still: answers are short."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("model")
    shutil.copytree(chat_models["a"], folder, dirs_exist_ok=True)
    path = folder / "model" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "max_position_embeddings": 16384}))
    weights = load_file(folder / "model" / "model.safetensors")
    weights["lm_head.weight"][config["eos_token_id"]] *= 1.2
    save_file(weights, folder / "model" / "model.safetensors", {"format": "pt"})
    return folder
