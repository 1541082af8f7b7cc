"""The schema's history; run by `fitai.persistence.schema`."""
