"""Signals, as far as systems differ in them."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from dcmweb.cli.app import _install_signal_handlers
from dcmweb.cli.console import Console
from dcmweb.cli.options import Invocation
from dcmweb.errors import Interrupted


@pytest.fixture
def handlers() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGUSR1", signal.SIGTERM))
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="there is no signal to stand in for it")
@pytest.mark.usefixtures("handlers")
def test_ctrl_break_stops_a_run_as_sigterm_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "SIGBREAK", signal.SIGUSR1, raising=False)
    _install_signal_handlers(Invocation(Console()))
    with pytest.raises(Interrupted) as caught:
        signal.raise_signal(signal.SIGUSR1)
    assert caught.value.exit_code == 143
