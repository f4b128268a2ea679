"""A few requests of each kind, the same in each run: `python -m tests.api` makes many."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from schemathesis import GenerationMode

from tests.api.requests import Asking, operations
from tests.functional import archives

OPERATIONS = [one for one in operations() if one.method != "head"]
FEW = 3


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    with archives.running(
        tmp_path_factory.mktemp("api") / "served", "--page-can-delete"
    ) as archive:
        yield Asking(archive)


@pytest.mark.parametrize("number", range(len(OPERATIONS)), ids=lambda n: str(OPERATIONS[n].label))
def test_answers_are_as_described(asking: Asking, number: int) -> None:
    # What does not fit takes longer to make: half of the routes have it in turn.
    modes = list(GenerationMode)[: 1 + number % 2]
    asking.ask_all(OPERATIONS[number], FEW, 1, modes)
