"""Arrays to poses; no files, no dataset names, no devices in here."""
