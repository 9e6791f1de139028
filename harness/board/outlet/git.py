"""A board in a folder of a git clone: one commit of that folder's files, and a push only where it is asked for."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from harness.board.chain import LEDGER
from harness.board.filecheck import SITE
from harness.board.files import write_atomically
from harness.board.outlet.contents import Changes, Contents, Stored
from harness.errors import Failure, UserError


class GitFolder:
    """A folder of an existing clone, which may be the board's own. Compared is with what is committed there."""

    def __init__(self, folder: Path, source: Path) -> None:
        """Raises UserError where the folder is in no clone."""
        self.name = str(folder)
        self._folder = folder
        place = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
        inside = subprocess.run(
            ["git", "-C", str(place), "rev-parse", "--show-toplevel"],  # noqa: S607 -- the user's own
            capture_output=True,
            text=True,
            check=False,
        )
        if inside.returncode:
            raise UserError(f"{folder} is in no git clone", "git clone the repository first, and name a folder in it")
        self._clone = Path(inside.stdout.strip())
        self.own = folder.resolve() == source.resolve()
        self._below = folder.resolve().relative_to(self._clone.resolve()).as_posix()

    def refuse_others(self, here: Contents) -> None:
        """Raises UserError where the folder holds changes that are not committed, unless they are those to be sent.

        So is what a commit has left that failed: the same command goes on from there.
        """
        if self.own:
            return
        for path in self._uncommitted():
            file, content = self._folder / path, here.get(path)
            gone = content is None and path.startswith(f"{SITE}/") and not file.exists()
            written = content is not None and file.is_file() and file.read_bytes() == content.read()
            if not gone and not written:
                raise UserError(f"{self.name} has changes that are not committed: {path}", "commit or discard them")

    def stored(self) -> Mapping[str, Stored]:
        """What is committed below the folder."""
        if not self._begun():
            return {}
        below = [] if self._below == "." else [self._below]
        listed = self._git("ls-tree", "-r", "-z", "--full-tree", "HEAD", *below)
        found = {}
        for record in filter(None, listed.split("\0")):
            about, _, path = record.partition("\t")
            found[Path(path).relative_to(self._below).as_posix()] = Stored(blob=about.split()[2])
        return found

    def ledger(self) -> bytes:
        """The ledger that is committed there."""
        return self._run("cat-file", "blob", self.stored()[LEDGER].blob).stdout

    def send(self, changes: Changes, here: Contents, message: str) -> str:
        """Write the files and commit them, and nothing else of the clone; returns the commit.

        Raises Failure with git's own words where it does not commit: the files are then written, for the next attempt.
        """
        for path in changes.sent:
            if not self.own:
                write_atomically(self._folder / path, here[path].read())
        for path in changes.removed:
            (self._folder / path).unlink(missing_ok=True)
        touched = [str((self._folder / path).absolute()) for path in (*changes.sent, *changes.removed)]
        listed = "\0".join(touched).encode()
        given = ("--pathspec-from-file=-", "--pathspec-file-nul")
        self._git("add", "--all", *given, given=listed)
        self._git("commit", "--quiet", "--message", message, *given, given=listed)
        return self._git("rev-parse", "HEAD").strip()

    def push(self) -> None:
        """Send the clone's branch to where it came from. Raises Failure: what is committed stays so."""
        try:
            self._git("push", "--quiet")
        except Failure as error:
            raise Failure(f"committed in {self.name} and not pushed: {error.problem}", error.remedy) from error

    def _uncommitted(self) -> list[str]:
        """Paths below the folder that are not as committed: new ones, those changed and those removed."""
        everything = ("--porcelain", "-z", "--no-renames", "--untracked-files=all")
        found = self._git("status", *everything, "--", str(self._folder.absolute()))
        return [Path(one[3:]).relative_to(self._below).as_posix() for one in found.split("\0") if one]

    def _begun(self) -> bool:
        return self._run("rev-parse", "--verify", "--quiet", "HEAD", check=False).returncode == 0

    def _git(self, *arguments: str, given: bytes | None = None) -> str:
        return self._run(*arguments, given=given).stdout.decode()

    def _run(
        self, *arguments: str, given: bytes | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        command = ["git", "--literal-pathspecs", "-C", str(self._clone), *arguments]
        environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}  # nobody is there to answer
        done = subprocess.run(command, input=given, capture_output=True, check=False, env=environment)
        if check and done.returncode:
            said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
            raise Failure(
                f"git {arguments[0]} in {self._clone} failed: {said[0] if said else done.returncode}",
                "mend that and run the same command again",
            )
        return done
