"""Which versions there are, how they differ, whether they are whole, what is left over."""
