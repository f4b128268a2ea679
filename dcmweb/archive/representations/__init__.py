"""Representations of stored instances: metadata, frames, bulk data, rendered images."""
