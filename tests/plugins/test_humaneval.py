"""HumanEval: what is asked, what code is taken from answers, how it is judged, and what that is worth."""

import ast
import json
import subprocess
import sys
from fractions import Fraction
from itertools import combinations
from math import comb

import pytest
from harness.plugins.humaneval import PROBLEMS, STOP, FunctionalCorrectness, Problems, code_in, pass_at_k

from harness.api import Execution, Item, Message, Reply, Response
from harness.arms import bind
from harness.armspec import ArmSpec
from harness.sandbox.sandbox import open_sandbox
from harness.testing import check_plugin

PROBLEM = {
    "task_id": "HumanEval/0",
    "prompt": 'import math\n\ndef half(x):\n    return x / 2\n\ndef double(x):\n    """Twice x."""\n',
    "entry_point": "double",
    "canonical_solution": "    return 2 * x\n",
    "test": "def check(candidate):\n    assert candidate(half(6)) == 6\n    assert math.isclose(double(0.1), 0.2)\n",
}
GREEDY, CHAT = FunctionalCorrectness((1,), chat=False, timeout=2.0), FunctionalCorrectness((1,), chat=True, timeout=2.0)


@pytest.fixture(scope="module")
def sandbox():
    with open_sandbox() as found:
        yield found


@pytest.fixture(scope="module")
def problems(mirror):
    path = mirror / PROBLEMS.id / "test.jsonl"
    if not path.is_file():
        pytest.skip(f"the mirror has no {path.name} of {PROBLEMS.id}")
    return [json.loads(line) for line in path.read_text().splitlines()]


def response(*texts, problem=PROBLEM):
    return Response(Item(problem["task_id"], problem), (tuple(Reply(text, "stop") for text in texts),))


def scored(scorer, answered, run):
    """The scores of an answer, its programs run by `run`."""
    scoring = scorer.score(answered, lambda _: (), None)
    try:
        executions = list(run(next(scoring)))
        scoring.send(executions)
    except StopIteration as end:
        return end.value
    raise AssertionError("it asks again")


def always(outcome):
    return lambda programs: [Execution(outcome) for _ in programs]


def test_it_is_a_plug_in_as_it_should_be():
    check_plugin("humaneval")


# --- asking ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "protocol", "score", "sampling"),
    [
        ("humaneval", "dmt-1", "pass@1", (1, 0.0, 1.0)),
        ("humaneval_t01", "im-t0.1-1", "pass@1", (20, 0.1, 0.95)),
        ("humaneval_t07", "im-t0.7-1", "pass@10", (20, 0.7, 0.95)),
    ],
)
def test_prompts_are_gone_on_with_as_the_papers_do(name, protocol, score, sampling):
    evaluator, _ = bind(ArmSpec(("humaneval",))).evaluators()[name]
    assert (evaluator.protocol, evaluator.task.score, evaluator.optional) == (protocol, score, name != "humaneval")
    assert evaluator.needs("sandbox")
    questions = evaluator.task.questions
    (item,) = questions.items({PROBLEMS: [PROBLEM]}.__getitem__)
    asks = next(questions.ask(item))
    for ask in asks:
        assert (ask.prompt, ask.max_new_tokens, ask.stop) == (PROBLEM["prompt"], 512, STOP)
        assert (len(asks), ask.temperature, ask.top_p) == sampling


def test_a_chat_is_asked_for_the_whole_function():
    evaluator, _ = bind(ArmSpec(("humaneval",))).evaluators()["humaneval_chat"]
    assert (evaluator.protocol, evaluator.optional) == ("chat-1", True)
    (ask,) = next(Problems(chat=True).ask(Item("x", PROBLEM)))
    ((role, content),) = [(message.role, message.content) for message in ask.prompt]
    assert isinstance(ask.prompt[0], Message)
    assert role == "user"
    assert content.endswith(f"```python\n{PROBLEM['prompt']}```")
    assert ask.stop == ()


# --- code ------------------------------------------------------------------------------------------------------------

WHOLE = "def double(x):\n    return x + x\n"
BODY = "    return x + x\n"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (f"Here:\n```python\n{WHOLE}```\nDone.", WHOLE),
        (f"```\n{WHOLE}```", WHOLE),
        (f"```py\nimport math\n{WHOLE}```", f"import math\n{WHOLE}"),
        (f"```python\n{WHOLE}", WHOLE),
        (f"```bash\npip install x\n```\nthen\n```python\n{WHOLE}```", WHOLE),
        (f"```python\n{WHOLE}```\nor\n```python\ndef double(y):\n    return 2 * y\n```", WHOLE),
        (f"```python\ndef doubles(x): pass\n```\n```python\n{WHOLE}```", WHOLE),
        (WHOLE, WHOLE),
    ],
)
def test_the_block_that_defines_the_function_takes_the_prompts_place(answer, code):
    assert code_in(answer, PROBLEM) == f"\n\n{code}"


@pytest.mark.parametrize(("answer", "code"), [(f"```python\n{BODY}```", BODY), (f"Just:\n```\n{BODY}", BODY)])
def test_a_body_goes_behind_the_prompt(answer, code):
    assert code_in(answer, PROBLEM) == code


@pytest.mark.parametrize("answer", ["", "I cannot help with that.", "Use double(x).", "redef double_it"])
def test_an_answer_without_code_is_wrong_and_counted(answer):
    scores = scored(CHAT, response(answer), always("passed"))
    assert (scores.values, scores.unparsed, scores.missing) == ({"pass@1": 0.0}, True, None)


# --- judging ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (BODY, 1.0),
        ("    return x\n", 0.0),
        ("", 0.0),
        ("    return 2 *", 0.0),
        ("    import sys\n    sys.exit(0)\n", 0.0),
        ("    return 2 * x\n\ndef half(x):\n    return 0\n", 1.0),
    ],
)
def test_continuations_are_run_and_tested(sandbox, text, value):
    scores = scored(GREEDY, response(text), lambda programs: map(sandbox.run, programs))
    assert scores.values == {"pass@1": value}
    assert not scores.unparsed


def test_answers_of_a_chat_are_run_and_tested(sandbox):
    texts = (f"```python\n{WHOLE}```", f"```python\n{BODY}```", "no", "```python\ndef double(x): return 0\n```")
    scorer = FunctionalCorrectness((1, 2), chat=True, timeout=2.0)
    scores = scored(scorer, response(*texts), lambda programs: map(sandbox.run, programs))
    assert scores.values == {"pass@1": 0.5, "pass@2": pytest.approx(5 / 6)}
    assert scores.unparsed
    assert scores.detail == {"executions": ["passed", "passed", "failed: AssertionError"]}
    assert scores.extracted == [f"\n\n{WHOLE}", BODY, None, "\n\ndef double(x): return 0\n"]


def test_one_program_that_was_not_judged_makes_its_item_missing_and_not_wrong():
    ends = iter([Execution("passed"), Execution("sandbox_failure", "no memory"), Execution("failed")])
    scores = scored(GREEDY, response(BODY, BODY, BODY), lambda programs: [next(ends) for _ in programs])
    assert (scores.values, scores.missing) == ({}, "sandbox_failure")
    assert scores.detail == {"executions": ["passed", "sandbox_failure: no memory", "failed"]}


@pytest.mark.parametrize("outcome", ["failed", "timeout", "memory", "output", "crashed"])
def test_whatever_the_program_did_is_wrong(outcome):
    assert scored(GREEDY, response(BODY), always(outcome)).values == {"pass@1": 0.0}


@pytest.mark.parametrize(("n", "k"), [(1, 1), (5, 1), (5, 2), (6, 6), (7, 3)])
def test_pass_at_k_is_the_share_of_draws_that_hold_a_right_one(n, k):
    for right in range(n + 1):
        draws = list(combinations(range(n), k))
        assert pass_at_k(n, right, k) == pytest.approx(sum(min(draw) < right for draw in draws) / len(draws), abs=1e-15)


def test_pass_at_k_is_exact_where_factorials_are_huge():
    for n, right, k in ((20, 1, 10), (10_000, 3, 100), (10_000, 9_999, 1), (100_000, 1, 50_000)):
        exact = 1 - Fraction(comb(n - right, k), comb(n, k))
        assert pass_at_k(n, right, k) == exact.numerator / exact.denominator
    assert pass_at_k(100_000, 1, 50_000) == 0.5
    with pytest.raises(ZeroDivisionError):
        pass_at_k(3, 1, 4)


# --- the problems themselves -----------------------------------------------------------------------------------------


def wrong(kind, problem):
    """A body that is wrong, whatever the problem."""
    return {
        "nothing": "    pass\n",
        "its argument": "    return locals().popitem()[1] if locals() else 0\n",
        "an error": "    raise NotImplementedError\n",
        "the end": "    raise SystemExit(0)\n",
        "always equal": "    return type('E', (), {'__eq__': lambda s, o: True, '__hash__': None})()\n",
        "something else": f"    return ({problem['entry_point']!r},)\n",
    }[kind]


def judged(sandbox, problems, body):
    """Ids of the problems whose program passes, and all executions."""
    futures = {}
    for problem in problems:
        scoring = GREEDY.score(response(body(problem), problem=problem), lambda _: (), None)
        (program,) = next(scoring)
        futures[problem["task_id"]] = sandbox.submit(program)
    ends = {name: future.result(timeout=120) for name, future in futures.items()}
    return {name for name, ended in ends.items() if ended.outcome == "passed"}, ends


@pytest.mark.timeout(300)
def test_all_canonical_solutions_pass(sandbox, problems):
    passed, ends = judged(sandbox, problems, lambda problem: problem["canonical_solution"])
    assert len(problems) == 164
    assert {name: ended for name, ended in ends.items() if name not in passed} == {}


@pytest.mark.timeout(300)
def test_all_wrong_bodies_fail(sandbox, problems):
    passed, ends = judged(sandbox, problems, lambda problem: wrong("nothing", problem))
    assert passed == set()
    assert {ended.outcome for ended in ends.values()} == {"failed"}


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["its argument", "an error", "the end", "always equal", "something else"])
def test_all_bodies_wrong_in_other_ways_fail(sandbox, problems, kind):
    passed, _ = judged(sandbox, problems, lambda problem: wrong(kind, problem))
    assert passed == set()


def test_what_stands_in_front_of_the_tests_can_be_run_for_every_problem(problems):
    for problem in problems:
        compile(problem["prompt"] + problem["test"], problem["task_id"], "exec")


OPPOSITES = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Lt: ast.LtE, ast.Gt: ast.GtE, ast.Eq: ast.NotEq, ast.And: ast.Or}


class Spoiler(ast.NodeTransformer):
    """Changes one operator, comparison or constant of a function: its `place`-th."""

    def __init__(self, place):
        self.left = place

    def generic_visit(self, node):
        super().generic_visit(node)
        for name, value in ast.iter_fields(node):
            if type(value) in OPPOSITES and self._here():
                setattr(node, name, OPPOSITES[type(value)]())
        if isinstance(node, ast.Compare) and type(node.ops[0]) in OPPOSITES and self._here():
            node.ops[0] = OPPOSITES[type(node.ops[0])]()
        if isinstance(node, ast.Constant) and type(node.value) is int and self._here():
            return ast.Constant(node.value + 1)
        return node

    def _here(self):
        self.left -= 1
        return self.left == -1


def spoilt(problem, place):
    """The canonical solution with one thing changed."""
    tree = ast.parse(f"def f():\n{problem['canonical_solution']}")
    changed = ast.unparse(ast.fix_missing_locations(Spoiler(place).visit(tree)))
    return changed.partition("\n")[2] + "\n"


def passes_in_one_process(problem, body):
    """The rule of HumanEval's authors: code, tests and their call, one after the other in one process."""
    whole = f"{problem['prompt']}{body}\n{problem['test']}\ncheck({problem['entry_point']})"
    command = [sys.executable, "-I", "-c", "import sys; exec(sys.stdin.read(), {})"]
    try:
        done = subprocess.run(command, input=whole, text=True, capture_output=True, timeout=10, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("place", [0, 2, 4])
def test_spoilt_solutions_are_judged_as_in_one_process(sandbox, problems, place):
    bodies = {problem["task_id"]: spoilt(problem, place) for problem in problems}
    passed, _ = judged(sandbox, problems, lambda problem: bodies[problem["task_id"]])
    together = {p["task_id"] for p in problems if passes_in_one_process(p, bodies[p["task_id"]])}
    assert passed == together
    assert 0 < len(passed) < len(problems)
