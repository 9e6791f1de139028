"""The key goes to the server and nowhere else, whatever the server does with it."""

import traceback

import pytest

from harness.errors import Failure, UserError

KEY = "sk-a-secret-that-nobody-may-see"

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("THE_KEY", KEY)


@pytest.fixture
def visible(caplog, capfd, notices, tmp_path):
    """Everything that anybody could see afterwards: logs at all levels, output, files, notices and an error."""
    caplog.set_level(0)

    def visible(error):
        files = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
        told = traceback.format_exception(error)
        return "\n".join([*told, caplog.text, *capfd.readouterr(), *notices, *files])

    return visible


def test_a_wrong_key(scripted, ask, open_judge, visible):
    with scripted.ScriptedJudge(key="sk-right", faults={"429": 0.3}) as server:
        with open_judge(server, api_key_env="THE_KEY") as judge, pytest.raises(UserError, match="THE_KEY") as caught:
            ask(judge, range(20))
        assert server.asked[0][2]["Authorization"] == f"Bearer {KEY}"
    assert "\n" not in str(caught.value)
    seen = visible(caught.value)
    assert "that is not the key" in seen
    assert KEY not in seen


def test_a_server_that_repeats_the_key(scripted, ask, open_judge, visible):
    server = scripted.ScriptedJudge(lambda _: f"you sent {KEY} [[5]]", key=KEY, faults=scripted.WORST)
    with server:
        with open_judge(server, api_key_env="THE_KEY") as judge:
            assert ask(judge, range(30))["0"].verdict.text == "you sent *** [[5]]"
        server.down = True
        with open_judge(server, api_key_env="THE_KEY", patience=0.5) as judge, pytest.raises(Failure) as caught:
            ask(judge, range(30, 60))
        seen = f"{judge!r}{vars(judge)!r}" + visible(caught.value)
    assert "you sent ***" in seen
    assert "503: down, Bearer ***" in seen
    assert KEY not in seen


def test_a_server_that_leads_elsewhere_takes_no_key_along(scripted, ask, open_judge, visible):
    with scripted.ScriptedJudge(faults={"307": 1.0}) as server:
        with open_judge(server, api_key_env="THE_KEY") as judge, pytest.raises(UserError) as caught:
            ask(judge, range(20))
        assert len(server.asked) <= 16
    assert KEY not in visible(caught.value)


def test_a_missing_key_is_told_before_anything_is_asked(scripted, ask, open_judge, monkeypatch):
    monkeypatch.delenv("THE_KEY")
    with scripted.ScriptedJudge() as server, open_judge(server, api_key_env="THE_KEY") as judge:
        with pytest.raises(UserError, match="THE_KEY is not set"):
            ask(judge, range(3))
        assert server.calls == 0
