"""Make versions of files: plan, store each part, commit."""
