"""The embedded archive: a small DICOMweb server on a folder, for demos, CI jobs and laptops."""
