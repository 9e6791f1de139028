"""A real Chromium, and pages of it that are watched: what no page of ours may do fails the test that it did it in."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.testing.chromium import chromium

ACTION_MS = 20_000

REPORTING = """
document.addEventListener("securitypolicyviolation", (event) => {
  reported(`${event.effectiveDirective}: ${event.blockedURI} ${event.sample}`);
}, true);
"""


@pytest.fixture(scope="module")
def browser():
    """The system's browser; one a module, since Playwright's event loop would keep other modules from having theirs."""
    with ExitStack() as opened:
        try:
            found = opened.enter_context(chromium())
        except UserError as error:
            pytest.skip(str(error))
        yield found


class Watched:
    """Opens sites, and writes down everything that their pages must not do."""

    def __init__(self, browser):
        self._browser = browser
        self._contexts = []
        self.findings = []

    def __call__(self, site, address="", *, width=1280, height=900, scheme="light", **options):
        """A folder's or a server's page, at an address such as `#sort=-cost`, as a window of that size shows it."""
        if not str(site).startswith("http:"):
            site = Path(site).as_uri() + "/"
        context = self._browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce", **options
        )
        self._contexts.append(context)
        context.set_default_timeout(ACTION_MS)
        context.expose_binding("reported", lambda _, said: self.findings.append(f"policy violation: {said}"))
        context.add_init_script(REPORTING)
        context.on("request", lambda request: self._asked(request.url, site))
        context.on("weberror", lambda error: self.findings.append(f"error: {error.error}"))
        context.on("console", lambda said: self._said(said.type, said.text))
        page = context.new_page()
        context.on("page", lambda other: self.findings.append(f"opened {other.url}"))
        page.on("dialog", self._dialog)
        page.goto(f"{site}index.html{address}")
        return page

    def _asked(self, url, site):
        if not url.startswith((site, "blob:null/", "data:")):
            self.findings.append(f"request: {url}")

    def _said(self, kind, text):
        if kind in {"error", "warning"}:
            self.findings.append(f"console {kind}: {text}")

    def _dialog(self, dialog):
        self.findings.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def close(self):
        """Close all pages."""
        for context in self._contexts:
            context.close()


@pytest.fixture
def watched(browser):
    """`watched(site, "#row=...")`; not checked at the end, for tests of the watching itself."""
    opened = Watched(browser)
    yield opened
    opened.close()


@pytest.fixture
def visit(watched):
    """`visit(site, "#row=...")` opens a page; errors, dialogs, violations and requests elsewhere fail the test."""
    yield watched
    assert watched.findings == []


@pytest.fixture(scope="session")
def axe():
    """What axe-core finds on a page that is serious or critical: each rule with its elements."""
    found = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe is needed: pip install axe-playwright-python"
    )

    def axe(page):
        said = found.Axe().run(page, options={"resultTypes": ["violations"]}).response
        assert said["passes"], "axe looked at nothing"
        return [
            f"{rule['id']}: {node['target']}: {node['failureSummary']}"
            for rule in said["violations"]
            if rule["impact"] in {"serious", "critical"}
            for node in rule["nodes"]
        ]

    return axe


@pytest.fixture(scope="session")
def write_site():
    """Writes the site of a made-up board into a folder."""
    from harness.board.site.write import write_site

    def write(folder, made):
        write_site(folder, [made.board], {row.id: row for row in made.rows}, made.publishable_of)
        return folder

    return write


@pytest.fixture(scope="session")
def board():
    """A board of two dozen made-up rows."""
    from harness.testing.boards import synthetic

    return synthetic(24, seeds=2, items=60)


@pytest.fixture(scope="session")
def site(board, write_site, tmp_path_factory):
    """The site of that board."""
    return write_site(tmp_path_factory.mktemp("site"), board)
