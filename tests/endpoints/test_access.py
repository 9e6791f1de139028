import pytest

from harness.endpoints.access import ServerAccess


def access(**values):
    return ServerAccess(**{"base_url": "http://localhost:8000/v1", **values})


@pytest.mark.parametrize(
    "address",
    [
        "localhost:8000/v1",
        "ftp://localhost/v1",
        "http://",
        "http://localhost:port/v1",
        "https://someone:sk-secret@example.org/v1",
        "https://sk-secret@example.org/v1",
        "https://example.org/v1?key=sk-secret",
        "https://example.org/v1#sk-secret",
    ],
)
def test_what_is_no_address_is_refused_without_repeating_it(address, refused):
    said = refused(access, base_url=address)
    assert "base_url" in said
    assert "secret" not in said


@pytest.mark.parametrize("address", ["http://localhost:8000/v1/", " http://localhost:8000/v1/chat/completions"])
def test_an_address_is_its_beginning(address):
    assert access(base_url=address).base_url == "http://localhost:8000/v1"


def test_a_key_in_place_of_its_variable_is_refused_without_repeating_it(refused):
    assert "sk-" not in refused(access, api_key_env="sk-secret")


def test_the_key_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("THE_KEY", " sk-secret\n")
    found = access(api_key_env="THE_KEY")
    assert found.read_key() == "sk-secret"
    assert "sk-secret" not in f"{found!r}{found.model_dump_json()}"
    assert access().read_key() is None


@pytest.mark.parametrize("value", ["", "  ", "sk-\x00secret", "sk-s\ncret", "sk-sécret", "sk secret"])
def test_a_key_that_is_none_is_refused_without_repeating_it(value, monkeypatch, refused):
    if "\x00" in value:
        monkeypatch.setattr("os.environ", {"THE_KEY": value})
    else:
        monkeypatch.setenv("THE_KEY", value)
    said = refused(access(api_key_env="THE_KEY").read_key)
    assert "THE_KEY" in said
    assert "cret" not in said


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("http://localhost:8000/v1", True),
        ("http://127.0.0.2/v1", True),
        ("http://[::1]:80/v1", True),
        ("https://api.openai.com/v1", False),
        ("http://192.168.0.7:8000/v1", False),
    ],
)
def test_proxies_are_for_other_machines(address, local):
    assert access(base_url=address).is_local is local
