"""A board in a dataset repository of the Hugging Face Hub: one commit, on top of the one that it was compared with."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.board.chain import LEDGER
from harness.board.outlet.contents import Changes, Contents, Stored
from harness.errors import Failure, UserError

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

PREFIX = "hf://datasets/"
TOKEN = "HF_TOKEN"  # noqa: S105 -- the variable's name


class HubDataset:
    """A dataset repository as it was when this was made; a commit in between is refused by the hub."""

    def __init__(self, address: str) -> None:
        """`hf://datasets/OWNER/NAME`. Raises UserError where there is none, Failure where the hub does not answer."""
        from huggingface_hub import HfApi

        self.name, self.own = address, False
        self._id = address.removeprefix(PREFIX).strip("/")
        if self._id.count("/") != 1:
            raise UserError(f"{address} is no dataset repository", f"write {PREFIX}OWNER/NAME")
        self._token = os.environ.get(TOKEN) or False  # and not what `hf auth login` left on the disk
        self._api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=self._token)
        with self._explained("could not be read"):
            self._head = self._api.repo_info(self._id, repo_type="dataset").sha

    def refuse_others(self, here: Contents) -> None:
        """Nothing lies on the hub that is not committed."""

    def stored(self) -> Mapping[str, Stored]:
        """Every file of the repository."""
        from huggingface_hub import RepoFile

        with self._explained("could not be read"):
            tree = list(self._api.list_repo_tree(self._id, recursive=True, revision=self._head, repo_type="dataset"))
        return {
            file.path: Stored(blob=file.blob_id, sha256=file.lfs.sha256 if file.lfs else None)
            for file in tree
            if isinstance(file, RepoFile)
        }

    def ledger(self) -> bytes:
        """The ledger that is there."""
        with self._explained("could not be read"), tempfile.TemporaryDirectory() as folder:
            path = self._api.hf_hub_download(
                self._id, LEDGER, repo_type="dataset", revision=self._head, local_dir=folder
            )
            return Path(path).read_bytes()

    def send(self, changes: Changes, here: Contents, message: str) -> str:
        """Commit everything at once; returns the commit. Raises UserError without a token, Failure where it fails.

        What the repository's `.gitignore` matches is left out by the hub without a word, so it is looked for there.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        if not self._token:
            raise UserError(f"{self.name} takes commits from those who may write to it", f"set {TOKEN} to a token")
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationAdd(path, here[path].source) for path in changes.sent
        ]
        operations += [CommitOperationDelete(path) for path in changes.removed]
        with self._explained("did not take the commit"):
            done = self._api.create_commit(
                self._id, operations, commit_message=message, repo_type="dataset", parent_commit=self._head
            )
        self._head = done.oid
        there = self.stored()
        lost = [path for path in changes.sent if path not in there or not there[path].holds(here[path])]
        if lost:
            raise Failure(
                f"{self.name} left out {len(lost)} of {len(changes.sent)} files in commit {done.oid[:12]}: {lost[0]}",
                "see that its .gitignore matches none of them, and run the same command again",
            )
        return done.oid

    def push(self) -> None:
        """Raises UserError: what is committed on the hub is there."""
        raise UserError(f"{self.name} is no git folder", "leave --push away")

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Errors of the hub and of the way to it as one line; nothing of them holds the token."""
        import httpx2
        from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

        try:
            yield
        except RepositoryNotFoundError as error:
            raise UserError(
                f"there is no {self.name}, or it is not yours to see", f"make it on the hub first, or set {TOKEN}"
            ) from error
        except HfHubHTTPError as error:
            said = error.server_message or str(error).partition("\n")[0]
            raise Failure(f"{self.name} {what}: {error.response.status_code} {said}", _AGAIN) from error
        except (OSError, RuntimeError, ValueError, httpx2.HTTPError) as error:
            cause = error.__cause__ or error
            raise Failure(f"{self.name} {what}: {cause}", _AGAIN) from error


_AGAIN = "nothing here has changed; the same command sends what is missing there"
