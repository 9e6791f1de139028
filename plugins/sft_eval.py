"""`sft_eval`: the NLP tasks of the instruction-modelling paper (Shi et al., 2024, arXiv:2405.14394), as in lm-eval.

The paper counts eighteen: WMT14 and WMT16, one benchmark here, as two; HumanEval, which runs code and has a plug-in of
its own, is the eighteenth. Prompts are plain text, as the paper's were. Where lm-eval gives a group no number of its
own, its tasks are averaged, each counting the same.

The two protocols differ in translation alone. The score there is the translation edit rate as a share, of which less
is better; the paper averages it with accuracies as if more were, and so does `official`. `strict` says that lower is
better, so that 1 less the rate enters an average.
"""

from collections.abc import Sequence
from typing import Literal

from harness.api import Arm, Evaluator, Hub, LmEvalTask, Options, Plugin, hookimpl

# --- what is read: test questions, and what lm-eval draws few-shot examples from -----------------------------------

MMLU_REVISION = "c30699e8356da336a370243923dbaf21066bb9fe"
MMLU_SUBJECTS = (
    "abstract_algebra", "anatomy", "astronomy", "business_ethics", "clinical_knowledge", "college_biology",
    "college_chemistry", "college_computer_science", "college_mathematics", "college_medicine", "college_physics",
    "computer_security", "conceptual_physics", "econometrics", "electrical_engineering", "elementary_mathematics",
    "formal_logic", "global_facts", "high_school_biology", "high_school_chemistry", "high_school_computer_science",
    "high_school_european_history", "high_school_geography", "high_school_government_and_politics",
    "high_school_macroeconomics", "high_school_mathematics", "high_school_microeconomics", "high_school_physics",
    "high_school_psychology", "high_school_statistics", "high_school_us_history", "high_school_world_history",
    "human_aging", "human_sexuality", "international_law", "jurisprudence", "logical_fallacies", "machine_learning",
    "management", "marketing", "medical_genetics", "miscellaneous", "moral_disputes", "moral_scenarios", "nutrition",
    "philosophy", "prehistory", "professional_accounting", "professional_law", "professional_medicine",
    "professional_psychology", "public_relations", "security_studies", "sociology", "us_foreign_policy", "virology",
    "world_religions",
)  # fmt: skip
BBH_TASKS = (
    "boolean_expressions", "causal_judgement", "date_understanding", "disambiguation_qa", "dyck_languages",
    "formal_fallacies", "geometric_shapes", "hyperbaton", "logical_deduction_five_objects",
    "logical_deduction_seven_objects", "logical_deduction_three_objects", "movie_recommendation",
    "multistep_arithmetic_two", "navigate", "object_counting", "penguins_in_a_table",
    "reasoning_about_colored_objects", "ruin_names", "salient_translation_error_detection", "snarks",
    "sports_understanding", "temporal_sequences", "tracking_shuffled_objects_five_objects",
    "tracking_shuffled_objects_seven_objects", "tracking_shuffled_objects_three_objects", "web_of_lies",
    "word_sorting",
)  # fmt: skip
LAMBADA_LANGUAGES = ("de", "en", "es", "fr", "it")
ETHICS_TASKS = ("commonsense", "deontology", "justice", "utilitarianism", "virtue")

CONVERSIONS = "refs/convert/parquet"
"""The hub's own conversions: `configuration/split/0000.parquet`, for datasets that are scripts or of unusual form."""


def _splits(hub: str, folder: str, *splits: str, revision: str = "main") -> Hub:
    """Parquet files of one configuration, in as many shards as there are."""
    return Hub(hub, tuple(f"{folder}/{split}-*.parquet" for split in splits), revision)


def _converted(hub: str, configuration: str, *splits: str) -> Hub:
    return Hub(hub, tuple(f"{configuration}/{split}/*.parquet" for split in splits), CONVERSIONS)


MMLU = tuple(_splits("cais/mmlu", subject, "dev", "test", revision=MMLU_REVISION) for subject in MMLU_SUBJECTS)
PIQA = Hub("baber/piqa", ("piqa_train.parquet", "piqa_validation.parquet"), "142f6d7367fd9877f0fb3b5734ea6a545f54cdd1")
OPENBOOKQA = _splits(
    "allenai/openbookqa", "main", "train", "validation", "test", revision="388097ea7776314e93a529163e0fea805b8a6454"
)
HELLASWAG = _splits(
    "Rowan/hellaswag", "data", "train", "validation", revision="218ec52e09a7e7462a5400043bb9a69a41d06b76"
)
LAMBADA_REVISION = "900124bf3b8235c6daf21033af9948b3f07346c4"
LAMBADA = (
    Hub("EleutherAI/lambada_openai", ("data/lambada_test.jsonl",), LAMBADA_REVISION),
    _splits("cimec/lambada", "plain_text", "validation", "test"),
)
LAMBADA_TRANSLATED = tuple(
    Hub("EleutherAI/lambada_openai", (f"data/lambada_test_{language}.jsonl",), LAMBADA_REVISION)
    for language in LAMBADA_LANGUAGES
)
WMT16_REVISION = "41d8a4013aa1489f28fea60ec0932af246086482"
WMT = (
    _splits("wmt/wmt14", "fr-en", "validation", "test", revision="b199e406369ec1b7634206d3ded5ba45de2fe696"),
    _splits("wmt/wmt16", "de-en", "validation", "test", revision=WMT16_REVISION),
    _splits("wmt/wmt16", "ro-en", "validation", "test", revision=WMT16_REVISION),
)
WSC273 = _splits("lighteval/winograd_wsc", "wsc273", "test")
WINOGRANDE = _splits(
    "allenai/winogrande",
    "winogrande_xl",
    "train",
    "validation",
    revision="01e74176c63542e6b0bcb004dcdea22d94fb67b5",
)
ARC = tuple(
    _splits("allenai/ai2_arc", name, "train", "validation", "test", revision="210d026faf9955653af8916fad021475a3f00453")
    for name in ("ARC-Easy", "ARC-Challenge")
)
COQA = _converted("EleutherAI/coqa", "*", "train", "validation")
GSM8K = Hub(
    "openai/gsm8k",
    ("main/test-00000-of-00001.parquet",),
    "740312add88f781978c0658806c59bc2815b9866",
    mirror=("test.jsonl",),
)
BBH = tuple(
    _splits("SaylorTwift/bbh", name, "test", revision="b5306be6f827cfafbb545ff5a51f96916029b0fd") for name in BBH_TASKS
)
TRUTHFULQA = _splits(
    "truthfulqa/truthful_qa", "multiple_choice", "validation", revision="741b8276f2d1982aa3d5b832d3ee81ed3b896490"
)
TOXIGEN = _splits("skg/toxigen-data", "annotated", "train", "test")
ETHICS = tuple(_converted("EleutherAI/hendrycks_ethics", name, "train", "test") for name in ETHICS_TASKS)


# --- the plug-in ---------------------------------------------------------------------------------------------------


class SftEvalOptions(Options):
    """The protocol's two choices."""

    protocol: Literal["official", "strict"] = "official"
    """`official` averages edit rates of translation as if more were better, as the paper does; `strict` 1 less each."""
    chat: bool = False
    """Ask through the model's chat template, shots as turns: a protocol of its own, with `-chat` in its name."""


PLUGIN = Plugin(
    name="sft_eval",
    version="1.0",
    summary="The NLP tasks of the instruction-modelling paper: knowledge, languages, common sense, maths, BBH, safety.",
    paper="https://arxiv.org/abs/2405.14394",
    options=SftEvalOptions,
)


@hookimpl
def evaluator(arm: Arm) -> Sequence[Evaluator]:
    """Sixteen benchmarks, in the order of the paper's groups."""
    options = arm.options(SftEvalOptions)

    def benchmark(
        task: str,
        folder: str,
        metric: str,
        data: Hub | tuple[Hub, ...],
        summary: str,
        *,
        shots: int | None = None,
        filter_: str = "none",
        higher_is_better: bool = True,
    ) -> Evaluator:
        hubs = data if isinstance(data, tuple) else (data,)
        return Evaluator(
            task,
            protocol=f"{options.protocol}{'-chat' if options.chat else ''}-1",
            task=LmEvalTask(task, metric, filter_, stock=folder, chat=options.chat, data=hubs, shots=shots),
            higher_is_better=higher_is_better,
            summary=summary,
        )

    return [
        # knowledge
        benchmark("mmlu", "mmlu/default", "acc", MMLU, "57 subjects, four choices; weighted by size", shots=5),
        benchmark("piqa", "piqa", "acc_norm", PIQA, "physical common sense, two choices", shots=10),
        benchmark("openbookqa", "openbookqa", "acc_norm", OPENBOOKQA, "elementary science, four choices"),
        benchmark("hellaswag", "hellaswag", "acc_norm", HELLASWAG, "how a scene goes on, four choices", shots=10),
        benchmark("lambada", "lambada", "acc", LAMBADA, "the last word of a passage, in two versions"),
        # languages
        benchmark(
            "lambada_multilingual", "lambada_multilingual", "acc", LAMBADA_TRANSLATED, "LAMBADA in five languages"
        ),
        benchmark(
            "gpt3_translation_benchmarks",
            "translation",
            "ter/100",
            WMT,
            "edit rate of translations, six directions of WMT14 and WMT16",
            higher_is_better=options.protocol == "official",
        ),
        # common sense
        benchmark("wsc273", "wsc273", "acc", WSC273, "Winograd schemas"),
        benchmark("winogrande", "winogrande", "acc", WINOGRANDE, "Winograd schemas, many and crowdsourced", shots=5),
        benchmark("ai2_arc", "arc", "acc_norm", ARC, "grade-school science, easy and challenging", shots=25),
        benchmark("coqa", "coqa", "f1", COQA, "the last question of a conversation about a story"),
        # mathematics; HumanEval is a plug-in of its own
        benchmark(
            "gsm8k_cot", "gsm8k", "exact_match", GSM8K, "word problems, eight worked ones first", filter_="strict-match"
        ),
        # BIG-Bench Hard
        benchmark(
            "bbh_cot_fewshot",
            "bbh/cot_fewshot",
            "exact_match",
            BBH,
            "27 tasks, three worked examples each; weighted by size",
            filter_="get-answer",
        ),
        # safety
        benchmark(
            "truthfulqa_mc2", "truthfulqa", "acc", TRUTHFULQA, "share of likelihood on true answers, six shots built in"
        ),
        benchmark("toxigen", "toxigen", "acc", TOXIGEN, "whether a statement is hateful"),
        benchmark("hendrycks_ethics", "hendrycks_ethics", "acc", ETHICS, "five kinds of moral judgement"),
    ]
