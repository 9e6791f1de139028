import pytest
from harness.plugins.mt_bench.fastchat import PROMPTS, QUESTIONS, REFERENCES

from harness.canonical import file_digest
from harness.data.mirror import mirrored


@pytest.mark.parametrize("declared", [QUESTIONS, PROMPTS, REFERENCES], ids=lambda declared: declared.mirror[0])
def test_the_real_files_are_those_that_are_declared(declared, mirror):
    found = mirrored(declared, mirror)
    if found is None:
        pytest.skip("the mirror holds no lmsys/mt_bench")
    assert [file_digest(path) for path in found] == list(declared.sha256)
