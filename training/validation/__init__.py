"""Model validation: statistics with stated conventions, the report, and the checks on itself.

``discrimination`` ranks, ``calibration`` and ``backtests`` compare probabilities with what
happened, ``scores`` decomposes them, ``stability`` compares populations, ``multiplicity`` says what
a test could have seen and how many tests were made, ``vectors`` checks all of these against
reference numbers. ``material`` is what a model is validated on, ``sections`` what is said about it,
``document`` the report, ``render`` its pages.

Conventions, everywhere: a higher score or grade is riskier; label 1 is a default; a tie counts one
half; an undefined number is None, never 0 or 1; every p-value says whether it is one- or two-sided.
"""
