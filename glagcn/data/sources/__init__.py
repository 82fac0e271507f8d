"""Readers of published files: a folder for each format, with its Source and its DataSet values."""
