"""The rules of the tables, the pass that checks them, and Great Expectations over both."""
