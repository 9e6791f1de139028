"""A process that asks a judge for ratings, to be killed: `asking.py CONFTEST ADDRESS STORE QUESTIONS`."""

import importlib.util
import sys
from functools import partial
from pathlib import Path

from harness.judge.judge import Judge
from harness.judge.settings import Judging


def main():
    spec = importlib.util.spec_from_file_location("conftest", sys.argv[1])
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)
    judging = Judging(model="judge-1", base_url=sys.argv[2], name="scripted", concurrency=8, timeout=5.0)
    with Judge(judging, Path(sys.argv[3]), notice=partial(print, flush=True), pace=conftest.QUICK) as judge:
        prompts = ((str(number), conftest.question(number)) for number in range(int(sys.argv[4])))
        for name, judgment in judge.complete(prompts):
            sys.stdout.write(f"{name} {judgment.verdict.outcome} {judgment.verdict.value}\n")


if __name__ == "__main__":
    main()
