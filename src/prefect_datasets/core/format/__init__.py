"""What lies on the store: records, tables, packages, and where. docs/format.md."""
