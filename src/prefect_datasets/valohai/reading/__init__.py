"""A valohai.yaml read, checked and turned into a plan of what runs."""
