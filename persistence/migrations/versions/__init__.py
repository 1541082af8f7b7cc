"""One file per step of the schema, each surviving the previous release."""
