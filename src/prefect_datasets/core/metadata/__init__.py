"""The metadata of output files, read and written: which versions they go into, and what is said.

`valohai.metadata.jsonl` in the root of the outputs has one line per file; a sidecar
`FILE.metadata.json` beside a file says the same of that file. docs/metadata.md has every key.
"""
