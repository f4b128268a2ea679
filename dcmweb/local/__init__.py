"""Files and folders of this machine: masks, partial files, layouts."""
