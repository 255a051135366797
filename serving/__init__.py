"""Everything that runs in production: it loads, calls ``models.decide``, and records.

Here live the decision service, the nightly batch, the append-only ledger, proposals, the review
queue and the console: the input and output around decisions that are made elsewhere. It must not
hold a rule, a threshold or a price of its own, must not import ``training``, and must not import
LightGBM, scikit-learn, shap, MLflow or pandas, neither directly nor through another of our
packages.
"""
