"""The financing rate as a stack of integers that sum."""
