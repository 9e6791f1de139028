"""`harness board`, as it is typed."""

import csv
import json
import os
import signal
import subprocess
import sys
import urllib.request
from http.server import ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from harness.board import ledger
from harness.board.build import arm_samples, build_row
from harness.board.publish import write_run
from harness.cli.app import app as whole
from harness.cli.board import app
from harness.errors import Failure, UserError


def board(*arguments):
    """Run a command; what the command line would report in one line is raised, as the main command catches it."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def harness(*arguments):
    result = CliRunner().invoke(whole, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def run(arms, info, tmp_path):
    write_run(tmp_path / "run", arms, info)
    return tmp_path / "run"


def test_show_add_check_retract(run, tmp_path):
    public = tmp_path / "public"
    assert "dmt+im" in board("show", run)
    assert "every number follows from its samples" in board("check", run)
    added = board("add", run, "--to", public)
    assert added.count("published ") == 3
    assert "baseline" not in added
    assert "every hash agrees" in board("check", public)
    assert "dmt+im" in board("show", public)
    row = next(public.glob("rows/*")).stem
    board("retract", row, "--why", "a trial", "--to", public)
    assert "every hash agrees" in board("check", public)
    (public / "board.json").unlink()
    board("build", public)
    assert "every hash agrees" in board("check", public)


def test_the_page_beside_the_board_follows_what_is_added_and_retracted(run, site, tmp_path):
    public, page = tmp_path / "public", tmp_path / "public-site"

    def shown():
        return {line["arm"] for one in site(page).content["boards"] for line in one["lines"]}

    board("add", run, "--row", "sft", "--to", public)
    assert not page.exists()
    board("build", public)
    assert f"wrote {page / 'index.html'} anew" in board("add", run, "--row", "dmt", "--to", public)
    assert shown() == {"sft", "dmt"}
    retracted = board("retract", ledger.read_ledger(public)[-1].row, "--why", "a trial", "--to", public)
    assert retracted.endswith(f"wrote {page / 'index.html'} anew\n")
    assert shown() == {"sft"}
    (gone,) = site(page).content["ledger"]["gone"]
    assert (gone["kind"], gone["reason"]) == ("retract", "a trial")


def test_a_refused_command_shows_what_a_killed_one_left_on_the_page(run, site, tmp_path):
    """Killed between the board and its page: the row is published, which the same command says, and shows."""
    public, page = tmp_path / "public", tmp_path / "public-site"
    board("add", run, "--row", "sft", "--to", public)
    board("build", public)
    old = {path: path.read_bytes() for path in page.rglob("*") if path.is_file()}
    board("add", run, "--row", "dmt", "--to", public)
    for path, content in old.items():
        path.write_bytes(content)
    with pytest.raises(UserError, match="already published"):
        board("add", run, "--row", "dmt", "--to", public)
    assert [line["arm"] for line in site(page).content["boards"][0]["lines"]] == ["sft", "dmt"]


def test_rows_are_named_by_the_beginning_of_the_id_that_add_and_show_print(run, tmp_path):
    public = tmp_path / "public"
    printed = board("add", run, "--row", "dmt", "--to", public).split(" as ")[1].split()[0]
    assert f"id {printed}" in board("show", public)
    assert "id " not in board("show", run)
    with pytest.raises(UserError, match=r"no row of .* has an id beginning with 'nothing'"):
        board("retract", "nothing", "--why", "a trial", "--to", public)
    assert f"retracted {printed}" in board("retract", printed, "--why", "a trial", "--to", public)


def test_the_beginning_of_an_id_must_name_one_row(maker, info, tmp_path):
    arms = [maker.arm(f"arm{number}", {"chat": 0.5}, n=2) for number in range(17)]  # two of them begin alike
    write_run(tmp_path / "run", arms, info)
    board("add", tmp_path / "run", "--to", tmp_path / "public")
    firsts = [path.stem[0] for path in (tmp_path / "public" / "rows").iterdir()]
    shared = max(firsts, key=firsts.count)
    with pytest.raises(UserError, match=f"{firsts.count(shared)} rows of .* have ids beginning"):
        board("retract", shared, "--why", "a trial", "--to", tmp_path / "public")
    with pytest.raises(UserError, match="no row of"):
        board("retract", "", "--why", "a trial", "--to", tmp_path / "public")


def test_the_published_board_is_shown_where_no_folder_is_named(run, tmp_path, monkeypatch):
    board("add", run, "--to", tmp_path / "leaderboards")
    monkeypatch.chdir(tmp_path)
    assert "dmt+im" in board("show")


def test_adding_again_completes_what_was_interrupted(run, tmp_path):
    public = tmp_path / "public"
    board("add", run, "--to", public)
    (public / "board.json").unlink()  # as if the last add had ended after its entry
    assert "board.json now shows them" in board("add", run, "--to", public)
    assert "every hash agrees" in board("check", public)
    with pytest.raises(UserError, match="already published"):
        board("add", run, "--to", public)


OBEYED = "evil\x1b]0;owned\x07\x1b[2J\x7f\n1 (1-1) \x9b1m\u202efirst"
SPELLED = "evil\\x1b]0;owned\\x07\\x1b[2J\\x7f 1 (1-1) \\x9b1m\\u202efirst"


@pytest.fixture(params=["60", "400"])
def _width(request, monkeypatch):
    monkeypatch.setenv("COLUMNS", request.param)


@pytest.mark.usefixtures("_width")
def test_names_in_rows_are_spelled_out_wherever_a_terminal_would_obey_them(maker, info, tmp_path, proposed):
    sft, evil = (
        maker.arm("sft", {"chat[/]": 0.5}, baseline=OBEYED),
        maker.arm(OBEYED, {"chat[/]": 0.9}, baseline=OBEYED),
    )
    write_run(tmp_path / "run", [sft, evil], info)
    public = tmp_path / "public"
    said = [board("show", tmp_path / "run"), board("add", tmp_path / "run", "--row", "sft", "--to", public)]
    with pytest.raises(UserError, match="its arm cannot be called so"):
        board("add", tmp_path / "run", "--row", OBEYED, "--to", public)
    samples = arm_samples(evil)
    proposed(public, build_row(evil, info, samples), samples)
    said += [
        board("show", public),
        harness("compare", tmp_path / "run"),
        board("export", tmp_path / "run", "--format", "csv", "--out", "-"),
    ]
    for text in said:
        assert SPELLED.replace(" ", "") in "".join(text.replace("\r\n", "\n").split())
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(text)
    assert all("chat[/]" in said[place] for place in (0, 2, 3, 4))


def test_json_that_is_printed_has_names_as_they_are_and_nothing_that_a_terminal_obeys(maker, info, tmp_path, proposed):
    sft, evil = (maker.arm(name, {OBEYED: share}, baseline="sft") for name, share in (("sft", 0.2), (OBEYED, 0.9)))
    write_run(tmp_path / "run", [sft, evil], info)
    compared = harness("compare", tmp_path / "run", "--json")
    samples = arm_samples(evil)
    proposed(tmp_path / "public", build_row(evil, info, samples), samples)
    result = CliRunner().invoke(app, ["check", str(tmp_path / "public"), "--json"])
    assert result.exit_code == 1
    exported = board(
        *("export", tmp_path / "run", "--row", OBEYED, "--format", "every-eval-ever", "--organization", "Us"),
        *("--out", "-"),
    )
    for text in (compared, result.stdout, exported):
        assert text.isascii()
        assert text.replace("\n", "").isprintable()
        assert any(OBEYED in one for one in _texts(json.loads(text)))


def _texts(value):
    """The strings of a JSON document."""
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)
    elif isinstance(value, str):
        yield value


def test_a_file_has_names_as_they_are(maker, info, tmp_path):
    write_run(tmp_path / "run", [maker.arm(OBEYED, {"chat": 0.9})], info)
    board("export", tmp_path / "run", "--format", "csv", "--out", tmp_path / "board.csv")
    with (tmp_path / "board.csv").open(encoding="utf-8", newline="") as file:
        assert {line["arm"] for line in csv.DictReader(file)} == {OBEYED}


def test_adding_twice_is_refused_with_exit_code_2(run, tmp_path):
    board("add", run, "--to", tmp_path / "public")
    with pytest.raises(UserError, match=r"all 3 rows of .* are already published") as error:
        board("add", run, "--to", tmp_path / "public")
    assert error.value.exit_code == 2
    with pytest.raises(UserError, match="is already published"):
        board("add", run, "--row", "sft", "--to", tmp_path / "public")


def test_one_arm_alone_says_that_its_baseline_is_absent(run, tmp_path):
    assert "baseline sft is not published" in board("add", run, "--row", "dmt", "--to", tmp_path / "public")
    assert board("add", run, "--to", tmp_path / "public").count("published ") == 2


def test_a_published_leaderboard_is_not_added(run, tmp_path):
    board("add", run, "--to", tmp_path / "public")
    with pytest.raises(UserError, match=r"is a published leaderboard.*harness board add RUN --to"):
        board("add", tmp_path / "public", "--to", tmp_path / "public")


def test_unknown_arms_and_missing_folders_are_named(run, tmp_path):
    with pytest.raises(UserError, match="has no row of 'dtm'"):
        board("add", run, "--row", "dtm", "--to", tmp_path / "public")
    with pytest.raises(UserError, match="holds neither"):
        board("show", tmp_path)
    with pytest.raises(UserError, match="there is no folder"):
        board("check", tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"holds no ledger\.jsonl"):
        board("build", tmp_path)
    with pytest.raises(UserError, match=r"holds no ledger\.jsonl"):
        board("retract", "0" * 64, "--why", "a trial", "--to", tmp_path / "public")
    assert not (tmp_path / "public").exists()
    with pytest.raises(UserError, match="name the arm with --row"):
        board("add", run, "--supersede", "0" * 64, "--to", tmp_path / "public")


def test_nothing_of_a_run_is_published_when_one_row_may_not_be(arms, limited, tmp_path):
    write_run(tmp_path / "run", arms, limited)
    with pytest.raises(UserError, match="only the first 10 items"):
        board("add", tmp_path / "run", "--to", tmp_path / "public")
    assert not (tmp_path / "public").exists()


def test_a_run_that_contradicts_itself_is_not_published(run, tmp_path):
    path = run / "leaderboard.json"
    path.write_text(path.read_text().replace('"rank": 1', '"rank": 9'))
    with pytest.raises(Failure, match="did not hold"):
        board("check", run)
    with pytest.raises(Failure, match="does not agree with itself"):
        board("add", run, "--to", tmp_path / "public")


def test_an_empty_published_board_says_so(run, tmp_path):
    public = tmp_path / "public"
    board("add", run, "--row", "sft", "--to", public)
    board("retract", next(public.glob("rows/*")).stem, "--why", "a trial", "--to", public)
    assert "nothing is published yet" in board("show", public)


def test_the_published_page_lies_beside_its_folder_or_where_it_is_wished(run, tmp_path):
    board("add", run, "--to", tmp_path / "public")
    assert str(tmp_path / "public-site" / "index.html") in board("build", tmp_path / "public")
    assert "every hash agrees" in board("check", tmp_path / "public")
    board("build", tmp_path / "public", "--site", tmp_path / "else" / "where")
    assert "dmt+im" in (tmp_path / "else" / "where" / "index.html").read_text()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("published", [False, True])
def test_a_page_is_served_until_it_is_interrupted(run, tmp_path, published):
    if published:
        board("add", run, "--to", tmp_path / "public")
    (run / "index.html").write_text("<script>alert('a stranger')</script>")
    command = [sys.executable, "-m", "harness", "board", "serve", str(tmp_path / "public" if published else run)]
    with subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True) as serving:
        try:
            address = serving.stdout.readline().strip()
            with urllib.request.urlopen(address, timeout=60) as page:
                content = page.read()
            assert b"dmt+im" in content
            assert b"a stranger" not in content
        finally:
            serving.send_signal(signal.SIGINT)
    assert serving.returncode == 130


def test_a_board_where_nobody_may_write_is_served(run, tmp_path, monkeypatch):
    board("add", run, "--to", tmp_path / "public")
    pages = []

    def look(serving):
        pages.append((serving.RequestHandlerClass.folder / "index.html").read_bytes())

    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.W_OK)
    monkeypatch.setattr(ThreadingHTTPServer, "serve_forever", look)
    said = board("serve", tmp_path / "public", "--port", "0")
    assert f"{tmp_path / 'public-site'} cannot be written, so the page lasts as long as this command" in said
    assert b"dmt+im" in pages[0]
    assert not (tmp_path / "public-site").exists()


def test_only_a_board_is_served(tmp_path):
    with pytest.raises(UserError, match="holds neither"):
        board("serve", tmp_path)
    (tmp_path / "leaderboard.json").touch()
    with pytest.raises(UserError, match="is not a leaderboard"):
        board("serve", tmp_path)
