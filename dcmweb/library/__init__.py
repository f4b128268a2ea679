"""The library: a client of one DICOMweb server, on which the command line is built."""
