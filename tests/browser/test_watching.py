"""The watching itself: a page that does what none of ours may do is caught."""

import pytest

pytestmark = pytest.mark.timeout(180)

POLICY = "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; script-src 'unsafe-inline'; {}\">"


@pytest.mark.parametrize(
    ("body", "finding"),
    [
        ("<script>alert('here')</script>", "dialog: here"),
        ("<script>confirm('sure')</script>", "dialog: sure"),
        ("<script>console.error('broken')</script>", "console error: broken"),
        ("<script>setTimeout(() => { throw new Error('thrown') })</script>", "error: thrown"),
        ("<script>Promise.reject(new Error('refused'))</script>", "error: refused"),
        ("<img src='https://example.org/pixel.png'>", "policy violation: img-src: https://example.org/pixel.png"),
        ("<p style='color: red'>", "policy violation: style-src-attr: inline"),
        ("<script>eval('1 + 1')</script>", "policy violation: script-src: eval"),
        ("<script>window.open('about:blank')</script>", "opened about:blank"),
        ("<script>location = '../other.html'</script>", "request: file://"),
        ("<iframe src='about:blank'></iframe><script src='https://example.org/x.js'></script>", "policy violation"),
    ],
)
def test_what_no_page_may_do_is_caught(watched, tmp_path, body, finding):
    (tmp_path / "site").mkdir()
    (tmp_path / "other.html").write_text("elsewhere")
    (tmp_path / "site" / "index.html").write_text(f"<!doctype html>{POLICY.format('')}{body}")
    page = watched(tmp_path / "site")
    page.wait_for_timeout(200)
    assert any(found.startswith(finding) for found in watched.findings), watched.findings


def test_requests_to_elsewhere_are_caught_where_a_policy_lets_them_out(watched, tmp_path):
    (tmp_path / "index.html").write_text("<!doctype html><img src='http://127.0.0.1:9/pixel.png'>")
    watched(tmp_path)
    assert "request: http://127.0.0.1:9/pixel.png" in watched.findings


def test_a_quiet_page_is_left_alone(visit, tmp_path):
    (tmp_path / "index.html").write_text(
        "<!doctype html><html lang='en'><title>Quiet</title><main><h1>Quiet</h1></main>"
    )
    assert visit(tmp_path).title() == "Quiet"


def test_axe_finds_what_cannot_be_read(visit, axe, tmp_path):
    grey = "<style>h1 { color: #aaa; background: #fff }</style>"
    (tmp_path / "index.html").write_text(
        f"<!doctype html><html lang='en'><title>Grey</title>{grey}<main><h1>Grey</h1><img src='data:,'></main>"
    )
    found = axe(visit(tmp_path))
    assert sorted(one.partition(":")[0] for one in found) == ["color-contrast", "image-alt"]
