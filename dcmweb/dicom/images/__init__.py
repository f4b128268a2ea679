"""Images and documents that are not DICOM: what they are, and the attributes that follow."""
