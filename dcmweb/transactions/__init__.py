"""The transactions of PS3.18 as a library: they take settings, yield outcomes, print nothing."""

from dcmweb.transactions.client import Client
from dcmweb.transactions.delete import delete
from dcmweb.transactions.metadata import metadata
from dcmweb.transactions.retrieve import retrieve
from dcmweb.transactions.search import search
from dcmweb.transactions.store import store

__all__ = ["Client", "delete", "metadata", "retrieve", "search", "store"]
