"""DICOM itself: resource paths, files and masks, DICOM JSON, store responses."""
