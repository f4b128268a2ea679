"""Deleting resources, which DICOMweb has no standard for, and the operations that it begins."""
