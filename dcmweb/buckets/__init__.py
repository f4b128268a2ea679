"""Buckets of Amazon S3, Google Cloud Storage and Azure, and of servers that speak as they do."""
