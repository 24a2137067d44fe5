"""Make versions and other inputs available on this machine: plan, fetch, extract, link."""
