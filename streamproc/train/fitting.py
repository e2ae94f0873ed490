"""Fitting by scikit-learn, and the fitted model as an ONNX file. Nothing is ever pickled."""

from __future__ import annotations

import warnings
from typing import Any, Final, Literal, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamproc.errors import UsageError
from streamproc.operators.classifiers import INPUT, METADATA, RECIPE, ClassifierFacts

Kind = Literal["svm", "softmax"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
OPSET: Final = {"": 17, "ai.onnx.ml": 3}  # onnxruntime runs both since 1.12
SVM_C: Final = 10.0
SOFTMAX_C: Final = 30.0  # inverse of the penalty; from 10 to 100 the held-out figures are the same within 0.003
SOFTMAX_ITERATIONS: Final = 1000
CALIBRATION_PARTS: Final = 3


def require_libraries() -> None:
    """Refuse to begin what could not be ended.

    Raises:
        UsageError: A package is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import skl2onnx  # noqa: F401
        import sklearn  # noqa: F401
    except ImportError as error:
        raise UsageError(f"training needs {error.name}: pip install 'streamproc[recognition]'") from error


def fitted(kind: Kind, features: NDArray[np.float32], truth: NDArray[np.intp], seed: int) -> Any:
    """Fit a classifier.

    "svm" is a support vector machine with a radial kernel whose distances are made probabilities by Platt's sigmoids,
    fitted to parts that it was not trained on. "softmax" is multinomial logistic regression.

    Args:
        kind: One of KINDS.
        features: (N, F).
        truth: (N,), every index from 0 on at least three times.
        seed: Of the parts.

    Returns:
        scikit-learn's estimator.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold
    from sklearn.svm import SVC
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    parts = StratifiedKFold(CALIBRATION_PARTS, shuffle=True, random_state=seed)
    estimator = (
        LogisticRegression(C=SOFTMAX_C, max_iter=SOFTMAX_ITERATIONS)
        if kind == "softmax"
        else CalibratedClassifierCV(SVC(C=SVM_C, gamma="scale"), method="sigmoid", ensemble=False, cv=parts)
    )
    # The matrices are small: threads that wait for one another cost 5 times the CPU on two busy cores.
    with threadpool_limits(limits=1):
        return estimator.fit(features, truth)


def onnx_model(estimator: Any, kind: Kind, labels: tuple[str, ...]) -> bytes:
    """Give a fitted estimator as the content of an ONNX file that says what it takes and tells apart.

    Args:
        estimator: Of `fitted`.
        kind: As it was fitted.
        labels: By index.
    """
    from onnx import helper
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # skl2onnx looks at attributes scikit-learn 1.9 deprecates
        takes = [(INPUT, FloatTensorType([None, int(RECIPE["values"])]))]
        model = to_onnx(
            estimator, initial_types=takes, options={"zipmap": False}, target_opset=OPSET, name="streamproc_classifier"
        )
    facts = ClassifierFacts(features=RECIPE, labels=list(labels), kind=kind)
    helper.set_model_props(model, {METADATA: msgspec.json.encode(facts).decode()})
    content: bytes = model.SerializeToString()
    return content
