"""`python -m prefect_datasets` is `prefect-datasets`."""

import sys

from prefect_datasets.cli import main

if __name__ == "__main__":
    sys.exit(main())
