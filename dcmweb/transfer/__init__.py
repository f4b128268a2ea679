"""Moving many items, whatever they are: workers, retries, stopping, outcomes."""
