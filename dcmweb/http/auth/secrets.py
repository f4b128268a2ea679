"""Reads secrets from where they are kept: a variable, a file, a pipe, the output of a command."""

from __future__ import annotations

import atexit
import os
import subprocess

from dcmweb.errors import AuthError, LocalError, UsageError
from dcmweb.settings import Secret
from dcmweb.settings.credentials import is_left_out
from dcmweb.user_text import decode_text, read_text

COMMAND_TIME = 120.0  # seconds; some wait for a person
_LONGEST_REASON = 200


class SecretReader:
    """Reads one secret, again when asked to; keeps what can be read only once, such as a pipe."""

    def __init__(self, secret: Secret) -> None:
        self.secret = secret
        self._is_file = os.path.isfile(secret.file)
        self._kept: str | None = None

    @property
    def origin(self) -> str:
        """Where the secret comes from, for messages."""
        secret = self.secret
        if secret.command:
            return f"the command of --{secret.option}-command"
        return secret.file or (secret.option if secret.value else secret.variable)

    def read(self) -> str:
        """Read the secret, without the white space around it.

        Raises UsageError if it is nowhere, AuthError if it cannot be read.
        """
        secret = self.secret
        if secret.value:
            return secret.value
        if secret.file:
            return self._of_file()
        if secret.command:
            return run_command(secret.command, self.origin, errors=_errors(secret)).strip()
        if secret.variable in os.environ:
            return os.environ[secret.variable]
        raise UsageError(
            f"there is no {secret.option.replace('-', ' ')}",
            f"set {secret.variable}, or give --{secret.option}-file or --{secret.option}-command",
        )

    def _of_file(self) -> str:
        file, words = self.secret.file, self.secret.option.replace("-", " ")
        if self._kept is None or self._is_file:
            try:
                self._kept = read_text(file, errors=_errors(self.secret)).strip()
            except LocalError as error:
                said = f"{file} does not hold a {words}: " if error.hint else f"no {words}: "
                raise AuthError(f"{said}{error.message}", error.hint) from None
        return self._kept


def _errors(secret: Secret) -> str:
    """Return what is to be done with bytes that are not UTF-8: a password is sent as it is."""
    return "surrogateescape" if secret.name == "password" else "strict"


def run_command(command: str, name: str, *, errors: str = "strict") -> str:
    """Run a command of the user in a shell, and return what it prints.

    `name` is what it is called in errors. What it prints to stderr is shown. Raises AuthError.
    """
    try:
        code, printed = _run(command)
    except subprocess.TimeoutExpired:
        raise AuthError(f"{name} did not end within {COMMAND_TIME:g} s") from None
    except OSError as error:
        raise AuthError(f"{name} cannot be run: {error.strerror}") from None
    if code:
        raise AuthError(f"{name} ended with exit code {code}", "run it by hand to see why")
    try:
        text = decode_text(printed, name, errors=errors)
    except LocalError as error:
        raise AuthError(error.message) from None
    if not text.strip():
        raise AuthError(f"{name} printed nothing", "run it by hand to see why")
    return text


def _run(command: str) -> tuple[int, bytes]:
    """Run a command; end it if it takes too long, or if this process ends before it does."""
    process = subprocess.Popen(  # noqa: S602 - the user wrote it, as a line of a shell
        command, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    with process:
        _running.add(process)
        try:
            printed, _ = process.communicate(timeout=COMMAND_TIME)
        except BaseException:
            process.kill()
            raise
        finally:
            _running.discard(process)
    return process.returncode, printed


_running: set[subprocess.Popen[bytes]] = set()


@atexit.register
def _end_all() -> None:
    """End the commands that threads wait for: else they would keep stderr open after a stop."""
    for process in list(_running):
        process.kill()


def read_reference(value: str, name: str) -> str:
    """Return a value, or what it refers to: `@FILE` a file, `$NAME` a variable.

    `name` is what it is called in errors. Raises UsageError.
    """
    if is_left_out(value):
        raise UsageError(
            f"the value of {name} was not handed to this process",
            "give it as @FILE or $NAME, which are read where they are needed",
        )
    if value.startswith("@") and len(value) > 1:
        try:
            return read_text(value[1:]).strip()
        except LocalError as error:
            raise UsageError(f"{name}: {error.message}", error.hint) from None
    if value.startswith("$") and len(value) > 1:
        variable = value[1:].strip("{}")
        if variable not in os.environ:
            raise UsageError(f"{name}: the variable {variable} is not set")
        return os.environ[variable].strip()
    return value
