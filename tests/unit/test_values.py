"""Frozen values that are made quickly: the same in all else."""

from __future__ import annotations

import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, replace
from typing import Any

import pytest

from dcmweb.dicom.part10 import Identity, LocalInstance
from dcmweb.dicom.resources import Resource
from dcmweb.sources import Found
from dcmweb.transactions.store.metadata_instance import MetadataInstance
from dcmweb.transfer.outcomes import Outcome, Status
from dcmweb.values import quickly_made


@dataclass(frozen=True)
class Plain:
    a: int
    b: str = "b"
    c: object = field(default=None, compare=False)
    d: int = field(default=4, kw_only=True)


@quickly_made
@dataclass(frozen=True)
class Quick:
    a: int
    b: str = "b"
    c: object = field(default=None, compare=False)
    d: int = field(default=4, kw_only=True)


def test_a_value_is_what_a_frozen_dataclass_is() -> None:
    plain, quick = Plain(1, "x", d=5), Quick(1, "x", d=5)
    assert repr(quick) == repr(plain).replace("Plain", "Quick")
    assert quick == Quick(1, "x", object(), d=5) != Quick(1, "x")
    assert hash(quick) == hash(plain)
    assert vars(quick) == vars(plain)
    assert replace(quick, a=2) == Quick(2, "x", d=5)
    assert pickle.loads(pickle.dumps(quick)) == quick
    assert str(inspect.signature(Quick)) == str(inspect.signature(Plain))


def test_a_value_cannot_be_changed() -> None:
    instance = LocalInstance("a", 1, 2, Identity("1", Resource()))
    for one in (Quick(1), Outcome(Status.STORED, "a"), Found("a"), Resource("1"), instance):
        name = next(iter(vars(one)))
        with pytest.raises(FrozenInstanceError):
            setattr(one, name, "other")
        with pytest.raises(FrozenInstanceError):
            delattr(one, name)


def test_what_is_not_given_or_given_twice_is_refused() -> None:
    make: Any = Quick
    for given, by_name in (((), {}), ((1,), {"a": 1}), ((1, "", None, 4), {}), ((1,), {"x": 1})):
        with pytest.raises(TypeError):
            make(*given, **by_name)


def test_a_subclass_has_the_fields_of_both() -> None:
    identity = Identity("1", Resource())
    one = MetadataInstance("a", 1, 2, identity, dataset={}, target="x")
    assert (one.path, one.size, one.content, one.target) == ("a", 1, None, "x")


def test_what_is_made_in_a_way_of_its_own_is_refused() -> None:
    @dataclass(frozen=True)
    class Made:
        a: list[int] = field(default_factory=list)

    with pytest.raises(TypeError, match="Made is made"):
        quickly_made(Made)
