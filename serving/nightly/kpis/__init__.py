"""The night's key figures: ``figures`` defines each once, ``measures`` reads the lake, ``page`` shows them."""
