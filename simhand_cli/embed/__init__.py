"""Export of an encoder's features, as HDF5 and as numpy arrays."""
