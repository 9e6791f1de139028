"""`harness board export`, as it is typed."""

import json

import pytest
from typer.testing import CliRunner

from harness.board.export.formats import FORMATS
from harness.board.export.selection import select
from harness.cli.board import app
from harness.cli.export import FormatName
from harness.errors import UserError


def export(*arguments):
    result = CliRunner().invoke(app, ["export", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


TOLD = ("--organization", "Us", "--dataset", "chat=owner/chat:default")


def test_every_format_has_a_name_on_the_command_line():
    assert {name.value for name in FormatName} == set(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_equal_rows_give_equal_files(run, tmp_path, name):
    for out in ("a", "b"):
        export(run, "--format", name, "--out", tmp_path / out / "x", *TOLD)
    files = {
        out: {path.name: path.read_bytes() for path in sorted((tmp_path / out).rglob("*")) if path.is_file()}
        for out in ("a", "b")
    }
    assert files["a"] == files["b"] != {}


@pytest.mark.parametrize("name", FORMATS)
def test_one_row_goes_to_the_terminal_as_it_goes_to_its_file(run, tmp_path, name):
    arguments = (run, "--format", name, "--row", "dmt", *TOLD)
    said = export(*arguments, "--out", tmp_path / "file").stdout
    assert said == f"wrote {tmp_path / 'file'}\n"
    assert export(*arguments, "--out", "-").stdout_bytes == (tmp_path / "file").read_bytes()


def test_several_documents_go_into_a_folder_and_not_to_the_terminal(run, tmp_path):
    export(run, "--format", "every-eval-ever", "--out", tmp_path / "out", *TOLD)
    names = {json.loads(path.read_text())["model_info"]["name"] for path in (tmp_path / "out").glob("*.json")}
    assert names == {"sft", "dmt", "dmt+im"}
    with pytest.raises(UserError, match="3 files cannot be printed as one"):
        export(run, "--format", "every-eval-ever", "--out", "-", *TOLD)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="is a file, and there are 3 to write"):
        export(run, "--format", "model-index", "--out", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_one_document_goes_into_a_folder_that_is_there(run, tmp_path):
    export(run, "--format", "csv", "--out", tmp_path)
    assert (tmp_path / "board.csv").is_file()


def test_what_is_left_out_is_said_beside_the_output(run):
    result = export(run, "--format", "eval-results", "--row", "dmt", "--out", "-", *TOLD)
    assert "code is left out" in result.stderr
    assert "left out" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "dmt"), r"--model dmt is not ARM\|ID=OWNER/NAME"),
        (("--model", "dtm=a/b"), "--model: there is no row 'dtm' among those exported .*dmt, "),
        (("--model", "dmt=a/b", "--model", "dmt=a/c"), "--model: the row of dmt has two models"),
        (("--dataset", "chat=owner"), "--dataset owner is no hub dataset"),
        (("--dataset", "chta=a/b"), "there is no benchmark 'chta' among the rows .*arithmetic, chat, code"),
        (("--row", "dtm"), "has no row 'dtm'"),
    ],
)
def test_what_fits_nothing_is_refused(run, arguments, said):
    with pytest.raises(UserError, match=said):
        export(run, "--format", "csv", "--out", "-", *arguments)


def test_an_arm_with_an_equals_sign_can_be_told_its_model(maker, info, tmp_path):
    from harness.board.publish import write_run

    write_run(tmp_path / "run", [maker.arm("dmt@k=1", {"chat": 0.5}, n=4, baseline=None)], info)
    said = export(tmp_path / "run", "--format", "model-index", "--out", "-", "--model", "dmt@k=1=me/dmt").stdout
    assert "name: me/dmt" in said


def test_an_arm_of_two_boards_has_its_model_told_by_its_row(two_boards, tmp_path):
    arguments = (two_boards, "--format", "model-index", "--out", tmp_path / "cards", "--row", "sft")
    first, second = sorted(line.row for _, line, _ in select(two_boards, ["sft"]).lines())
    with pytest.raises(UserError, match=rf"--model: 'sft' names 2 rows .*: {first[:12]}, {second[:12]}"):
        export(*arguments, "--model", "sft=me/sft")
    export(*arguments, "--model", f"{first[:8]}=me/sft")
    cards = {path.name: path.read_text() for path in (tmp_path / "cards").iterdir()}
    assert "name: me/sft" in cards[f"sft-{first[:12]}.md"]
    assert f"name: sft@{second[:12]}" in cards[f"sft-{second[:12]}.md"]
