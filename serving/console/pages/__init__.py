"""One module a screen: each lists its pages, a page reads and answers."""
