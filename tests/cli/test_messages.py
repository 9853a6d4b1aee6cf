"""The place and the id of a JetStream message."""

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from flushq.cli.messages import IdOf, place

OLD = "$JS.ACK.ORDERS.workers.2.4711.8.1795822541000000000.3"
NEW = "$JS.ACK.hub.AccountHash.ORDERS.workers.2.4711.8.1795822541000000000.3.random"


@pytest.mark.parametrize("reply", [OLD, NEW])
def test_the_place_of_a_message(reply: str) -> None:
    """The place is the stream and the number of the message, from either form of the subject."""
    message = Msg(Client(), reply=reply)
    metadata = message.metadata
    assert "ORDERS:4711" == place(message) == f"{metadata.stream}:{metadata.sequence.stream}"


@pytest.mark.parametrize(
    ("header", "headers", "expected"),
    [
        (None, {"Id": "7"}, "ORDERS:4711"),
        ("Id", {"Id": "7"}, "7"),
        ("Id", {"Id": ""}, "ORDERS:4711"),
        ("Id", {"Other": "7"}, "ORDERS:4711"),
        ("Id", None, "ORDERS:4711"),
    ],
)
def test_the_id_of_a_message(
    capsys: pytest.CaptureFixture[str],
    header: str | None,
    headers: dict[str, str] | None,
    expected: str,
) -> None:
    """The id is the value of the header or else the place; a missing id is reported."""
    assert expected == IdOf(header)(Msg(Client(), reply=OLD, headers=headers))
    told = "message ORDERS:4711 has no id in header 'Id', so ORDERS:4711 is used as its id\n"
    assert (told if header and expected != "7" else "") == capsys.readouterr().err
