"""The id of a JetStream message: its place in the stream, or the value of a header."""

from functools import partial

import attrs
from nats.aio.msg import Msg

from flushq.cli.terminal import Complaints

_OLD_FORM = 9
"""The number of fields of a reply subject in its older form: $JS.ACK.STREAM.CONSUMER.…"""


def place(message: Msg) -> str:
    """Return the place of a message: the stream, and the sequence number of the message in it.

    Both are fields of the reply subject (the subject for the acknowledgement of the message). In
    the newer form of a reply subject, a domain and an account come before these fields.
    ``message.metadata`` has both values, too, but reading it takes ten times as long.
    """
    fields = message.reply.split(".")
    stream, number = (fields[2], fields[5]) if len(fields) == _OLD_FORM else (fields[4], fields[7])
    return f"{stream}:{number}"


@attrs.frozen
class IdOf:
    """A function that returns the id of a message: the same id at each delivery of the message.

    Args:
        header: The name of the header that contains the id. If a message has no such header or an
            empty one, the id is the place of the message, and this is reported. None: the id of
            each message is its place.
    """

    header: str | None = None
    _lacks: Complaints = attrs.field(
        factory=partial(Complaints, "messages without an id"), init=False
    )

    def __call__(self, message: Msg) -> str:
        """Return the id of a message."""
        if self.header is None:
            return place(message)
        named = message.headers.get(self.header) if message.headers else None
        return named or self._place(message)

    def _place(self, message: Msg) -> str:
        found = place(message)
        self._lacks.complain(
            f"message {found} has no id in header {self.header!r}, so {found} is used as its id"
        )
        return found
