"""The shells: the script of each, and how it asks for what a command line may go on with.

Click finds out which parameter is being written. Its own scripts take the words as a shell has
split them, and bash splits at each colon, so that no URL would be understood: ours hand over the
line up to the cursor instead.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

import click
from click.shell_completion import CompletionItem, ShellComplete

from dcmweb.cli.options import SHELL_VARIABLE

LINE = "_DCMWEB_LINE"  # the command line up to the cursor
NAME = "_DCMWEB_NAME"  # the first word of it, as it was typed
CURRENT = "_DCMWEB_CURRENT"  # what the shell takes as the word that it replaces

_BASH = """\
_dcmweb() {
    local type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames 2> /dev/null || COMPREPLY+=($(compgen -d -- "$2")) ;;
            file) compopt -o default 2> /dev/null || COMPREPLY+=($(compgen -f -- "$2")) ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(_DCMWEB_COMPLETE=bash _DCMWEB_NAME="$1" _DCMWEB_CURRENT="$2" \\
        _DCMWEB_LINE="${COMP_LINE:0:COMP_POINT}" "${1/#\\~/$HOME}" 2> /dev/null)
}
complete -o nosort -F _dcmweb dcmweb 2> /dev/null || complete -F _dcmweb dcmweb
"""

_ZSH = """\
#compdef dcmweb
_dcmweb() {
    local line type value about
    local -a plain described
    line="${(j: :)words[1,CURRENT-1]} $PREFIX"
    while IFS= read -r type && IFS= read -r value && IFS= read -r about; do
        case $type in
            dir) compset -P '--*='; _path_files -/ ;;
            file) compset -P '--*='; _path_files -f ;;
            plain)
                if [[ -n $about ]]; then
                    described+=("${value//:/\\\\:}:$about")
                else
                    plain+=("$value")
                fi ;;
        esac
    done < <(_DCMWEB_COMPLETE=zsh _DCMWEB_NAME="$words[1]" _DCMWEB_LINE="$line" \\
        "${words[1]/#\\~/$HOME}" 2> /dev/null)
    (( $#described )) && _describe -V dcmweb described -U
    (( $#plain )) && compadd -U -V dcmweb -a plain
    return 0
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _dcmweb "$@"; else compdef _dcmweb dcmweb; fi
"""

_FISH = """\
function __dcmweb_complete
    set -l line (commandline -cp)
    set -l name (string split -m 1 ' ' -- (string trim -l -- $line))[1]
    set -l lines (env _DCMWEB_COMPLETE=fish _DCMWEB_NAME=$name _DCMWEB_LINE=$line \\
        dcmweb 2> /dev/null)
    for item in $lines
        set -l parts (string split -m 1 ',' -- $item)
        set -l before (string match -r -- '^--[^=]*=' (commandline -ct))
        set -l word (string replace -r -- '^--[^=]*=' '' (commandline -ct))
        switch $parts[1]
            case dir
                for path in (__fish_complete_directories $word)
                    echo "$before$path"
                end
            case file
                for path in (__fish_complete_path $word)
                    echo "$before$path"
                end
            case plain
                echo $parts[2]
        end
    end
end
complete --no-files --command dcmweb --arguments '(__dcmweb_complete)'
"""

# Without an answer, PowerShell offers files by itself.
_POWERSHELL = """\
Register-ArgumentCompleter -Native -CommandName dcmweb -ScriptBlock {
    param($word, $ast, $cursor)
    $line = $ast.ToString()
    $length = $cursor - $ast.Extent.StartOffset
    $line = $line.PadRight($length).Substring(0, $length)
    $env:_DCMWEB_COMPLETE = 'powershell'
    $env:_DCMWEB_LINE = $line
    $env:_DCMWEB_NAME = $ast.CommandElements[0].ToString()
    try { $answer = @(& $ast.CommandElements[0].ToString() 2>$null) }
    finally { Remove-Item Env:_DCMWEB_COMPLETE, Env:_DCMWEB_LINE, Env:_DCMWEB_NAME }
    foreach ($item in $answer) {
        $type, $value, $about = $item -split "`t", 3
        if ($type -eq 'plain') {
            if (-not $about) { $about = $value }
            [System.Management.Automation.CompletionResult]::new(
                $value, $value, 'ParameterValue', $about)
        } else {
            $before = if ($word -match '^--[^=]*=') { $Matches[0] } else { '' }
            $pattern = $word.Substring($before.Length).Trim("'", '"') + '*'
            $only = $type -eq 'dir'
            Get-ChildItem -Path $pattern -Directory:$only -ErrorAction SilentlyContinue |
                ForEach-Object {
                    $path = Resolve-Path -LiteralPath $_.FullName -Relative
                    if ($path -match "[\\s'@]") { $path = "'" + $path.Replace("'", "''") + "'" }
                    [System.Management.Automation.CompletionResult]::new(
                        $before + $path, $_.Name, 'ProviderItem', $_.FullName)
                }
        }
    }
}
"""


class _OfLine(ShellComplete):
    """Completion from the command line up to the cursor."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the one that is being written, and that one."""
        line = os.environ.get(LINE, "")
        words = _words(line)
        is_begun = len(_words(f"{line}x")) == len(words)  # rather than about to begin
        current = words.pop() if is_begun and words else ""
        name = os.environ.get(NAME, "")
        start = words.index(name) + 1 if name in words else 1
        return words[start:], current

    def complete(self) -> str:
        """Return what to offer, a line for each in the form of the shell."""
        args, incomplete = self.get_completion_args()
        found = self.get_completions(list(args), incomplete)
        for item in found:
            if item.type == "plain":
                item.value = self.placed(str(item.value), incomplete)
        return "\n".join(map(self.format_completion, found))

    def placed(self, value: str, incomplete: str) -> str:
        """Return a value as it takes the place of the whole word."""
        return f"{_before(incomplete)}{value}"


class Bash(_OfLine):
    """Bash, from 3.2 on."""

    name = "bash"
    source_template = _BASH

    def placed(self, value: str, incomplete: str) -> str:
        """Return a value as it takes the place of what bash takes as the word."""
        current = os.environ.get(CURRENT, "")
        word = incomplete.removeprefix(_before(incomplete))
        kept = word[: len(word) - len(current)] if word.endswith(current) else ""
        return value.removeprefix(kept)

    def format_completion(self, item: CompletionItem) -> str:
        """Write the type and the value."""
        return f"{item.type},{item.value}"


class Zsh(_OfLine):
    """Zsh."""

    name = "zsh"
    source_template = _ZSH

    def format_completion(self, item: CompletionItem) -> str:
        """Write three lines: the type, the value, and what it means."""
        return f"{item.type}\n{item.value}\n{_about(item)}"


class Fish(_OfLine):
    """Fish."""

    name = "fish"
    source_template = _FISH

    def format_completion(self, item: CompletionItem) -> str:
        """Write the type, the value, and what it means behind a tab."""
        about = _about(item)
        return f"{item.type},{item.value}\t{about}" if about else f"{item.type},{item.value}"


class PowerShell(_OfLine):
    """PowerShell, where a word that begins with @ needs quotes."""

    name = "powershell"
    source_template = _POWERSHELL

    def format_completion(self, item: CompletionItem) -> str:
        """Write the type, the value and what it means, with tabs between them."""
        value = f"'{item.value}'" if str(item.value).startswith("@") else item.value
        return f"{item.type}\t{value}\t{_about(item)}"


_SHELLS: dict[str, type[_OfLine]] = {one.name: one for one in (Bash, Zsh, Fish, PowerShell)}


def script(shell: str) -> str:
    """Return the script of a shell."""
    return _SHELLS[shell].source_template.rstrip("\n")


def answer(cli: click.Command, shell: str, obj: Any) -> str:
    """Return what a shell offers; nothing where the command line is not understood.

    Errors would be written into the line that is being typed, so that there are none.
    """
    if shell not in _SHELLS:
        return ""
    with suppress(Exception):
        return _SHELLS[shell](cli, {"obj": obj}, "dcmweb", SHELL_VARIABLE).complete()
    return ""


def _words(line: str) -> list[str]:
    """Split a line into words, as shells do; the last one can lack the end of its quotes."""
    import shlex

    reader = shlex.shlex(line, posix=True)
    reader.whitespace_split = True
    reader.commenters = ""
    words: list[str] = []
    try:
        words.extend(reader)
    except ValueError:
        words.append(reader.token)
    return words


def _before(incomplete: str) -> str:
    """Return the option that a value follows in the same word, as in --format=table."""
    name, sign, _ = incomplete.partition("=")
    return f"{name}=" if sign and name.startswith("--") else ""


def _about(item: CompletionItem) -> str:
    return " ".join((item.help or "").split())
