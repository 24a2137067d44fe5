"""A planned step run: its folders, its process, what it says, what it leaves."""
