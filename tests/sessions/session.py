"""One seed, played and judged."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from flushq.core.fairness import BURST
from tests.sessions.actors import Actor, BodyError, Script
from tests.sessions.dice import Dice, Items, Moment, bounded, limits_of, merging, policy_of
from tests.sessions.handler import Handler
from tests.sessions.harness import Harness
from tests.sessions.history import History
from tests.sessions.producers import Step, produce
from tests.sessions.sink import Sink


def play(seed: int) -> History:
    """Play the session that this seed makes, and return its history, complaints included."""
    dice = Dice(seed)
    limits, policy = bounded(dice, merging(dice, limits_of(dice, 1 / 3))), policy_of(dice)
    items = Items(Dice(seed + 1), limits, first=1000)
    handles = dice.chance(0.5)
    wickedness = dice.choice([0.0, 0.1, 0.3, 0.3, 0.6])
    trouble = dice.choice([0.0, 0.1, 0.3, 0.6] if handles else [0.0, 0.0, 0.0, 0.3])
    severity = dice.choice([0.0, 0.05, 0.2])
    reports, report_faults = Dice(seed + 4), dice.choice([0.0, 0.0, 0.2])
    with Harness(
        limits,
        policy,
        Sink(Dice(seed + 2), items, wickedness, trouble),
        Handler(Dice(seed + 3), items, severity) if handles else None,
        burst=dice.choice([BURST, BURST, BURST, 4, 2, 1]),
        fires_early=dice.chance(0.1),
        report_fails=lambda: reports.chance(report_faults),
    ) as harness:
        harness.history.note("PLAN", f"{limits} {policy}")
        Session(harness, dice, Items(dice, limits)).play()
    return harness.history


class Session:
    """The script of one session."""

    def __init__(self, harness: Harness, dice: Dice, items: Items) -> None:
        self._harness = harness
        self._users = harness.users
        self._dice = dice
        self._items = items
        self._start = dice.choice([0.0, 0.0, 0.0, 0.0, 0.5, 2.0])
        self._end = dice.moment(10.0)
        self._raises = dice.chance(0.2)

    def play(self) -> None:
        """Play the session to the end, and judge the state at its end."""
        dice, users = self._dice, self._users
        is_owned = self._send_owner()
        what = WITH_RECEIPTS if dice.chance(0.5) else WHAT
        for number in range(dice.choice([1, 2, 2, 3, 4])):
            steps = [self._step(what) for _ in range(int(1 + dice.random() * 8))]
            self._send(f"producer {number}", (0.0, 0), partial(self._produce, steps))
        for number in dice.a_few():
            self._send(f"flush {number}", dice.moment(8.0), users.flush)
        for number in dice.a_few():
            self._send(f"reader {number}", dice.moment(8.0), self._read)
        closers = dice.a_few() if is_owned else range(2)
        for number in closers if dice.chance(0.5) or not is_owned else ():
            self._send(f"closer {number}", dice.moment(self._end[0] + 4.0), users.aclose)
        self._harness.loop.run_forever()
        users.enter("latecomer", self._come_late)
        self._harness.loop.run_forever()
        self._harness.finish()

    # When.

    def _at(self, moment: Moment, act: Callable[..., object], *args: object) -> None:
        time, turns = moment
        self._harness.loop.call_at(time, self._turns_later, turns, act, *args)

    def _turns_later(self, turns: int, act: Callable[..., object], *args: object) -> None:
        if turns:
            self._harness.loop.call_soon(self._turns_later, turns - 1, act, *args)
        else:
            act(*args)

    # Who.

    def _send(self, name: str, moment: Moment, script: Script) -> None:
        """Start an actor at this moment, and perhaps cancel it once or twice."""
        dice = self._dice
        self._at(moment, partial(self._users.enter, timed=dice.chance(0.2)), name, script)
        for until in (10.0, 12.0):
            if dice.chance(0.3):
                self._at(dice.moment(until), self._interrupt, name)

    def _interrupt(self, name: str) -> None:
        actor = self._users.actors.get(name)
        if actor is not None:
            self._users.interrupt(actor)

    def _step(self, what: Sequence[str]) -> Step:
        dice, kind = self._dice, self._dice.choice(what)
        if kind in {"pause", "work", "await", "await for"}:
            return Step(kind, (), dice.time(0.5 if kind == "work" else 3.0))
        count = dice.choice([1, 1, 1, 2, 3, 5]) if kind in {"enqueue", "nowait", "submit"} else 1
        return Step(kind, tuple(self._items() for _ in range(count)), dice.time(4.0))

    async def _produce(self, steps: Sequence[Step], actor: Actor) -> None:
        await produce(self._users, actor, steps)

    async def _read(self, actor: Actor) -> None:
        """Await all receipts that exist."""
        for receipt, call in list(self._users.receipts):
            await self._users.wait(actor, receipt, call)

    async def _come_late(self, actor: Actor) -> None:
        """Use a queue that has ended, in every way."""
        await self._users.aclose(actor)
        await self._users.enqueue(actor, self._items())
        self._users.enqueue_nowait(actor, self._items())
        await self._users.flush(actor)
        await self._users.run(actor)
        await self._users.submit(actor, self._items())
        await self._users.deliver(actor, self._items())
        await self._read(actor)

    # The owner.

    def _send_owner(self) -> bool:
        """Start an owner of the queue; return False if this session has none."""
        kind = self._dice.choice(["with", "with", "with", "run", "run", "group", "nobody"])
        scripts: dict[str, Script] = {
            "with": self._own,
            "run": self._users.run,
            "group": self._lead,
        }
        if kind == "nobody":
            return False
        self._at((self._start, 0), self._users.enter, "owner", scripts[kind])
        if kind == "run":
            self._at((self._start + self._end[0], self._end[1]), self._interrupt, "owner")
        for _ in self._dice.a_few():
            self._at(self._dice.moment(self._end[0] + 6.0), self._interrupt, "owner")
        return True

    async def _own(self, actor: Actor) -> None:
        await self._users.own(actor, self._body)

    async def _body(self) -> None:
        seconds, turns = self._end
        await asyncio.sleep(seconds)
        for _ in range(turns):
            await asyncio.sleep(0)
        if self._raises:
            raise BodyError("the body was told to fail")

    async def _lead(self, actor: Actor) -> None:
        """Run the queue as a task of a TaskGroup, and leave the group without an error."""
        try:
            async with asyncio.TaskGroup() as group:
                runner = self._users.enter("runner", self._users.run, group=group)
                await self._body()
                self._users.interrupt(runner)
        except* BodyError:
            pass


WHAT = ["enqueue"] * 6 + ["pause"] * 6 + ["nowait", "timeout", "wait_for", "give up", "work"]
WITH_RECEIPTS = [
    *WHAT,
    *["submit"] * 6,
    *["await", "deliver"] * 2,
    *["await for", "deliver for", "give up delivery"],
]
"""The kinds of producers' steps, without and with those that wait for the end of an item."""
