"""Options of the table, and the variables that set options."""

from __future__ import annotations

import click
import pytest

from dcmweb.cli.app import cli
from dcmweb.cli.options import in_force
from dcmweb.settings.options import OPTIONS, Kind


def test_every_option_but_that_of_a_part_has_a_variable() -> None:
    for name, command in cli.commands.items():
        for parameter in command.params:
            if isinstance(parameter, click.Option) and parameter.name != "shard":
                assert str(parameter.envvar).startswith("DCMWEB_"), (name, parameter.opts)


def test_the_table_has_each_name_and_field_once() -> None:
    assert len({option.name for option in OPTIONS}) == len(OPTIONS)
    assert len({option.short for option in OPTIONS if option.short}) == 2
    fields = [option.field for option in OPTIONS if option.field]
    assert len(set(fields)) == len(fields)


def test_values_in_a_variable_are_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values of an option that can be given several times may have spaces in them."""
    monkeypatch.setenv("DCMWEB_HEADER", "X-One: a b\n\nX-Two: c\n")
    monkeypatch.setenv("DCMWEB_SCOPE", "one two")
    search = cli.commands["search"]
    ctx = search.make_context("search", [], resilient_parsing=True)
    assert ctx.params["header"] == ("X-One: a b", "X-Two: c")
    assert ctx.params["scope"] == ("one two",)


def test_a_number_of_retries_may_be_none() -> None:
    from dcmweb.cli.console import Console
    from dcmweb.cli.options import Invocation

    search = cli.commands["search"]
    ctx = search.make_context("search", ["--retries", "0"], obj=Invocation(Console()))
    shared = {option.key: ctx.params.get(option.key) for option in OPTIONS}
    assert in_force(ctx, shared) == {"retries": 0}


def test_flags_are_either_given_or_not() -> None:
    for option in OPTIONS:
        assert (option.kind is Kind.FLAG) == (not option.metavar), option.name
