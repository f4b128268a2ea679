"""Examples of the help: whole command lines, to be pasted. Tests run them."""

from __future__ import annotations

import re
from typing import NamedTuple

# What stands for them in the examples below.
_SERVERS = {"URL": "http://localhost:8042/dicom-web", "OTHER": "http://localhost:8043/dicom-web"}


class Example(NamedTuple):
    """A command line, and what it does."""

    line: str
    meaning: str


def _with_server(**examples: tuple[tuple[str, str], ...]) -> dict[str, tuple[Example, ...]]:
    """Put the URLs of servers into examples."""
    return {
        name: tuple(
            Example(re.sub(r"\b(?:URL|OTHER)\b", lambda found: _SERVERS[found[0]], line), meaning)
            for line, meaning in given
        )
        for name, given in examples.items()
    }


EXAMPLES: dict[str, tuple[Example, ...]] = _with_server(
    **{
        "": (
            ("dcmweb URL ping", "Look whether a server is there, and what it offers"),
            ("dcmweb URL store ./images", "Store all files below a folder"),
            ("dcmweb URL search studies 'PatientName=Doe*'", "Search for studies"),
            ("dcmweb URL retrieve studies/1.2.3 --output ./data", "Retrieve a study"),
            ("dcmweb demo", "See all commands at work, without a server"),
        ),
        "store": (
            ("dcmweb URL store image.dcm", "Store one file"),
            ("dcmweb -m URL store ./images", "Store all files below a folder, in parallel"),
            ("dcmweb URL store './*'", "Store the files in this folder only"),
            ("dcmweb URL store './**.dcm'", "Store the files below it as well"),
            ("dcmweb URL store images.zip '*.tgz'", "Store what is in ZIP and tar archives"),
            (
                "dcmweb URL store ./images --newer-than 24h --exclude 'thumbs/'",
                "Store what changed since yesterday, except for some folders",
            ),
            (
                "dcmweb URL store ./images --manifest images.ndjson --verify",
                "Store what is not done yet, and ask the server afterwards",
            ),
            (
                "dcmweb URL store --metadata instance.json image.jpg",
                "Store an instance made of metadata and an image",
            ),
        ),
        "search": (
            ("dcmweb URL search", "Print the studies, as DICOM JSON"),
            (
                "dcmweb URL search studies 'PatientName=Doe*' limit=10",
                "Print the first 10 studies of these patients",
            ),
            ("dcmweb URL search series Modality=CT --all --format table", "Print a table"),
            (
                "dcmweb URL search studies StudyDate=2024-01-01..2024-03-31 --format uids",
                "Print paths, for retrieve, copy and delete",
            ),
            ("dcmweb URL search studies/1.2.3/series 'limit=1&offset=2'", "Print the third series"),
        ),
        "retrieve": (
            ("dcmweb URL retrieve studies/1.2.3 --output ./data", "Retrieve a study"),
            (
                "dcmweb URL retrieve studies/1.2.3/series/4.5.6 --type image/png -o ./pictures",
                "Retrieve a series as pictures",
            ),
            (
                "dcmweb URL retrieve studies/1.2.3/series/4.5.6/instances/7.8.9/frames/1 "
                "-o ./frames",
                "Retrieve a frame as it is stored",
            ),
            (
                "dcmweb URL retrieve studies/1.2.3/series/4.5.6/instances/7.8.9/rendered -o - "
                "> image.jpg",
                "Render an instance, and write it to stdout",
            ),
            ("dcmweb URL retrieve studies/1.2.3/metadata", "Print metadata"),
            (
                "dcmweb URL retrieve --contact-sheet sheet.html",
                "Look at one picture of each series; save nothing else",
            ),
            (
                "dcmweb URL search studies ModalitiesInStudy=CT --format uids | "
                "dcmweb URL retrieve - --output ./found",
                "Retrieve what a search found",
            ),
        ),
        "delete": (
            ("dcmweb URL delete studies/1.2.3 studies/4.5.6 --dry-run", "Print what would go"),
            ("dcmweb URL delete studies/1.2.3/series/4.5.6", "Delete a series"),
            ("dcmweb URL delete - --yes < paths.txt", "Delete what is in a list"),
            (
                "dcmweb URL delete studies/1.2.3 --no-wait > operations.txt",
                "Do not wait for what the server starts",
            ),
        ),
        "copy": (
            (
                "dcmweb URL copy studies/1.2.3 OTHER --verify",
                "Copy a study, and ask the destination afterwards",
            ),
            (
                "dcmweb -m URL copy OTHER --manifest copied.ndjson",
                "Copy the whole store, but for what is copied already",
            ),
            ("dcmweb URL copy - OTHER < paths.txt", "Copy what is in a list"),
        ),
        "check": (
            ("dcmweb URL check ./images", "Compare with a folder"),
            ("dcmweb URL check ./images studies/1.2.3 --bytes", "Compare one study by contents"),
            ("dcmweb URL check images.ndjson --one-way", "Compare with a manifest"),
            ("dcmweb URL check OTHER --thorough", "Compare with another server, by UIDs"),
            (
                "dcmweb URL check ./images --format paths | dcmweb URL store --files-from -",
                "Store what is missing",
            ),
            (
                "dcmweb URL check ./images --show extra --format uids | "
                "dcmweb URL retrieve - -o ./images",
                "Retrieve what is not in the folder",
            ),
        ),
        "wait": (
            ("dcmweb URL wait - < operations.txt", "Wait for what `delete --no-wait` printed"),
            (
                "dcmweb URL wait projects/P/locations/L/datasets/D/operations/1",
                "Wait for one operation",
            ),
        ),
        "ping": (
            ("dcmweb URL ping", "Try the connection, the credentials and each service"),
            ("dcmweb URL ping --write-test", "Also store, retrieve and delete an instance"),
            ("dcmweb URL ping --json", "Print one JSON object"),
        ),
        "config": (
            (
                "dcmweb config add hospital URL --user archive --password-file ./password",
                "Give a server a name",
            ),
            ("dcmweb @hospital search studies", "Use it"),
            ("dcmweb config show hospital", "Print what is in force, and where it comes from"),
        ),
        "config add": (
            ("dcmweb config add hospital URL --workers 4", "Add a profile"),
            ("dcmweb @hospital ping", "Try it"),
        ),
        "config set": (
            ("dcmweb config set hospital workers 8", "Change an option"),
            (
                "dcmweb config set hospital header 'X-Api-Key: @/run/secrets/key'",
                "Send a header field with each request",
            ),
            ("dcmweb config set hospital password < password", "Keep a password"),
        ),
        "config unset": (("dcmweb config unset hospital workers", "Remove an option"),),
        "manifest": (
            ("dcmweb manifest images.ndjson", "Print what the runs of a manifest came to"),
            ("dcmweb manifest images.ndjson --failed > failed.txt", "List what failed"),
        ),
        "report": (
            ("dcmweb report images.ndjson -o run.html", "Make a page of the runs of a manifest"),
            ("dcmweb report images.ndjson --with-paths > run.html", "Name the files that failed"),
        ),
        "serve": (
            ("dcmweb serve ./images", "Serve a folder at http://127.0.0.1:8080/dicomweb"),
            ("dcmweb serve ./images --port 0 --user demo:secret", "Require a password"),
            (
                "dcmweb serve ./images --port 0 -- sh -c 'dcmweb \"$DCMWEB_URL\" search'",
                "Serve it while a command runs",
            ),
        ),
        "help": (
            ("dcmweb help store", "Show the help of a command"),
            ("dcmweb help options", "Show the options that commands share"),
        ),
        "completion": (
            ('eval "$(dcmweb completion bash)"', "For bash, in ~/.bashrc"),
            ('eval "$(dcmweb completion zsh)"', "For zsh, in ~/.zshrc, after compinit"),
            ("dcmweb completion fish | source", "For fish, in ~/.config/fish/config.fish"),
            (
                "dcmweb completion powershell | Out-String | Invoke-Expression",
                "For PowerShell, in $PROFILE",
            ),
        ),
    }
)
