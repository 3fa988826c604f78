"""Every mini-batch is in exactly one of pending, one open lease, committed; whatever happens to instances."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.entity.lease import ItemRange, Lease, LeaseProgress
from runner.schedule.leases import LeaseTable
from runner.schedule.sizing import FIRST_PER_WORKER, GROWTH, LEASE_LIMIT, TARGET_LIMIT_S, Pace, lease_size, target_s
from runner.schedule.stretches import MEND_LIMIT
from runner.schedule.suspects import INFRASTRUCTURE_LOSSES, LONE_LIMIT


def table(total: int = 100, instances: int = 1, workers: int = 2, **kw: object) -> LeaseTable:
    made = LeaseTable(total=total, epoch=1, **kw)  # type: ignore[arg-type]
    for instance in range(instances):
        made.join(instance, workers)
    return made


def drain(made: LeaseTable, instance: int = 0) -> list[tuple[int, int]]:
    """Lend and commit to the end; the ranges in order of their commit."""
    done = []
    now = 0.0
    while (lease := made.lend(instance, now)) is not None:
        now += 0.5
        assert made.commit(lease.first, lease.end, lease.epoch, now)
        done.append((lease.first, lease.end))
    return done


def test_leases_are_contiguous_lowest_first_and_cover_the_plan() -> None:
    done = drain(table(1000))
    assert done[0][0] == 0 and done[-1][1] == 1000
    assert all(a[1] == b[0] for a, b in itertools.pairwise(done))


def test_an_instance_holds_no_more_leases_than_the_depth() -> None:
    made = table(1000)
    held = [made.lend(0, 0.0), made.lend(0, 0.0), made.lend(0, 0.0)]
    assert held[0] and held[1] and held[2] is None


def test_an_instance_that_has_not_joined_is_lent_nothing() -> None:
    assert table(10).lend(7, 0.0) is None


def test_a_commit_counts_once_and_only_for_an_open_range_of_this_epoch() -> None:
    made = table(100)
    lease = made.lend(0, 0.0)
    assert lease is not None
    assert not made.commit(lease.first, lease.end, 0, 1.0), "another epoch"
    assert not made.commit(lease.first, lease.end - 1, 1, 1.0), "another range"
    assert made.commit(lease.first, lease.end, 1, 1.0)
    assert not made.commit(lease.first, lease.end, 1, 1.0), "a second time"
    assert made.committed_count == lease.end - lease.first


def test_what_a_lost_instance_held_is_lent_again_under_the_next_lending() -> None:
    made = table(100, instances=2)
    first = made.lend(0, 0.0)
    assert first is not None and first.lending == 0
    assert made.lose(0).leases == [first]
    again = made.lend(1, 1.0)
    assert again == Lease(first=first.first, end=first.end, epoch=1, lending=1)
    assert made.commit(again.first, again.end, 1, 2.0)
    assert not made.commit(first.first, first.end, 1, 2.0), "the lost copy comes too late"


def test_pieces_replace_their_lease_and_are_committed_one_by_one() -> None:
    made = table(100)
    lease = made.lend(0, 0.0)
    assert lease is not None and (lease.first, lease.end) == (0, 4)
    assert made.split(0, lease, [(0, 2), (3, 4)]) is None, "a gap"
    assert made.split(0, lease, [(0, 1), (1, 4)]) == []
    assert not made.commit(0, 4, 1, 1.0)
    assert made.commit(1, 4, 1, 1.0) and made.commit(0, 1, 1, 1.0)
    assert made.committed_count == 4


def test_leases_prefer_to_end_at_unit_borders() -> None:
    made = table(1000, unit_starts=(0, 100, 200, 300, 400, 500, 600, 700, 800, 900))
    ends = {end for first, end in drain(made) if end - first > 100}
    assert ends and all(end % 100 == 0 for end in ends)


def test_restored_ranges_are_never_lent_again() -> None:
    made = table(10)
    made.restore([(4, 6), (0, 2)])
    assert made.committed_count == 4
    lent = [n for first, end in drain(made) for n in range(first, end)]
    assert lent == [2, 3, 6, 7, 8, 9] and made.is_finished
    with pytest.raises(ValueError, match="does not fit"):
        table(10).restore([(0, 5), (4, 6)])


def test_sizes_grow_with_the_pace_and_shrink_towards_the_end() -> None:
    pace = Pace()
    assert lease_size(pace, 2, 10**9, 1) == 2 * FIRST_PER_WORKER
    pace.ended(4, 0.0, 0.001)
    assert lease_size(pace, 2, 10**9, 1) == 4 * GROWTH, "no faster than the growth allows"
    pace.ended(10**6, 0.001, 0.011)
    assert lease_size(pace, 2, 10**9, 1) == LEASE_LIMIT
    slow = Pace()
    slow.ended(4, 0.0, 40.0)
    assert lease_size(slow, 2, 10**9, 1) == 2, "at least one mini-batch a worker"
    steady = Pace()
    steady.ended(1000, 0.0, 1.0)
    sizes = [lease_size(steady, 2, pending, 2) for pending in (10_000, 2_000, 800)]
    assert sizes == [1000, 500, 200]


def test_leases_of_very_many_instances_are_longer_but_two_of_them_stay_within_five_seconds() -> None:
    assert target_s(1) == 1.0 and target_s(10_000) == TARGET_LIMIT_S <= 2.5


# ---- tails and second copies -----------------------------------------------------------------------------------


def lent(made: LeaseTable, instance: int = 0, now: float = 0.0) -> Lease:
    lease = made.lend(instance, now)
    assert lease is not None
    return lease


def test_a_tail_that_is_given_back_is_pending_again_and_the_rest_stays_open() -> None:
    made = table(100, instances=2)
    lease = lent(made)
    assert made.cut(0, 0, 4, 1, 2, 1.0) is True
    assert made.pending[0] == (2, 4)
    assert made.commit(0, 4, 1, 2.0) is None and made.commit(0, 2, 1, 2.0)
    again = lent(made, 1)
    assert (again.first, again.end, again.lending) == (2, 4, lease.lending + 1)


@pytest.mark.parametrize(("instance", "epoch", "limit"), [(1, 1, 2), (0, 0, 2), (0, 1, 0), (0, 1, 5)])
def test_an_answer_that_fits_no_open_lease_changes_nothing(instance: int, epoch: int, limit: int) -> None:
    made = table(100, instances=2)
    lent(made)
    assert made.cut(instance, 0, 4, epoch, limit, 1.0) is None
    assert made.pending == [(4, 100)] and made.commit(0, 4, 1, 2.0)


def test_an_instance_that_keeps_all_keeps_all() -> None:
    made = table(100)
    lent(made)
    assert made.cut(0, 0, 4, 1, 4, 1.0) is False
    assert made.commit(0, 4, 1, 2.0)


def twice(made: LeaseTable) -> tuple[Lease, Lease]:
    first = lent(made)
    held = made.open_leases[0]
    second = made.lend_twice(held, 1, 1.0)
    assert second is not None
    return first, second


def test_of_two_copies_the_first_commit_wins() -> None:
    made = table(100, instances=3)
    first, second = twice(made)
    assert (second.first, second.end, second.lending) == (first.first, first.end, first.lending + 1)
    assert made.lend_twice(made.open_leases[0], 2, 1.0) is None, "never three times"
    held = made.commit(0, 4, 1, 2.0, instance=1)
    assert held is not None and {copy.instance for copy in held.copies} == {0, 1}
    assert made.commit(0, 4, 1, 2.0, instance=0) is None
    assert made.committed_count == 4


def test_a_lost_copy_leaves_the_lease_with_the_other() -> None:
    made = table(100, instances=2)
    twice(made)
    made.lose(0)
    assert [(o.lease.first, o.instance) for o in made.open_leases] == [(0, 1)] and made.pending == [(4, 100)]
    made.lose(1)
    assert made.pending[0] == (0, 4)


def test_the_copy_that_is_divided_first_wins() -> None:
    made = table(100, instances=2)
    first, second = twice(made)
    assert made.split(1, second, [(0, 1), (1, 4)]) == [0]
    assert made.split(0, first, [(0, 1), (1, 4)]) is None
    assert made.commit(0, 1, 1, 2.0, instance=0), "whichever copy an exact range comes from"


def test_of_two_copies_one_that_gives_a_tail_back_is_withdrawn() -> None:
    made = table(100, instances=2)
    twice(made)
    assert made.cut(0, 0, 4, 1, 2, 2.0) is None
    assert made.commit(0, 2, 1, 2.0, instance=0) is None and made.commit(0, 4, 1, 2.0, instance=1)


def test_leases_that_only_wait_for_a_retry_do_not_keep_an_instance_from_more() -> None:
    made = table(1000)
    for _ in range(2):
        lease = lent(made)
        made.note(0, [LeaseProgress(first=lease.first, end=lease.end, final_count=3, unstarted_count=0, is_held=True)])
    assert made.lend(0, 0.0) and made.lend(0, 0.0) and made.lend(0, 0.0) is None


# ---- suspects --------------------------------------------------------------------------------------------------


def test_what_was_in_flight_is_lent_alone_to_an_instance_that_holds_nothing_else() -> None:
    made = table(100, instances=1)
    lent(made)
    made.lose(0, {2})
    made.join(1, 2)
    alone = lent(made, 1)
    assert (alone.first, alone.end) == (2, 3)
    assert made.lend(1, 0.0) is None, "and is lent nothing else meanwhile"
    assert made.commit(2, 3, 1, 1.0)
    assert [(o.first, o.end) for o in (lent(made, 1), lent(made, 1))] == [(0, 2), (3, 4)]


def test_a_suspect_waits_until_an_instance_is_free_while_the_others_go_on() -> None:
    made = table(1000, instances=3)
    lost = lent(made, 0)
    busy = [lent(made, 1), lent(made, 2)]
    made.lose(0, {lost.first})
    assert made.lend(1, 0.0) is None, "it is kept free for the suspect"
    assert made.lend(2, 0.0) is not None
    assert made.commit(busy[0].first, busy[0].end, 1, 1.0)
    assert lent(made, 1).end == lost.first + 1


def test_a_suspect_lost_twice_more_is_charged_and_counts_as_committed() -> None:
    made = table(10, instances=1)
    lent(made)
    made.lose(0, {1})
    for instance in (1, 2):
        made.join(instance, 2)
        alone = lent(made, instance)
        assert (alone.first, alone.end) == (1, 2)
        loss = made.lose(instance, {1})
        assert [(held.first, held.end) for held in loss.charged] == ([] if instance == 1 else [(1, 2)])
    assert made.committed_count == 1 and (1, 2) not in made.pending


def test_an_instance_that_was_lost_before_it_began_or_with_the_suspect_done_charges_nothing() -> None:
    made = table(10, instances=1)
    lent(made)
    made.lose(0, {1})
    for instance in range(1, 9):
        made.join(instance, 2)
        lent(made, instance)
        if instance % 2:
            assert not made.lose(instance, {1}, counts=False).charged
        else:
            made.note(instance, [LeaseProgress(first=1, end=2, final_count=1, unstarted_count=0)])
            assert not made.lose(instance, {1}).charged


def test_a_suspect_waits_for_an_instance_to_be_ready() -> None:
    made = table(10, instances=1)
    lent(made)
    made.lose(0, {1})
    made.join(1, 2, is_ready=False)
    assert made.lend(1, 0.0) is None
    made.join(1, 2)
    assert lent(made, 1).first == 1


def test_a_lease_that_is_lost_too_often_is_lent_one_mini_batch_at_a_time() -> None:
    made = table(4, instances=0)
    for instance in range(INFRASTRUCTURE_LOSSES + 1):
        made.join(instance, 2)
        assert (lease := lent(made, instance)).end == 4 and lease.lending == instance
        made.lose(instance)
    made.join(99, 2)
    assert [(lease.first, lease.end) for lease in iter(lambda: made.lend(99, 0.0), None)] == [(0, 1)]


def test_a_long_lease_that_is_lost_too_often_is_lent_in_smaller_and_smaller_pieces() -> None:
    made = table(16 * LONE_LIMIT * 10, instances=0)
    sizes = []
    for instance in range(INFRASTRUCTURE_LOSSES + 4):
        made.join(instance, 2)
        made.holders[instance].pace.ended(10**6, 0.0, 1e-3)
        lease = lent(made, instance)
        sizes.append(lease.end - lease.first)
        made.lose(instance)
    assert sizes[: INFRASTRUCTURE_LOSSES + 1] == [sizes[0]] * (INFRASTRUCTURE_LOSSES + 1)
    assert sizes[INFRASTRUCTURE_LOSSES + 1 :] == [sizes[0] // 16, sizes[0] // 256, 1]


# ---- mends -----------------------------------------------------------------------------------------------------


def items(mini_batch: int, first: int = 0, count: int = 1) -> ItemRange:
    return ItemRange(mini_batch=mini_batch, first_item=first, item_count=count)


def mending(total: int, committed: list[tuple[int, int]], ranges: list[ItemRange]) -> LeaseTable:
    made = table(total)
    made.restore(committed)
    made.mend(ranges)
    return made


def test_mends_are_lent_first_as_leases_with_ranges_that_span_them() -> None:
    made = mending(100, [(0, 10)], [items(7), items(2, 4), items(2, 0, 3)])
    lease = lent(made)
    assert (lease.first, lease.end) == (2, 8)
    assert lease.ranges == (items(2, 0, 3), items(2, 4), items(7))
    assert lent(made).ranges == ()
    assert not made.is_finished and made.mending_count == 3
    assert made.commit(2, 8, 1, 1.0) and made.mending_count == 0 and made.committed_count == 10


def test_a_table_is_finished_when_the_mends_are() -> None:
    made = mending(10, [(0, 10)], [items(3)])
    assert not made.is_finished
    lease = lent(made)
    made.lose(0)
    made.join(1, 2)
    again = lent(made, 1)
    assert again.ranges == lease.ranges and again.lending == lease.lending + 1
    assert made.commit(3, 4, 1, 1.0) and made.is_finished


def test_ranges_of_one_mini_batch_are_never_parted_and_leases_never_overlap() -> None:
    many = [items(n, at) for n in range(50) for at in range(60)]
    made = mending(1000, [(0, 50)], many)
    found = []
    while made.mending_count:
        lease = lent(made)
        assert len(lease.ranges) <= MEND_LIMIT + 60
        found.append(lease)
        made.commit(lease.first, lease.end, 1, 1.0)
    assert [one for lease in found for one in lease.ranges] == many
    assert all(a.end <= b.first for a, b in itertools.pairwise(found))


def test_mends_never_span_what_is_pending() -> None:
    made = mending(30, [(0, 10), (20, 30)], [items(9), items(21)])
    assert [(lease.first, lease.end) for lease in (lent(made), lent(made))] == [(9, 10), (21, 22)]


def test_a_mend_in_flight_at_a_loss_is_lent_alone_and_charged_in_the_end() -> None:
    made = mending(10, [(0, 10)], [items(3), items(5, 2), items(5, 4)])
    lent(made)
    made.lose(0, {5, 4})
    for instance in (1, 2):
        made.join(instance, 2)
        alone = lent(made, instance)
        assert alone.ranges == (items(5, 2), items(5, 4)) and (alone.first, alone.end) == (5, 6)
        loss = made.lose(instance, {5})
    assert [held.ranges for held in loss.charged] == [(items(5, 2), items(5, 4))]
    made.join(3, 2)
    assert lent(made, 3).ranges == (items(3),) and made.mending_count == 1


@given(st.data())
def test_nothing_is_lost_or_doubled_whatever_happens(data: st.DataObject) -> None:
    total = data.draw(st.integers(1, 200))
    made = table(total, instances=3)
    alive, committed, now = {0, 1, 2}, set[int](), 0.0
    for _ in range(data.draw(st.integers(0, 60))):
        now += 0.1
        action = data.draw(st.sampled_from(["lend", "commit", "lose", "join", "split"]))
        instance = data.draw(st.integers(0, 2))
        held = [o for o in made.open_leases if o.instance == instance]
        if action == "lend":
            made.lend(instance, now)
        elif action == "lose":
            alive.discard(instance)
            made.lose(instance)
        elif action == "join" and instance not in alive:
            alive.add(instance)
            made.join(instance, 2)
        elif action == "commit" and held:
            lease = data.draw(st.sampled_from(held)).lease
            assert made.commit(lease.first, lease.end, 1, now)
            numbers = set(range(lease.first, lease.end))
            assert not numbers & committed
            committed |= numbers
        elif action == "split" and held:
            lease = data.draw(st.sampled_from(held)).lease
            if lease.end - lease.first > 1:
                cut = data.draw(st.integers(lease.first + 1, lease.end - 1))
                assert made.split(instance, lease, [(lease.first, cut), (cut, lease.end)]) == []
        open_numbers = [n for o in made.open_leases for n in range(o.lease.first, o.lease.end)]
        assert len(open_numbers) == len(set(open_numbers)) and not set(open_numbers) & committed
        assert made.committed_count == len(committed)
        assert made.pending_count + len(open_numbers) + len(committed) == total
