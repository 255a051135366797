"""Pictures of a scorer: shape functions with density and bands, pair heat maps, waterfalls of a row.

They are read, never served: effects are purified against the bundle's reference counts, so that a
pair shows only what its two features do not say alone, and a feature what it says on average.
"""
