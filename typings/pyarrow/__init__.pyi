# pyarrow comes without types, and the stubs that others publish refuse calls that work.
from typing import Any

def __getattr__(name: str) -> Any: ...
