"""What the archive makes of stored instances: metadata, frames, bulk data, rendered images."""
