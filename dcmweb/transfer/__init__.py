"""Moves many items of any kind: workers, retries, stopping, outcomes."""
