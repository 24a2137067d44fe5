"""Steps and pipelines of a `valohai.yaml`: what they ask for, and how they run. No Prefect."""
