"""One seed, played and judged."""

import asyncio
import functools
from collections.abc import Callable, Sequence

import attrs

from tests.sessions.actors import Actor, BodyError, Script
from tests.sessions.configuration import Configuration, Dice, Items, Moment, configuration
from tests.sessions.faults import behaviours
from tests.sessions.handler import Handler, answers
from tests.sessions.harness import Harness
from tests.sessions.history import History
from tests.sessions.producers import Step, produce
from tests.sessions.sink import Sink


def play(seed: int) -> History:
    """Play the session that this seed makes, and return its history, complaints included."""
    plan = configuration(seed)
    items = Items(Dice(seed + 1), plan.limits, first=1000)
    sink = Sink(behaviours(seed + 2, plan.wickedness, plan.trouble), items)
    severity = plan.severity
    handler = None if severity is None else Handler(answers(seed + 3, severity), items)
    dice = Dice(seed + 4)
    with Harness(
        plan.limits,
        plan.policy,
        sink,
        handler,
        burst=plan.burst,
        fires_early=plan.fires_early,
        report_fails=lambda: dice.chance(plan.report_faults),
    ) as harness:
        Session(harness, plan).play()
    return harness.history


def describe(seed: int) -> list[str]:
    """What the seed decides, line by line."""
    plan = attrs.asdict(configuration(seed), recurse=False)
    return [f"  {name} = {value}" for name, value in plan.items()]


class Session:
    """The script of one session."""

    def __init__(self, harness: Harness, plan: Configuration) -> None:
        self._harness = harness
        self._users = harness.users
        self._plan = plan

    def play(self) -> None:
        """Play it to the end, and judge what is left."""
        plan = self._plan
        self._at(Moment(plan.life.start), self._enter_owner)
        for number, steps in enumerate(plan.producers):
            self._enter(f"producer {number}", functools.partial(self._produce, steps))
        for number, moment in enumerate(plan.flushes):
            self._at(moment, self._enter, f"flush {number}", self._users.flush)
        for number, moment in enumerate(plan.readers):
            self._at(moment, self._enter, f"reader {number}", self._read)
        for number, moment in enumerate(plan.closes):
            self._at(moment, self._enter, f"closer {number}", self._users.aclose)
        for name, moment in plan.interruptions:
            self._at(moment, self._interrupt, name)
        self._harness.loop.run_until_quiet()
        self._enter("latecomer", self._come_late)
        self._harness.loop.run_until_quiet()
        self._harness.finish()

    # When.

    def _at(self, moment: Moment, act: Callable[..., None], *args: object) -> None:
        self._harness.loop.call_at(moment.time, self._turns_later, moment.turns, act, *args)

    def _turns_later(self, turns: int, act: Callable[..., None], *args: object) -> None:
        if turns:
            self._harness.loop.call_soon(self._turns_later, turns - 1, act, *args)
        else:
            act(*args)

    # Who.

    def _enter(self, name: str, script: Script) -> None:
        self._users.enter(name, script, timed=name in self._plan.timed)

    def _interrupt(self, name: str) -> None:
        actor = self._users.actors.get(name)
        if actor is not None:
            self._users.interrupt(actor)

    async def _produce(self, steps: Sequence[Step], actor: Actor) -> None:
        await produce(self._users, actor, steps)

    async def _read(self, actor: Actor) -> None:
        """Await all receipts that there are."""
        for receipt, call in list(self._users.receipts):
            await self._users.wait(actor, receipt, call)

    async def _come_late(self, actor: Actor) -> None:
        """Use a queue that has ended, in every way."""
        items = Items(Dice(0), self._plan.limits, first=2000)
        await self._users.aclose(actor)
        await self._users.enqueue(actor, items())
        self._users.enqueue_nowait(actor, items())
        await self._users.flush(actor)
        await self._users.run(actor)
        await self._users.submit(actor, items())
        await self._users.deliver(actor, items())
        await self._read(actor)

    # The owner.

    def _enter_owner(self) -> None:
        life = self._plan.life
        if life.kind == "with":
            self._enter("owner", self._own)
        elif life.kind == "group":
            self._enter("owner", self._lead)
        elif life.kind == "run":
            self._enter("owner", self._users.run)
            self._at(life.end, self._interrupt, "owner")

    async def _own(self, actor: Actor) -> None:
        await self._users.own(actor, self._body)

    async def _body(self) -> None:
        life = self._plan.life
        await asyncio.sleep(life.end.time - life.start)
        for _ in range(life.end.turns):
            await asyncio.sleep(0)
        if life.raises:
            raise BodyError("the body was told to fail")

    async def _lead(self, actor: Actor) -> None:
        """Run the queue as a child of a TaskGroup, and leave the group for good."""
        try:
            async with asyncio.TaskGroup() as group:
                runner = self._users.enter("runner", self._users.run, group=group)
                await self._body()
                self._users.interrupt(runner)
        except* BodyError:
            pass
