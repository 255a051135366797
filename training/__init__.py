"""Everything that learns: from a market and its clients to a signed-off model bundle.

Here live the market laboratory, labels, fitting, validation, back-test, stress and the model
registry. This is the one package that may import LightGBM, scikit-learn, shap, MLflow and
matplotlib. It must not decide by rules of its own (``models.decide`` does that, here as in
production), must not import ``serving``, and ``serving`` must not import it: a bundle of hashed
files is all that passes between them.
"""
