"""The extracted versions on this machine, and who uses them. docs/cache.md."""
