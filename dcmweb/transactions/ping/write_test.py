"""Stores an instance made for the purpose, looks for it, retrieves it, and deletes it again."""

from __future__ import annotations

import base64
import os
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.json_to_part10 import write_file
from dcmweb.dicom.resources import Resource, Target
from dcmweb.dicom.tags import (
    BITS_ALLOCATED,
    BITS_STORED,
    COLUMNS,
    CONVERSION_TYPE,
    HIGH_BIT,
    INSTANCE_NUMBER,
    MODALITY,
    PATIENT_ID,
    PATIENT_NAME,
    PHOTOMETRIC_INTERPRETATION,
    PIXEL_DATA,
    PIXEL_REPRESENTATION,
    ROWS,
    SAMPLES_PER_PIXEL,
    SERIES_INSTANCE_UID,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
)
from dcmweb.errors import AuthError, DcmwebError, Interrupted, NothingMatched, Refused
from dcmweb.settings.servers import Deletion
from dcmweb.temporary import temporary_folder
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.delete.run import DeleteOptions, delete
from dcmweb.transactions.on_error import OnError
from dcmweb.transactions.ping.finding import Finding, Verdict
from dcmweb.transactions.retrieve.options import RetrieveOptions
from dcmweb.transactions.retrieve.output import Destination
from dcmweb.transactions.retrieve.run import retrieve
from dcmweb.transactions.search.listing import Lister
from dcmweb.transactions.store.options import StoreOptions
from dcmweb.transactions.store.run import store
from dcmweb.transfer.outcomes import Outcome, Outcomes, Status

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
NAME = "DCMWEB^PING"
SIDE = 8  # pixels
LISTED_AFTER = (0.2, 0.5, 1.0, 2.0, 4.0)  # seconds between looks; some servers index later


def write_test(context: RunContext, how: DeleteOptions) -> Iterator[Finding]:
    """Yield how the server stores, lists, returns and deletes an instance made for this.

    Nothing is stored if the server cannot delete, and what was stored is deleted however the rest
    goes; if that fails, a finding names it. `how` says how to delete.
    """
    if reason := _why_it_cannot_delete(context, how):
        yield Finding("store", Verdict.UNTESTED, f"nothing was stored: {reason}")
        return
    with temporary_folder() as folder:
        path = os.path.join(folder, "ping.dcm")
        resource = _make(path)
        stored = _only(
            store(context.another(), [], [path], options=StoreOptions(on_error=OnError.OUTCOME))
        )
        if stored.status is not Status.STORED:
            yield Finding("store", Verdict.FAILED, f"{stored.status.value}: {stored.reason}")
        else:
            resource = Resource(
                stored.study or resource.study,
                stored.series or resource.series,
                stored.instance or resource.instance,
            )
            yield Finding("store", Verdict.OK, stored.reason or "an instance made for this")
        try:
            if stored.status is Status.STORED:
                yield _listed(context, resource)
                yield _returned(context, resource, path, os.path.join(folder, "back"))
        finally:
            removed = _removed(context, Resource(resource.study), how)
        yield removed


def _make(path: str) -> Resource:
    """Write a small image that names no patient; return what it is on the server."""
    study, series, instance = (f"2.25.{uuid.uuid4().int}" for _ in range(3))
    pixels = base64.b64encode(bytes(range(SIDE * SIDE))).decode()
    dataset: Dataset = {
        SOP_CLASS_UID: {"vr": "UI", "Value": [SECONDARY_CAPTURE]},
        SOP_INSTANCE_UID: {"vr": "UI", "Value": [instance]},
        STUDY_INSTANCE_UID: {"vr": "UI", "Value": [study]},
        SERIES_INSTANCE_UID: {"vr": "UI", "Value": [series]},
        MODALITY: {"vr": "CS", "Value": ["OT"]},
        CONVERSION_TYPE: {"vr": "CS", "Value": ["SYN"]},
        PATIENT_NAME: {"vr": "PN", "Value": [{"Alphabetic": NAME}]},
        PATIENT_ID: {"vr": "LO", "Value": ["DCMWEB-PING"]},
        INSTANCE_NUMBER: {"vr": "IS", "Value": [1]},
        SAMPLES_PER_PIXEL: {"vr": "US", "Value": [1]},
        PHOTOMETRIC_INTERPRETATION: {"vr": "CS", "Value": ["MONOCHROME2"]},
        ROWS: {"vr": "US", "Value": [SIDE]},
        COLUMNS: {"vr": "US", "Value": [SIDE]},
        BITS_ALLOCATED: {"vr": "US", "Value": [8]},
        BITS_STORED: {"vr": "US", "Value": [8]},
        HIGH_BIT: {"vr": "US", "Value": [7]},
        PIXEL_REPRESENTATION: {"vr": "US", "Value": [0]},
        PIXEL_DATA: {"vr": "OB", "InlineBinary": pixels},
    }
    with open(path, "wb") as file:
        for chunk in write_file(dataset, EXPLICIT_VR_LITTLE_ENDIAN, {}):
            file.write(chunk if isinstance(chunk, bytes) else b"".join(chunk.pieces()))
    return Resource(study, series, instance)


def _only(outcomes: Outcomes) -> Outcome:
    """Return the outcome of the one item, also where an error ended the run for it."""
    last: Outcome | None = None
    try:
        with closing(outcomes):
            for outcome in outcomes:
                last = outcome
    except Interrupted:
        raise
    except DcmwebError as error:
        return last or Outcome(Status.FAILED, "", reason=str(error))
    return last or Outcome(Status.UNKNOWN, "", reason="nothing was heard of it")


def _why_it_cannot_delete(context: RunContext, how: DeleteOptions) -> str:
    """Try to delete a study that is on no server; return why that is not possible, or ""."""
    nothing = Resource(f"2.25.{uuid.uuid4().int}")
    if context.server.deletion is Deletion.REJECTION and not how.reject_as:
        return f"{context.server.label} deletes only what was rejected: give --reject-as CODE"
    options = replace(how, on_error=OnError.RAISE)
    try:
        with closing(delete(context.another(), [nothing], options=options)) as run:
            for _ in run:
                pass
    except NothingMatched:
        return ""
    except (Refused, AuthError) as error:
        if isinstance(error, Refused) and error.status not in (405, 501):
            return ""  # about a study that is not there
        return f"the server would not delete it ({error})"
    return ""


def _listed(context: RunContext, resource: Resource) -> Finding:
    """Look for the instance in the listing of its series, which some servers update later."""
    series = Resource(resource.study, resource.series)
    waited = 0.0
    for seconds in (0.0, *LISTED_AFTER):
        context.stop.sleep(seconds)
        waited += seconds
        try:
            if any(found == resource for found, _ in Lister(context.another()).instances(series)):
                after = f" after {waited:.1f} s" if waited else ""
                return Finding("listing", Verdict.OK, f"it is found{after}", {"seconds": waited})
        except NothingMatched:
            continue
        except Interrupted:
            raise
        except DcmwebError as error:
            return Finding("listing", Verdict.FAILED, str(error))
    return Finding("listing", Verdict.FAILED, f"it is not found after {waited:.1f} s")


def _returned(context: RunContext, resource: Resource, path: str, folder: str) -> Finding:
    """Retrieve the instance, and compare it with what was stored."""
    options = RetrieveOptions()
    destination = Destination.of(folder, options, None)
    outcome = _only(retrieve(context.another(), [Target(resource)], destination, options))
    if outcome.status is not Status.RETRIEVED:
        return Finding("retrieval", Verdict.FAILED, f"{outcome.status.value}: {outcome.reason}")
    with open(path, "rb") as sent, open(outcome.place, "rb") as came:
        if sent.read() == came.read():
            return Finding("retrieval", Verdict.OK, "it comes back with the same bytes")
    return Finding("retrieval", Verdict.WARNING, "it comes back with other bytes: it was changed")


def _removed(context: RunContext, study: Resource, how: DeleteOptions) -> Finding:
    """Delete what was stored."""
    outcome = _only(
        delete(context.another(), [study], options=replace(how, on_error=OnError.OUTCOME))
    )
    if outcome.status is Status.DELETED:
        return Finding("delete", Verdict.OK, "it is deleted again")
    words = f"{outcome.reason}; what was stored is still there: {study}"
    return Finding("delete", Verdict.FAILED, words, {"left": str(study)})
