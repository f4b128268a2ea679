"""The library: a client of one DICOMweb server, on which the command line is built."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.resources import Resource, Target
from dcmweb.errors import UsageError
from dcmweb.library.arguments import (
    AnyPath,
    Parameters,
    Resources,
    Targets,
    member,
    one_of,
    read_fields,
    read_limit,
    read_metadata_targets,
    read_operations,
    read_pairs,
    read_path,
    read_resources,
    read_targets,
)
from dcmweb.library.copy_calls import CopyCalls
from dcmweb.library.row_runs import Rows, SearchRows
from dcmweb.library.runs import OnProgress, Run, Transfer
from dcmweb.library.store_calls import StoreCalls, WhatOnError
from dcmweb.settings import ADAPTIVE_WORKERS, AuthScheme, Credentials, Settings
from dcmweb.transactions.on_error import OnError
from dcmweb.transfer.outcomes import IsDone, Outcome, Outcomes, Status

if TYPE_CHECKING:
    from dcmweb.library.on import Begin
    from dcmweb.library.other_side import OtherSide
    from dcmweb.transactions.context import RunContext
    from dcmweb.transactions.ping.finding import Finding
    from dcmweb.transfer.unit import Unit

# Each call imports its own transaction: start-up is paid by every command of a script.

_T = TypeVar("_T")


class Client(StoreCalls, CopyCalls):
    """A user agent of one origin server (PS3.18 section 3.6); safe to be used by many threads.

    Each call returns a run, which does nothing until it is iterated over or waited for. Runs share
    pooled connections and credentials, and nothing else: an error, or a loop that is broken off,
    ends its own run alone. Use the client in a `with` block: it closes the connections at its end,
    and raises UsageError if a run was never begun.

    Errors are those of `dcmweb.errors`. Wrong arguments are errors of the call itself.

    A target is what a call names: a path of the server, an operation, a file or mask. With
    `on_error="outcome"` the error of a target is its outcome, and the run goes on; with "raise" it
    is raised, and ends the run. The failure of something below a target, such as one
    instance of a study, is always an outcome. An error that no other target can escape, such as
    refused credentials or a full disk, always ends the run.
    """

    def __init__(
        self,
        base_url: str,
        *,
        user: str = "",
        password: str = "",
        token: str = "",
        token_file: AnyPath = "",
        auth: AuthScheme | str = AuthScheme.AUTO,
        cert: AnyPath = "",
        key: AnyPath = "",
        credentials: Credentials | None = None,
        workers: int | Literal["auto"] = 1,
        retries: int = Settings.retries,
        connect_timeout: float = Settings.connect_timeout,
        idle_timeout: float = Settings.idle_timeout,
        ca_bundle: AnyPath = "",
        insecure: bool = False,
        proxy: str = "",
        on_note: Callable[[str], None] | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        """Make a client of the service at `base_url`, such as http://localhost:8042/dicom-web.

        `user` and `password` are for basic authentication (RFC 7617), `token` or `token_file` for
        a bearer token (RFC 6750), `cert` and `key` are the files of a client certificate;
        `credentials` instead of all these are for all that there is. `auth` is a scheme, perhaps
        one that another package brings. Google's own credentials go to Google without being asked
        for.
        `workers` is how many requests a run has in flight, from 1 to 64; "auto" finds a good
        number, up to 20. `connect_timeout` is in seconds, and so is `idle_timeout`, the time
        without a byte in either direction, or with next to none. `proxy` is the URL of an HTTP
        or SOCKS proxy, in place of those of the environment.

        `on_note` is told, in words, what a user should know beside the outcomes; by default it is
        logged. `on_progress` is called with the progress of a run several times a second while
        somebody iterates over the run. Raises UsageError for what cannot be.
        """
        given = Credentials(
            scheme=auth,
            user=user,
            password=password,
            token=token,
            token_file=read_path(token_file, "token_file"),
            cert=read_path(cert, "cert"),
            key=read_path(key, "key"),
        )
        settings = Settings(
            base_url=base_url,
            credentials=one_of(credentials, given),
            workers=ADAPTIVE_WORKERS if workers == "auto" else workers,
            adapts=workers == "auto",
            limits_all=workers not in (1, "auto"),
            retries=retries,
            connect_timeout=connect_timeout,
            idle_timeout=idle_timeout,
            ca_bundle=read_path(ca_bundle, "ca_bundle"),
            insecure=insecure,
            proxy=proxy,
        )
        self._set_up(settings, on_note, on_progress, None)

    def search(
        self,
        path: str = "studies",
        parameters: Parameters = (),
        *,
        fields: str | Iterable[str] = (),
        limit: int | None = None,
        complete: bool = True,
        check: bool = True,
    ) -> SearchRows:
        """Search for studies, series or instances (PS3.18 section 10.6); yields a row for each.

        `path` is `studies`, `series`, `instances`, `studies/UID/series` and so on. `parameters`
        are keys and values, such as `{"PatientName": "Doe*", "StudyDate": "2024-01..2024-06"}`,
        pairs, or text as in a URL. `fields` are attributes to ask for, by keyword or tag.

        All rows come, or as many as `limit`, however the server pages; the run raises
        ProtocolError at the end if the server keeps some back. With `complete` off, at most the
        limit= among the parameters come, or 5000, and `has_more` says afterwards whether there
        are more. `check` compares keys with the dictionary and translates dates.
        """
        from dcmweb.dicom.dictionary import attributes
        from dcmweb.transactions.search.ignored_keys import noting_ignored_keys
        from dcmweb.transactions.search.parameters import checked_parameters
        from dcmweb.transactions.search.run import Search

        pairs, names, rows = read_pairs(parameters), read_fields(fields), read_limit(limit)
        if not isinstance(path, str):
            raise UsageError(f"{type(path).__name__} is not the type of a path")
        context = self._context()
        search = Search(
            context,
            path,
            checked_parameters(pairs) if check else pairs,
            rows=rows,
            every=complete and rows is None,
            fields=[".".join(one.tag for one in attributes(name)) for name in names],
        )
        begin = partial(noting_ignored_keys, search.by_page(), pairs, context.notify)
        return self._begun_later(SearchRows(search, begin, context.engine.meter, rows), context)

    def retrieve(
        self,
        paths: Targets | None = None,
        output: AnyPath = ".",
        *,
        media_type: str = "",
        layout: str = "",
        viewport: str = "",
        window: str = "",
        quality: int | None = None,
        skip_existing: bool = False,
        shard: str = "",
        dry_run: bool = False,
        manifest: AnyPath = "",
        on: str = "",
        on_error: WhatOnError = OnError.OUTCOME,
    ) -> Transfer:
        """Retrieve into the folder `output` (PS3.18 section 10.4); yields the outcome of each item.

        A place in a bucket, such as `s3://bucket/prefix`, is a folder too.
        `paths` name studies, series, instances and frames, such as `studies/1.2/series/3.4`, with
        /metadata, /rendered, /thumbnail or /bulkdata after them for another representation;
        None is the whole store, an empty list an error. Those of an iterator are read when needed.
        All other arguments but `manifest` and `on` are those of `RetrieveOptions`. Outcomes are
        recorded in the file `manifest`; what it says is done, and still has its file, is not done
        again. `on` has worker processes do it, as for `store`.
        """
        from dcmweb.transactions.retrieve.count_ahead import count_instances
        from dcmweb.transactions.retrieve.options import RetrieveOptions
        from dcmweb.transactions.retrieve.output import Destination
        from dcmweb.transactions.retrieve.run import retrieve

        how = RetrieveOptions(
            media_type=media_type,
            layout=layout,
            viewport=viewport,
            window=window,
            quality=quality,
            skip_existing=skip_existing,
            shard=shard,
            dry_run=dry_run,
            on_error=member(OnError, on_error, "on_error"),
        )
        targets = [Target()] if paths is None else read_targets(paths, self.settings.roots)
        if not (folder := read_path(output, "output")):
            raise UsageError("output is empty", "name a folder, or . for this one")

        def plain(context: RunContext, is_done: IsDone) -> Outcomes:
            destination = Destination.of(folder, how, is_done if manifest else None)
            return retrieve(context, targets, destination, how)

        begin: Begin = plain
        if on:
            from dcmweb.library.on import On, retrieve_on
            from dcmweb.transactions.retrieve.units import retrieve_units

            def units(context: RunContext, is_done: IsDone) -> Iterator[Unit | Outcome]:
                destination = Destination.of(folder, how, is_done if manifest else None)
                return retrieve_units(context, targets, destination, how)

            begin = retrieve_on(On(on, self.profile), units, folder, how, plain)
        return self._transfer(
            "retrieve()",
            begin,
            Status.PLANNED if dry_run else Status.RETRIEVED,
            self._manifest("retrieve", manifest, writes=not dry_run, shard=shard),
            lambda context: count_instances(context, targets, how.wanted, shard),
        )

    def contact_sheet(
        self,
        paths: Targets | None,
        file: AnyPath,
        *,
        viewport: str = "",
        window: str = "",
        quality: int | None = None,
        on_error: WhatOnError = OnError.OUTCOME,
    ) -> Transfer:
        """Write a sheet with a picture of each series; yields the outcome of each series.

        `paths` name studies, series and instances; None is the whole store. `file` is a page that
        needs nothing else (.html) or a picture (.png, which needs Pillow), and shows data of
        patients. It is written at the end. All other arguments are those of `SheetOptions`.
        """
        from dcmweb.transactions.contact_sheet.options import SheetOptions
        from dcmweb.transactions.contact_sheet.run import contact_sheet

        options = SheetOptions(
            file=read_path(file, "file"),
            viewport=viewport,
            window=window,
            quality=quality,
            on_error=member(OnError, on_error, "on_error"),
        )
        targets = [Target()] if paths is None else read_targets(paths, self.settings.roots)
        return self._transfer(
            "contact_sheet()",
            lambda context, _: contact_sheet(context, targets, options),
            Status.RETRIEVED,
        )

    def metadata(self, paths: Targets, *, on_error: WhatOnError = OnError.RAISE) -> Rows[Dataset]:
        """Get metadata (PS3.18 section 10.4.1.1.2); yields a data set for each instance.

        `paths` name studies, series or instances; /metadata may follow. The error of a path is
        raised; with `on_error="outcome"` it is among the `failures` of the run instead.
        """
        from dcmweb.transactions.retrieve.metadata import metadata

        return self._metadata("metadata()", paths, metadata, on_error)

    def metadata_xml(self, paths: Targets, *, on_error: WhatOnError = OnError.RAISE) -> Rows[bytes]:
        """Get metadata as documents of the Native DICOM Model (PS3.19 annex A.1).

        Where the server has no XML, its JSON is written as such. Otherwise as `metadata`.
        """
        from dcmweb.transactions.retrieve.metadata import metadata_xml

        return self._metadata("metadata_xml()", paths, metadata_xml, on_error)

    def delete(
        self,
        paths: Resources,
        *,
        waits: bool = True,
        dry_run: bool = False,
        orthanc_api: str = "",
        reject_as: str = "",
        manifest: AnyPath = "",
        on_error: WhatOnError = OnError.OUTCOME,
    ) -> Transfer:
        """Delete studies, series or instances; yields the outcome of each.

        DICOMweb has no standard deletion; Google, Azure and others answer DELETE. What is below
        another path goes with it. Operations that the server begins are waited for, unless `waits`
        is off: then the `place` of an outcome is the operation. `dry_run` counts what would go.
        `orthanc_api` is the URL of Orthanc's own REST API to delete with, or "auto"; `reject_as` a
        code such as 113001^DCM, for which dcm4chee rejects what is deleted. Outcomes are
        recorded in the file `manifest`, and what it says is done is not done again.
        """
        from dcmweb.transactions.delete.run import DeleteOptions, check_deletable, delete

        rule = member(OnError, on_error, "on_error")
        options = DeleteOptions(
            dry_run=dry_run,
            waits=waits,
            orthanc_api=orthanc_api,
            reject_as=reject_as,
            on_error=rule,
        )
        resources = read_resources(paths)
        check_deletable(resources)
        return self._transfer(
            "delete()",
            lambda context, is_done: delete(context, resources, is_done, options),
            Status.PLANNED if dry_run else Status.DELETED,
            self._manifest("delete", manifest, writes=not dry_run),
        )

    def wait(
        self, operations: str | Iterable[str], *, on_error: WhatOnError = OnError.OUTCOME
    ) -> Transfer:
        """Wait for operations that a deletion began, by name or URL; yields how each ended."""
        from dcmweb.transactions.delete.operations import wait

        rule = member(OnError, on_error, "on_error")
        names = read_operations(operations)
        return self._transfer(
            "wait()", lambda context, _: wait(context, names, rule), Status.FINISHED
        )

    def check(
        self,
        other: OtherSide,
        paths: Resources | None = None,
        *,
        thorough: bool = False,
        contents: bool = False,
        one_way: bool = False,
        each: bool = False,
    ) -> Transfer:
        """Compare the server with files, a manifest or another server; change nothing.

        `other` is the reference: files, folders, masks, archives and buckets, a manifest of
        `store`, `copy` or `retrieve`, the base URL of another server, or its Settings. `paths` are
        studies to compare; None is all. What the server lacks is MISSING, what it has beyond the
        reference is EXTRA. An outcome is of the largest resource whose `instances` all have the
        same: a study, a series or an instance; the `place` of an instance is its file. Studies are
        first compared by counts.

        All other arguments are those of `CheckOptions`. The run raises NothingMatched if the
        reference has no instances.
        """
        from dcmweb.library.other_side import comparison
        from dcmweb.transactions.check.options import CheckOptions

        how = CheckOptions(thorough=thorough, contents=contents, one_way=one_way, each=each)
        begin = comparison(self.settings, other, paths, how)
        return self._transfer("check()", begin, Status.EQUAL)

    def ping(
        self, *, write_test: bool = False, orthanc_api: str = "", reject_as: str = ""
    ) -> Run[Finding]:
        """Find out about the server: whether it answers, as what, to whom, and what it offers.

        Nothing is stored, unless `write_test` is on: then an instance made for this is stored,
        looked for, retrieved and deleted, as `delete` does it. The run raises the error of the
        first request, after the findings about it, if the server is not there, refuses
        credentials, or is not DICOMweb.
        """
        from dcmweb.transactions.ping.run import PingOptions, ping

        context = self._context()
        options = PingOptions(write_test=write_test, orthanc_api=orthanc_api, reject_as=reject_as)
        begin = partial(ping, context, options)
        return self._begun_later(Run("ping()", begin), context)

    def _metadata(
        self,
        name: str,
        paths: Targets,
        get: Callable[[RunContext, Resource], Iterator[_T]],
        on_error: WhatOnError,
    ) -> Rows[_T]:
        from dcmweb.transactions.retrieve.metadata import metadata_of_all

        rule = member(OnError, on_error, "on_error")
        targets = read_metadata_targets(paths, self.settings.roots)
        failures: list[Outcome] = []
        context = self._context()
        begin = partial(metadata_of_all, context, targets, get, on_error=rule, failures=failures)
        return self._begun_later(Rows(name, begin, failures, context.engine.meter), context)
