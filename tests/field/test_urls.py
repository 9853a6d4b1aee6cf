"""A URL that a driver could misread is refused, so that no error shows a part of its password."""

from collections.abc import Callable

import pytest
import urls

from flushq.cli.urls import check_nats_url, check_url

both = pytest.mark.parametrize("check", [urls.check, check_url], ids=["recipe", "command"])


@both
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:sec@ret@host/database",
        "postgresql://user:sec/ret@host/database",
        "postgresql://user:sec?ret@host/database",
        "postgresql://user:sec#ret@host/database",
        "postgresql://user:sec[ret@host/database",
        "postgresql://user:sec\u2100ret@host/database",
        "postgresql://user:sec\nret@host/database",
        "postgresql://user:secret@h\u2100st/database",
        "wss://user:sec\\ret@host:1/",
        "postgresql://user:secret/database",
        "postgresql://user:secret",
        "postgresql://user@host,user:secret",
        "postgresql://host/database?user=user&password=sec&ret",
        "user:secret@host/database",
    ],
)
def test_a_url_that_a_driver_could_misread(url: str, check: Callable[[str], object]) -> None:
    """The error for a URL that could be misread shows no part of the password."""
    with pytest.raises(ValueError, match=r"^the URL is not valid: it must begin with") as refused:
        check(url)
    assert "sec" not in str(refused.value)


@both
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://",
        "postgresql://user:a:b@host:5432/database",
        "postgresql://user:%40%2F%3A@[::1]:5432,host:5433,other/database",
        "postgresql://user@%2Ftmp%2Fsocket/database?sslmode=disable&search_path=a,b",
        "postgresql://host?user=user&password=%40%26",
        "nats://user:secret@127.0.0.1:4222",
        "https://user:secret@host/bulk?api-version=1&a%5B%5D=1&b[]=2",
    ],
)
def test_a_url_that_can_be_read(url: str, check: Callable[[str], object]) -> None:
    """A URL that every driver reads correctly is accepted."""
    check(url)


def test_a_url_of_another_server() -> None:
    """A URL that is not one of NATS is refused; the error shows only its scheme."""
    assert "tls://a:b@host" == check_nats_url("tls://a:b@host")
    with pytest.raises(ValueError, match=r"^a URL of NATS must begin with .*, not with http://$"):
        check_nats_url("http://user:secret@host:4222")
