# This library has no types (or wrong ones) today; what is taken from it is Any.
from typing import Any

def __getattr__(name: str) -> Any: ...
