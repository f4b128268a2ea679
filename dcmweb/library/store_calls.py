"""The calls of a client that store."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Literal

from dcmweb.errors import UsageError
from dcmweb.library.arguments import (
    AnyMetadata,
    AnyPath,
    Paths,
    member,
    read_listed,
    read_listed_again,
    read_metadata,
    read_paths,
)
from dcmweb.library.base import ClientBase
from dcmweb.library.runs import Transfer
from dcmweb.transactions.on_error import OnError
from dcmweb.transfer.outcomes import IsDone, Outcomes, Status

if TYPE_CHECKING:
    from dcmweb.library.on import Begin
    from dcmweb.transactions.context import RunContext
    from dcmweb.transactions.store.selection import Selection

WhatIfExists = Literal["skip", "replace", "fail"]
HowSorted = Literal["", "path", "newest", "oldest", "largest", "smallest"]
WhatOnError = OnError | Literal["outcome", "raise"]


class StoreCalls(ClientBase):
    """The Store transaction (PS3.18 section 10.5), as methods of a client."""

    def store(
        self,
        paths: Paths,
        *,
        listed: Iterable[AnyPath] = (),
        verify: bool = False,
        dry_run: bool = False,
        storage_class: str = "",
        if_exists: WhatIfExists = "skip",
        orthanc_api: str = "",
        include: Iterable[str] = (),
        exclude: Iterable[str] = (),
        newer_than: str = "",
        sort: HowSorted = "",
        shard: str = "",
        manifest: AnyPath = "",
        on: str = "",
        on_error: WhatOnError = OnError.OUTCOME,
    ) -> Transfer:
        """Store DICOM files as they are (PS3.18 section 10.5); yields the outcome of each file.

        `paths` are files, folders, archives, masks with `*`, `?`, `[...]` and `**`, and all of
        these in buckets (`s3://`, `gs://`, `az://`);
        `listed` are files and folders in which no character has a meaning of its own. `verify`
        asks the server afterwards whether it lists every instance. `dry_run` sends nothing.
        `storage_class` is that of Google Cloud Healthcare. An instance that the server has is
        skipped, replaced where the bytes differ, or a failure, as `if_exists` says; where Orthanc
        has to delete it first, `orthanc_api` is the URL of its REST API, or "auto".

        Of the files, those are stored whose path one of the masks `include` matches, if there are
        any, and none of `exclude`; a mask without a slash is for their names. `newer_than` is an
        age (24h, 7d) or a date (2026-11-01). `sort` stores them by path, newest, oldest, largest or
        smallest first. `shard`, as I/N, stores the files of one part of the folders; all parts
        together are everything. Outcomes are recorded in the file `manifest`, and what it says is
        done is not done again.
        `on` has worker processes do it, here ("local", "local:4") or on a cluster
        ("tls://host:8786", a scheduler file); see docs/scale.md.

        The run raises NothingMatched if no files are found.
        """
        from dcmweb.transactions.store.options import IfExists, StoreOptions
        from dcmweb.transactions.store.run import files_of, store

        options = StoreOptions(
            dry_run=dry_run,
            verify=verify,
            storage_class=storage_class,
            if_exists=member(IfExists, if_exists, "if_exists"),
            orthanc_api=orthanc_api,
            shard=shard,
            selection=_selection(include, exclude, newer_than, sort),
            on_error=member(OnError, on_error, "on_error"),
        )
        masks, files = read_paths(paths), read_listed(listed)
        if not masks and isinstance(listed, Collection) and not listed:
            raise UsageError("there is nothing to store", "name files, folders or masks")

        def plain(context: RunContext, is_done: IsDone) -> Outcomes:
            return store(context, masks, files, is_done, options)

        def count(context: RunContext) -> Iterator[tuple[int, int] | None]:
            from dcmweb.transactions.store.count_ahead import count_files  # of long runs only

            return count_files(context, masks, read_listed_again(listed), options)

        begin: Begin = plain
        if on:
            from dcmweb.library.on import On, store_on

            make_files = partial(files_of, masks, files, options, self._on_note)
            place = On(on, self.profile)
            begin = store_on(place, make_files, options, plain, has_manifest=bool(manifest))
        return self._transfer(
            "store()",
            begin,
            Status.PLANNED if dry_run else Status.STORED,
            self._manifest("store", manifest, writes=not dry_run, shard=shard),
            count,
        )

    def store_metadata(
        self,
        metadata: AnyMetadata,
        paths: Paths = (),
        *,
        listed: Iterable[AnyPath] = (),
        verify: bool = False,
        dry_run: bool = False,
        storage_class: str = "",
        if_exists: WhatIfExists = "skip",
        orthanc_api: str = "",
        manifest: AnyPath = "",
    ) -> Transfer:
        """Store instances made of metadata (PS3.18 section 10.5.1), and of images or PDFs.

        `metadata` is a file of DICOM JSON, or data sets of its model: one for all files, or one
        for each. What it leaves out comes from the files. All else is as for `store`. The run
        raises UsageError, and sends nothing, where anything is wrong with the input.
        """
        from dcmweb.transactions.store.options import IfExists, StoreOptions
        from dcmweb.transactions.store.run import store_metadata

        options = StoreOptions(
            dry_run=dry_run,
            verify=verify,
            storage_class=storage_class,
            if_exists=member(IfExists, if_exists, "if_exists"),
            orthanc_api=orthanc_api,
        )
        given, masks = read_metadata(metadata), read_paths(paths)
        files = read_listed(listed)
        return self._transfer(
            "store_metadata()",
            lambda context, done: store_metadata(context, given, masks, files, done, options),
            Status.PLANNED if dry_run else Status.STORED,
            self._manifest("store", manifest, writes=not dry_run),
        )


def _selection(
    include: Iterable[str], exclude: Iterable[str], newer_than: str, sort: HowSorted
) -> Selection | None:
    """Make the rules for which files to store; None where there are none."""
    masks, not_these = tuple(include), tuple(exclude)
    if not (masks or not_these or newer_than or sort):
        return None
    from dcmweb.transactions.store.selection import Order, Selection

    order = member(Order, sort, "sort") if sort else None
    return Selection(include=masks, exclude=not_these, newer_than=newer_than, order=order)
