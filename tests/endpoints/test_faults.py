"""What a status means, and what of a server's words reaches the user."""

import json

import pytest

from harness.endpoints.faults import Closed, Fault, Rejected, check_status, retry_after, words

KEY = "sk-secret"


def raised(status, body=b"", headers=None):
    with pytest.raises((Fault, Rejected, Closed)) as caught:
        check_status(status, headers or {}, body, KEY)
    return caught.value


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 520, 529])
def test_what_passes_is_asked_again(status):
    assert isinstance(raised(status), Fault)


@pytest.mark.parametrize("status", [400, 413, 422, 451])
def test_what_lies_in_the_request_costs_that_request(status):
    error = raised(status, b'{"error": {"message": "the context is too long"}}')
    assert isinstance(error, Rejected)
    assert error.kind == "invalid"
    assert "the context is too long" in error.reason


def test_content_that_is_not_wanted_is_a_refusal():
    body = json.dumps({"error": {"code": "content_filter", "message": "the prompt was filtered"}}).encode()
    assert raised(400, body).kind == "refused"


@pytest.mark.parametrize("status", [301, 307, 401, 402, 403, 404, 405, 410, 418])
def test_what_the_user_must_mend_ends_it(status):
    assert isinstance(raised(status), Closed)


def test_a_reply_raises_nothing():
    check_status(200, {}, b"", KEY)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "99999999"}, 86_400),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"}, 0),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT", "date": "Sun, 06 Nov 1994 08:49:07 GMT"}, 30),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:37 -0000", "date": "nonsense"}, 0),
    ],
)
def test_retry_after_is_a_number_or_a_date_by_the_servers_clock(headers, seconds):
    assert retry_after(headers) == seconds


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"message": "no such model"}}, "no such model"),
        ({"error": "no such model"}, "no such model"),
        ({"detail": "no such model"}, "no such model"),
        ({"object": "error", "message": "no such\nmodel"}, "no such model"),
    ],
)
def test_the_servers_words_are_found(body, said):
    assert words(json.dumps(body).encode(), None) == said


@pytest.mark.parametrize("before", range(180, 215))
def test_no_part_of_the_key_is_left_where_words_are_cut(before):
    assert "sk-" not in words(f"{'x' * before} {KEY} and more, and more".encode(), KEY)
