"""Sites as `harness board serve` gives them out: ours works as from disk, others' scripts do nothing."""

from contextlib import contextmanager
from threading import Thread

import pytest

from harness.board.site.serve import HOST, server

pytestmark = pytest.mark.timeout(240)


@contextmanager
def serving(site):
    """The address of a folder's server."""
    with server(site, 0) as running:
        thread = Thread(target=running.serve_forever)
        thread.start()
        try:
            yield f"http://{HOST}:{running.server_port}/"
        finally:
            running.shutdown()
            thread.join()


def test_rows_and_samples_are_loaded_under_the_server_s_policy(visit, site, board):
    row = board.rows[-1]
    with serving(site) as address:
        page = visit(address, f"#row={row.id}")
        page.get_by_role("link", name="seed 0").first.click()
        page.locator("#samples .pair").first.wait_for()
        page.locator(".kinds button").filter(has_text="All items").click()
        answers = page.locator("#samples pre.response").all_inner_texts()
        page.locator("#theme").click()
    given = {sample["response"] for sample in board.samples_of(row, "arithmetic", 0)}
    assert set(answers) & given


THEIRS = """<!doctype html><title>before</title>
<meta http-equiv="Content-Security-Policy" content="default-src * 'unsafe-inline'">
<script>document.title = "ran"</script>
<img src="x" onerror="document.title = 'ran'"><img src="http://127.0.0.1:9/pixel.png"><p style="color: red">
<iframe src="http://127.0.0.1:9/"></iframe>"""


def test_a_page_of_another_runs_nothing_and_reaches_nobody(watched, tmp_path):
    (tmp_path / "index.html").write_text(THEIRS)
    with serving(tmp_path) as address:
        page = watched(address)
        page.wait_for_timeout(200)
        assert page.title() == "before"
    refused = {said.split(":")[1].strip() for said in watched.findings if said.startswith("policy violation")}
    assert {"script-src-elem", "script-src-attr", "img-src", "style-src-attr", "frame-src"} <= refused
