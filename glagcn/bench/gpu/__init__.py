"""`glagcn bench gpu`."""
