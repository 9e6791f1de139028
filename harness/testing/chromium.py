"""The system's Chromium, for tests and benchmarks of pages: it asks nobody for anything that no page asked for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.errors import UserError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome")

ARGUMENTS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

PATIENCE = 60_000
"""Milliseconds for the browser to start."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window, closed at the end. Raises UserError where it or Playwright is not installed.

    Playwright runs an event loop of its own in this thread as long as the browser is open.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise UserError("playwright is not installed", "pip install playwright") from error
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        raise UserError("there is no Chromium here", "apt-get install chromium")
    as_root = ("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS, *as_root], timeout=PATIENCE)
        try:
            yield browser
        finally:
            browser.close()
