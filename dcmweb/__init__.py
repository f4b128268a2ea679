"""Move medical images in and out of DICOMweb servers."""

__version__ = "2.0.0.dev0"
