"""Every view in both themes under axe-core, and the policy that all of them stand under."""

import re

import pytest

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def view(visit, site, board):
    """A view of the site by its name, drawn to its end."""
    line = next(line for line in board.board.lines if line.baseline)
    samples = f"#row={line.row}&task=code&seed=0&other={line.baseline}&kind=all"
    views = {
        "board": ("", "#table tbody th"),
        "menu": ("", "#table tbody th"),
        "nothing found": ("#q=no+such+arm", "#status"),
        "charts": ("#setting=dmt.k", "#table tbody th"),
        "row": (f"#row={line.row}", "#row section"),
        "unknown row": (f"#row={'0' * 64}", "#row [role='alert']"),
        "samples": (samples, "#samples .pair"),
    }

    def view(name, scheme, width=1280):
        address, drawn = views[name]
        page = visit(site, address, scheme=scheme, width=width)
        page.locator(drawn).first.wait_for()
        if name == "menu":
            page.locator(".menu summary").first.click()
            page.locator(".menu[open] label").first.wait_for()
        if name == "charts":
            page.locator("#charts").scroll_into_view_if_needed()
            page.locator("#curves").wait_for()
            page.locator("#charts .cursor").first.focus()
        for details in page.locator("details.folded:visible > summary").all():
            details.click()
            details.locator("xpath=..").locator("> :not(summary)").first.wait_for()
        return page

    return view


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["board", "menu", "nothing found", "charts", "row", "unknown row", "samples"])
def test_axe_finds_nothing_serious(view, axe, name, scheme):
    assert axe(view(name, scheme)) == []


def test_axe_finds_nothing_serious_on_a_phone(view, axe):
    assert axe(view("charts", "light", width=360)) == []


def policies(folder):
    pages = [folder / "index.html", *(folder / "page").iterdir()]
    assert len(pages) > 10
    for page in pages:
        html = page.read_text()
        (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', html)
        assert html.index("Content-Security-Policy") < min(html.index(tag) for tag in ("<script", "<body"))
        yield dict(one.split(" ", 1) for one in policy.replace("&#39;", "'").split("; "))


def test_the_policy_lets_nothing_in_but_scripts_and_styles_by_their_hashes(site):
    for policy in policies(site):
        assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
        for directive in ("script-src", "style-src"):
            sources = policy.get(directive, "'none'").split()
            assert all(source == "'none'" or re.fullmatch(r"'sha256-[\w+/]{43}='", source) for source in sources)
        assert not {"connect-src", "script-src-elem", "script-src-attr", "style-src-attr", "worker-src"} & policy.keys()
        assert "unsafe" not in " ".join(policy.values())
        assert "http" not in " ".join(policy.values())


@pytest.mark.parametrize(
    "attack",
    [
        "document.body.append(Object.assign(document.createElement('script'), { text: 'window.ran = 1' }))",
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = 1\">')",
        "document.body.setAttribute('onclick', 'window.ran = 1'); document.body.click()",
        "setTimeout('window.ran = 1')",
        "new Function('window.ran = 1')()",
        "location = 'javascript:window.ran = 1'",
        "fetch('https://example.org/').catch(() => {})",
        "document.body.append(Object.assign(new Image(), { src: 'https://example.org/x.png' }))",
    ],
)
def test_the_browser_holds_pages_to_their_policy(watched, site, attack):
    """What an injected script would try, were there a way to inject one."""
    page = watched(site)
    page.evaluate(f"() => {{ setTimeout(() => {{ try {{ {attack} }} catch (refused) {{}} }}) }}")
    page.wait_for_timeout(100)
    assert page.evaluate("window.ran") is None
    assert any(found.startswith("policy violation") for found in watched.findings), watched.findings
