import subprocess
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from harness.board import ledger
from harness.board.publish import read_board, read_row, run_samples, write_run
from harness.board.schema import write_schemas
from harness.board.site.published import write_published_site
from harness.cli.board import app


def _publish(*arguments):
    """`harness board publish`; what the command line would report in one line is raised."""
    result = CliRunner().invoke(app, ["publish", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def _git(folder, *arguments):
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _add(run, public, *arms):
    """Publish these arms of the run's folder."""
    for line in read_board(run).lines:
        if line.arm in arms:
            row = read_row(run, line.row)
            samples = {
                (name, part.seed): run_samples(run, row, name, part.seed)
                for name, task in row.result.tasks.items()
                for part in task.seeds
            }
            ledger.add(row, samples, public)


def _files(folder):
    """Path to content, of all files below that are no git's."""
    found = (path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.fixture
def run(arms, info, tmp_path):
    write_run(tmp_path / "run", arms, info)
    return tmp_path / "run"


@pytest.fixture
def public(run, tmp_path):
    """A published board of two rows, with schemas, and with a file that is none of its own."""
    folder = tmp_path / "public"
    _add(run, folder, "sft", "dmt")
    write_schemas(folder / "schema")
    (folder / "README.md").write_text("of the place, and not of the board")
    return folder


@pytest.fixture
def belongs(public, tmp_path):
    """What of it belongs to the board, with its site."""
    write_published_site(public, tmp_path / "site")
    site = {f"site/{name}": content for name, content in _files(tmp_path / "site").items() if name != ".lock"}
    return site | {
        name: content for name, content in _files(public).items() if not name.startswith(".") and name != "README.md"
    }


@pytest.fixture
def do():
    """What tests do: `publish`, `git`, `add` and `files`."""
    return SimpleNamespace(publish=_publish, git=_git, add=_add, files=_files)
