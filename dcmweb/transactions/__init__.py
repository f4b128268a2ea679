"""The transactions of PS3.18 as a library: they take settings, yield outcomes, print nothing."""

from dcmweb.transactions.client import Client
from dcmweb.transactions.composed import Metadata
from dcmweb.transactions.delete import delete
from dcmweb.transactions.metadata import metadata, metadata_xml
from dcmweb.transactions.operations import wait
from dcmweb.transactions.renditions import Rendering, parse_rendering
from dcmweb.transactions.retrieve import retrieve
from dcmweb.transactions.saving import Destination
from dcmweb.transactions.search import Search
from dcmweb.transactions.store import Manner, store, store_metadata

__all__ = [
    "Client",
    "Destination",
    "Manner",
    "Metadata",
    "Rendering",
    "Search",
    "delete",
    "metadata",
    "metadata_xml",
    "parse_rendering",
    "retrieve",
    "store",
    "store_metadata",
    "wait",
]
