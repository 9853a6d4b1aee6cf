"""What a message of JetStream is called: its place in the stream, or what a header says."""

import attrs
from nats.aio.msg import Msg

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
        header: The header that has it. None, or if a message lacks the header: its place.
    """

    header: str | None = None

    def __call__(self, message: Msg) -> str:
        """The id of a message."""
        named = message.headers.get(self.header) if self.header and message.headers else None
        return named or place(message)
