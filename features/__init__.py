"""What is known about a client at an instant: one named function per feature.

Here live the feature functions (a function's name is its column, its docstring the dictionary
entry), the feature sets that list them, and the point-in-time join that lets a feature see only
rows with ``known_at <= as_of``. One definition serves the nightly batch and the single request.
Nothing here knows a model, a tier or a price; nothing reads a clock; and of Gearline's packages
only ``data_contracts`` may be imported.
"""
