"""The id of a JetStream message: its place in the stream, or the value of a header."""

from functools import partial

import attrs
from nats.aio.msg import Msg

from flushq.cli.terminal import Complaints

_OLD_FORM = 9
"""The number of fields in the older form, $JS.ACK.STREAM.CONSUMER.DELIVERED.NUMBER.…"""


def place(message: Msg) -> str:
    """Return the place of a message: the stream and the number of the message in it.

    Both are fields of the reply subject, which the acknowledgement is sent to. In the newer form, a
    domain and an account come before them. ``message.metadata`` has both values, too, but takes ten
    times as long.
    """
    fields = message.reply.split(".")
    stream, number = (fields[2], fields[5]) if len(fields) == _OLD_FORM else (fields[4], fields[7])
    return f"{stream}:{number}"


@attrs.frozen
class IdOf:
    """A function that returns the id of a message: the same for each delivery of the message.

    Args:
        header: The header that contains the id. If a message lacks the header, or it is empty, this
            is reported, and the id is the place of the message. None: each id is the place.
    """

    header: str | None = None
    _lacks: Complaints = attrs.field(factory=partial(Complaints, "such messages"), init=False)

    def __call__(self, message: Msg) -> str:
        """Return the id of a message."""
        if self.header is None:
            return place(message)
        named = message.headers.get(self.header) if message.headers else None
        return named or self._place(message)

    def _place(self, message: Msg) -> str:
        found = place(message)
        self._lacks.complain(
            f"message {found} has no id in header {self.header!r}: its id is {found}"
        )
        return found
