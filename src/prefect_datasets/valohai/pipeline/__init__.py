"""Pipelines of a valohai.yaml: what runs when, with what, decided without running anything."""
