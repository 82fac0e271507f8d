"""The files that lifted people are written to; writers.table knows which writer a suffix has."""
