"""From a book to a feature frame: the same function for the nightly batch and one request."""

from __future__ import annotations

import numpy as np

from data_contracts.feature_frame import FeatureFrame
from features.book import BookAsOf
from features.sets import FeatureSet, feature_set_sha256


def build_frame(book: BookAsOf, feature_set: FeatureSet) -> FeatureFrame:
    """The quantised features of every client of a book, in the order of the set."""
    values = np.empty((book.clients, len(feature_set.features)), dtype=np.int64)
    for k, feature in enumerate(feature_set.features):
        values[:, k] = feature.values(book)
    return FeatureFrame(
        feature_set=feature_set.label,
        feature_set_sha256=feature_set_sha256(feature_set),
        names=feature_set.names,
        client_ids=book.client_ids,
        as_of=book.session,
        values=values,
    )
