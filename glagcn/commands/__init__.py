"""The commands, one per file.  They take parsed options and call the other packages in order."""
