"""Units, and how they are divided after a loss."""

from __future__ import annotations

from dcmweb.transfer.unit import FIRST_ITEMS, MOST_ITEMS, MOST_TRIES, Growing, Unit


def test_parts_have_the_names_of_their_items() -> None:
    unit = Unit(items=("a", "b", "c"), names=("/a", "/b", "/c"), named=False)
    part = unit.only(("c", "a"))
    assert part.names == ("/c", "/a")
    assert not part.named


def test_a_target_whose_items_are_not_known_is_tried_as_a_whole() -> None:
    unit, tries = Unit(target="studies/1"), 0
    while unit is not None:
        tries += 1
        assert unit.items_to_do == unit.accounts_for == ("studies/1",)
        (unit,) = tuple(unit.after_loss(was_running=True)) or (None,)  # type: ignore[assignment]
    assert tries == 3


def test_a_series_that_is_lost_goes_on_as_instances() -> None:
    unit = Unit(items=("i/1", "i/2", "i/3"), target="series/1")
    assert unit.items_to_do == ("series/1",)
    (again,) = unit.after_loss(was_running=True)
    assert again.items_to_do == ("series/1",)
    parts = list(again.after_loss(was_running=True))
    assert [part.items_to_do for part in parts] == [("i/1", "i/2"), ("i/3",)]


def test_waiting_at_lost_workers_comes_to_an_end() -> None:
    unit, tries = [Unit(items=("a", "b"))], 0
    while unit:
        tries += 1
        unit = list(unit[0].after_loss(was_running=False))
    assert tries == MOST_TRIES


def test_units_grow_once_each_worker_has_some() -> None:
    growing = Growing(2)
    sizes = []
    for _ in range(20):
        sizes.append(growing.most)
        growing.note()
    assert sizes[0] == FIRST_ITEMS
    assert sizes == sorted(sizes)
    assert sizes[-1] == MOST_ITEMS
