"""The folder of DICOM files, and the index of what is in it."""
