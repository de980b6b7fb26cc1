"""The ridge of ratings is that of scikit-learn, and predicts several numbers at once."""

from __future__ import annotations

import numpy as np

from fallow.measure.ridge import ALPHAS, ridge


def test_the_ridge_is_that_of_scikit_learn():
    from sklearn.linear_model import RidgeCV
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(0)
    for count, width in ((40, 6), (20, 60)):
        x = random.normal(size=(count, width)) * random.uniform(0.1, 9, width) + 3
        y = x[:, 0] + random.normal(0, 1, count)
        scaler = StandardScaler().fit(x)
        other = RidgeCV(alphas=ALPHAS, fit_intercept=False).fit(scaler.transform(x), y - y.mean())
        found = ridge(x, y)
        assert found.alpha == other.alpha_
        new = random.normal(size=(9, width))
        expected = other.predict(scaler.transform(new)) + y.mean()
        np.testing.assert_allclose(found(new), expected, atol=1e-6)


def test_several_numbers_at_once():
    random = np.random.default_rng(1)
    x, weights = random.normal(size=(60, 5)), random.normal(size=(5, 3))
    found = ridge(x, x @ weights + 2)(x)
    np.testing.assert_allclose(found, x @ weights + 2, atol=0.01)
