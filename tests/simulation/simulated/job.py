"""A job from its submission to its end, through whatever happens to its drivers, instances, messages and disk."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from runner.entity.lease import (
    InstanceClosed,
    InstanceEvent,
    InstanceLost,
    ItemRange,
    Lease,
    LeaseCut,
    LeaseSplit,
    Report,
)
from runner.entity.parallel import MiniBatchSize, OutputSpec, ParallelSpec, SplitInput
from runner.errors import RunnerError, ThresholdExceeded
from runner.schedule.failures import read_failures
from runner.schedule.journal import Committed, Mended, replay
from runner.store.home import Home
from simulated.chance import Violated, World
from simulated.driver import Driver
from simulated.instance import Instance
from simulated.model import Model, demand
from simulated.truth import heal, make_natures, make_plan

STEP_LIMIT = 200_000
CALM_S = 3000.0
"""Once faults have stopped, the job ends within so much virtual time."""
LOST_AFTER_S = 10.0
MEMORY = Path("/dev/shm")


class Job:
    """Everything outside the driver, and the record of what is true."""

    def __init__(self, seed: int, *, is_told: bool = False) -> None:
        self.world = world = World(seed)
        world.is_told = is_told
        dice = world.dice
        self.plan = make_plan(dice)
        self.natures = make_natures(dice, self.plan)
        self.instance_count, self.worker_count = dice.choice([1, 1, 2, 4]), dice.choice([1, 2, 5])
        self.spec = make_spec(
            dice.choice([-1, -1, 0, 2, 10]), dice.choice([-1, -1, 0, 1, 5]), dice.choice([100.0, 100.0, 5.0])
        )
        self.model = Model(self.plan, self.spec)
        self.folder = Home(tempfile.mkdtemp(prefix="simulated-", dir=MEMORY if MEMORY.is_dir() else None)).job("job")
        self.folder.root.mkdir(parents=True)
        self.staged: dict[str, list[ItemRange]] = {}
        self.end_count = 0
        self.is_over = False
        self.driver: Driver | None = None
        self._up: dict[Instance, float] = {}
        self._down: dict[Instance, float] = {}
        self._said_lost: set[Instance] = set()
        self.calm_at = dice.choice([0.0, 5.0, 20.0, 60.0])

    # ---- one life -----------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Live it to the end; returns the steps it took. Raises Violated."""
        world = self.world
        world.at(self.calm_at, self._calm)
        world.at(world.dice.uniform(0.1, 5.0), self._trouble)
        if world.dice.random() < 0.1:
            world.at(world.dice.uniform(0.0, 20.0), self._cancel)
        world.at(0.0, self._launch)
        steps = 0
        try:
            while not self.is_over:
                steps += 1
                demand(world.step(), "nothing happens any more, and the job has not ended")
                is_late = world.now > self.calm_at + CALM_S or steps > STEP_LIMIT
                demand(not is_late, "the job does not end; it is", round(world.now), "s and", steps, "steps")
        finally:
            if self.driver is not None and not self.driver.is_dead:
                self.driver.let_go()
            shutil.rmtree(self.folder.root.parent.parent)
        return steps

    def _calm(self) -> None:
        self.world.is_faulty = False
        self.world.tell("faults stop")

    def _trouble(self) -> None:
        """Something breaks, and then again."""
        world = self.world
        if self.is_over or not world.is_faulty:
            return
        living = [one for one in self._up if not one.is_dead and one not in self._said_lost]
        what = world.dice.random()
        if what < 0.15 and self.driver is not None and not self.driver.is_dead:
            self.driver.die()
        elif what < 0.3 and living:
            instance = world.dice.choice(living)
            seconds = world.dice.choice([1.0, 5.0, 20.0, 60.0])
            world.tell("instance", instance.number, "is stopped for", seconds)
            instance.stop(seconds)
            if seconds > LOST_AFTER_S:
                world.after(LOST_AFTER_S, lambda: self.lose(instance, "silent"))
        elif what < 0.8 and living:
            self.lose(world.dice.choice(living), "gone")
        world.after(world.dice.choice([0.1, 1.0, 4.0, 15.0]), self._trouble)

    def _cancel(self) -> None:
        if self.driver is not None and not self.driver.is_dead:
            self.driver.core.cancel()

    def _launch(self) -> None:
        if not self.is_over and (self.driver is None or self.driver.is_dead):
            self.driver = None
            self.driver = Driver(self)

    def on_driver_died(self) -> None:
        self.world.after(self.world.dice.choice([0.1, 2.0, 40.0]), self._launch)

    def on_ended(self, driver: Driver, error: RunnerError | None) -> None:
        """The job has a terminal status: check what there is, and perhaps resume it."""
        is_complete = error is None and not driver.core.is_cancelled
        self.check_items(is_complete=is_complete)
        if is_complete:
            self.is_over = True
            return
        self.end_count += 1
        if isinstance(error, ThresholdExceeded) and self.end_count > 2:
            self.is_over = True
            return
        self.natures = heal(self.world.dice, self.natures)
        self.world.after(1.0, self._launch)

    # ---- instances and messages ---------------------------------------------------------------------------------

    def start_instance(self, driver: Driver, number: int) -> Instance:
        instance = Instance(
            self, number, driver.epoch, self.worker_count, lambda event: self._heard(instance, driver, event)
        )
        self._up[instance] = self._down[instance] = self.world.now
        return instance

    def send(self, instance: Instance, what: Callable[[], None]) -> None:
        """From the driver: in order, each once, unless the instance is gone."""
        if instance in self._said_lost:
            return
        at = self._down[instance] = max(self._down[instance], self.world.now + self._delay())

        def arrive() -> None:
            if self.world.now < instance.stopped_until:
                self.world.at(instance.stopped_until, arrive)
            elif not instance.is_dead:
                instance.heard = self.world.now
                what()

        self.world.at(at, arrive)

    def _heard(self, instance: Instance, driver: Driver, event: InstanceEvent) -> None:
        """To the driver: in order; a report perhaps twice; and from one that was said to be lost perhaps still."""
        world = self.world
        at = self._up[instance] = max(self._up[instance], world.now + self._delay())
        world.at(at, lambda: self._arrive(instance, driver, event))
        if isinstance(event, Report) and world.chance(0.03):
            world.at(at + world.dice.choice([0.0, 3.0]), lambda: self._arrive(instance, driver, event))

    def _delay(self) -> float:
        return self.world.dice.choice([0.001, 0.001, 0.02, 1.0]) if self.world.is_faulty else 0.001

    def _arrive(self, instance: Instance, driver: Driver, event: InstanceEvent) -> None:
        if instance in self._said_lost and not (
            isinstance(event, (Report, LeaseSplit, LeaseCut)) and self.world.chance(0.5)
        ):
            return
        if not driver.is_dead:
            driver.deliver(event)
        elif self.driver is not None and isinstance(event, (Report, LeaseSplit, LeaseCut)):
            # No transport does that; the epoch must keep it out all the same.
            self.driver.deliver(event)

    def lose(self, instance: Instance, what: str) -> None:
        """An instance is gone, or, what is worse, only its driver thinks so."""
        if instance.is_dead or instance in self._said_lost or instance.is_closing:
            return
        self.world.tell("instance", instance.number, "is lost:", what)
        is_zombie = not self.natures_took(what) and self.world.chance(0.3)
        at = max(self._up[instance], self.world.now + self.world.dice.choice([0.0, 0.01, 2.0]))
        if not is_zombie:
            instance.die()
        driver = self.driver

        def say() -> None:
            self._said_lost.add(instance)
            if driver is not None and not driver.is_dead and driver.instances.get(instance.number) is instance:
                driver.deliver(InstanceLost(instance=instance.number, what=what))

        self.world.at(at, say)

    @staticmethod
    def natures_took(what: str) -> bool:
        return what.startswith("mini-batch")

    def stage(self, name: str, items: list[ItemRange]) -> None:
        """A part is on disk."""
        self.staged[name] = items

    # ---- what must be true at instances and in the end ----------------------------------------------------------

    def check_lent(self, instance: Instance, lease: Lease, held: list[int]) -> None:
        numbers = {one.mini_batch for one in lease.ranges} or set(range(lease.first, lease.end))
        demand(numbers.isdisjoint(held), "instance", instance.number, "is lent", numbers & set(held), "twice")

    def check_closed(self, instance: Instance) -> None:
        driver = self.driver
        if driver is None or driver.is_dead or driver.instances.get(instance.number) is not instance:
            return
        if driver.core.error is None and not driver.core.is_cancelled:
            left = [tenure.lease for tenure in instance.tenures]
            demand(not left, "instance", instance.number, "is closed with work that nobody told it to forget:", left)

    def check_items(self, *, is_complete: bool) -> None:
        records = [one for one in replay(self.folder.journal).records if isinstance(one, (Committed, Mended))]
        good = [item for record in records if record.part for item in self.staged[record.part]]
        bad = [
            ItemRange(mini_batch=row.mini_batch, first_item=row.first_item, item_count=row.item_count)
            for row in read_failures(self.folder)
        ]
        self.model.check_items(good, bad, is_complete=is_complete)


def make_spec(items: int, mini_batches: int, percent: float) -> ParallelSpec:
    return ParallelSpec(
        name="job",
        entry_script="score.py",
        code=None,
        inputs=(SplitInput(name="in", kind="table", path="/in"),),
        mini_batch_size=MiniBatchSize(kind="rows", value=1),
        output=OutputSpec(name="o", target="/o", is_folder=False),
        error_threshold=items,
        mini_batch_error_threshold=mini_batches,
        allowed_failed_percent=percent,
    )


__all__ = ["InstanceClosed", "Job", "Violated"]
