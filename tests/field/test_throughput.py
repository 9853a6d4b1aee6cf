"""How fast a worker is."""

import pytest

from tests.field import throughput
from tests.field.servers import Nats, Postgres
from tests.field.throughput import BY_HAND, COMMAND, Place

pytestmark = [pytest.mark.long, pytest.mark.asyncio(loop_factories=["standard"])]


async def test_a_worker_is_faster_than_a_loop_by_hand(
    nats_server: Nats, postgres_server: Postgres
) -> None:
    """It fetches while it stores: a backlog is done in less than 1 / 1.2 of the time."""
    await throughput.fill(nats_server.url, 100_000)
    place = Place(nats_server.url, postgres_server, 100_000)
    ratios = []
    for number in range(3):
        hand = await place.measure(f"by_hand_{number}", BY_HAND, 1)
        ratios.append(await place.measure(f"work_{number}", COMMAND, 1) / hand)
    assert sorted(ratios)[1] > 1.2
