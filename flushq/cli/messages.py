"""What a message of JetStream is called: its place in the stream, or what a header says."""

from functools import partial

import attrs
from nats.aio.msg import Msg

from flushq.cli.terminal import Complaints

_OLD_FORM = 9
"""How many fields $JS.ACK.STREAM.CONSUMER.DELIVERED.NUMBER.… has, the older form."""


def place(message: Msg) -> str:
    """The place of a message: its stream, and its number there.

    They are in the subject for its acknowledgement, in the newer form behind a domain and an
    account. ``message.metadata`` has them too, but takes ten times as long.
    """
    fields = message.reply.split(".")
    stream, number = (fields[2], fields[5]) if len(fields) == _OLD_FORM else (fields[4], fields[7])
    return f"{stream}:{number}"


@attrs.frozen
class IdOf:
    """Gives each message its id, the same each time that it is delivered.

    Args:
        header: The header that has it. If a message lacks the header, that is told, and its id is
            its place. None: each id is the place.
    """

    header: str | None = None
    _lacks: Complaints = attrs.field(factory=partial(Complaints, "such messages"), init=False)

    def __call__(self, message: Msg) -> str:
        """The id of a message."""
        if self.header is None:
            return place(message)
        named = message.headers.get(self.header) if message.headers else None
        return named or self._place(message)

    def _place(self, message: Msg) -> str:
        found = place(message)
        self._lacks.complain(f"message {found} has no header {self.header!r}: its id is {found}")
        return found
