"""Files to device batches; no model in here."""
