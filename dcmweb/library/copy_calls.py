"""The call of a client that copies to another server."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from dcmweb.dicom.resources import Target
from dcmweb.library.arguments import AnyPath, Targets, member, read_targets
from dcmweb.library.base import ClientBase
from dcmweb.library.runs import Transfer
from dcmweb.library.store_calls import WhatIfExists, WhatOnError
from dcmweb.settings import Settings
from dcmweb.transactions.on_error import OnError
from dcmweb.transfer.outcomes import IsDone, Outcomes, Status

if TYPE_CHECKING:
    from dcmweb.transactions.context import RunContext


class CopyCalls(ClientBase):
    """Copies, as a method of the client of the source."""

    def copy(
        self,
        paths: Targets | None,
        destination: Settings | str,
        *,
        media_type: str = "",
        verify: bool = False,
        dry_run: bool = False,
        storage_class: str = "",
        if_exists: WhatIfExists = "skip",
        orthanc_api: str = "",
        shard: str = "",
        manifest: AnyPath = "",
        on_error: WhatOnError = OnError.OUTCOME,
    ) -> Transfer:
        """Copy instances to another server, as they are stored; yields the outcome of each.

        `paths` name studies, series and instances; None is the whole store. `destination` is the
        base URL of a server, @NAME for a profile, or Settings. It gets no credentials of this
        client: its own are those in its URL, profile or Settings, and in variables such as
        DCMWEB_TO_PASSWORD. Instances pass through memory, large ones through a temporary file. One
        that does not come whole is not sent. The `item` of an outcome is the path of the instance,
        its `place` the URL at the destination.

        `media_type` and `shard` are those of `retrieve`, all others those of `store`. What the file
        `manifest` says is done is not retrieved again.
        """
        from dcmweb.library.destination import named, read_destination
        from dcmweb.library.other_side import connected
        from dcmweb.transactions.copy.options import CopyOptions
        from dcmweb.transactions.copy.run import check_target, copy
        from dcmweb.transactions.retrieve.count_ahead import count_instances
        from dcmweb.transactions.store.options import IfExists

        options = CopyOptions(
            media_type=media_type,
            dry_run=dry_run,
            verify=verify,
            storage_class=storage_class,
            if_exists=member(IfExists, if_exists, "if_exists"),
            orthanc_api=orthanc_api,
            shard=shard,
            on_error=member(OnError, on_error, "on_error"),
        )
        targets = [Target()] if paths is None else read_targets(paths, self.settings.roots)
        for target in targets if isinstance(targets, list) else ():
            check_target(target)
        other = read_destination(destination, self.settings)

        if not self.settings.insecure:  # then it was said already
            self._note_insecure(other)

        def begin(context: RunContext, is_done: IsDone) -> Outcomes:
            with ExitStack() as stack:
                with named():
                    there = stack.enter_context(connected(other, context))
                yield from copy(context, there, targets, is_done if manifest else None, options)

        return self._transfer(
            "copy()",
            begin,
            Status.PLANNED if dry_run else Status.STORED,
            self._manifest(
                "copy", manifest, writes=not dry_run, shard=shard, destination=other.base_url
            ),
            lambda context: count_instances(context, targets, options.wanted, shard),
        )
