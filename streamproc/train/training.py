"""From examples to a model file, and how well it does on pictures it was not trained on."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streamproc.errors import UsageError
from streamproc.operators.classifiers import Classifier, load_classifier
from streamproc.train.examples import Examples, Progress, load_examples
from streamproc.train.fitting import KINDS, Kind, fitted, onnx_model, require_libraries

MAX_SPLITS: Final = 50
_SHOWN_SKIPPED: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """A model that was written, and how well models like it do.

    Attributes:
        examples: What it was trained on: all of it.
        accuracies: Share of right answers on the held-out half, of each split.
        confusion: (L, L) counts over all held-out halves; rows are what a picture is, columns what was said.
        differing: Held-out pictures on which the ONNX model and scikit-learn name different labels.
        fit_s: Seconds to fit the final model.
        total_s: Seconds in all.
        run_us: Microseconds that the model needs for a picture whose features are known.
        model_bytes: Size of the file.
    """

    examples: Examples
    kind: Kind
    seed: int
    accuracies: tuple[float, ...]
    confusion: NDArray[np.int64]
    differing: int
    fit_s: float
    total_s: float
    run_us: float
    model_bytes: int

    @property
    def accuracy(self) -> float:
        """Mean over splits."""
        return float(np.mean(self.accuracies))

    @property
    def deviation(self) -> float:
        """Standard deviation over splits."""
        return float(np.std(self.accuracies))

    @property
    def by_label(self) -> list[dict[str, Any]]:
        """Pictures, precision and recall of each label; None where a label was never said."""
        said, true, right = self.confusion.sum(axis=0), self.confusion.sum(axis=1), np.diagonal(self.confusion)
        return [
            {
                "label": label,
                "pictures": self.examples.counts[index],
                "precision": round(int(right[index]) / int(said[index]), 6) if said[index] else None,
                "recall": round(int(right[index]) / int(true[index]), 6) if true[index] else None,
            }
            for index, label in enumerate(self.examples.labels)
        ]

    def as_json(self) -> dict[str, Any]:
        """Everything but the model, for machines."""
        return {
            "data": self.examples.name,
            "kind": self.kind,
            "seed": self.seed,
            "pictures": len(self.examples.truth),
            "accuracy": {
                "mean": round(self.accuracy, 6),
                "deviation": round(self.deviation, 6),
                "splits": [round(value, 6) for value in self.accuracies],
            },
            "labels": self.by_label,
            "confusion": self.confusion.tolist(),
            "differing_from_scikit_learn": self.differing,
            "seconds": {"fit": round(self.fit_s, 3), "total": round(self.total_s, 3)},
            "run_us_per_picture": round(self.run_us, 1),
            "model_bytes": self.model_bytes,
            "skipped": len(self.examples.skipped),
            "skipped_files": list(self.examples.skipped[:_SHOWN_SKIPPED]),
        }


def train(data: str, kind: Kind, out: Path, *, seed: int = 0, splits: int = 5, progress: Progress) -> Trained:
    """Train a classifier, judge it, and write its file.

    Each split trains on a random half of the pictures of each label and judges the other half, through onnxruntime as
    the operator does. The model that is written is trained on all pictures.

    Args:
        data: "digits", "lfw" or a folder with a folder for each label.
        kind: "svm" or "softmax".
        out: File to write; it is replaced in one step, when all is done.
        seed: Of the splits; the same seed gives the same figures.
        splits: 1 to 50.
        progress: Told of pictures and splits.

    Raises:
        UsageError: The data will not do, the file cannot be written, or a package is not installed.
    """
    began_s = time.perf_counter()
    _require_possible(kind, out, splits)
    examples = load_examples(data, progress)
    accuracies, confusion, differing, run_us = _judged(examples, kind, seed, splits, progress)
    fit_began_s = time.perf_counter()
    estimator = fitted(kind, examples.features, examples.truth, seed)
    fit_s = time.perf_counter() - fit_began_s
    model = onnx_model(estimator, kind, examples.labels)
    _replace(out, model)
    load_classifier(out)
    progress("models", splits + 1, splits + 1)
    return Trained(
        examples=examples,
        kind=kind,
        seed=seed,
        accuracies=accuracies,
        confusion=confusion,
        differing=differing,
        fit_s=fit_s,
        total_s=time.perf_counter() - began_s,
        run_us=run_us,
        model_bytes=len(model),
    )


def _require_possible(kind: str, out: Path, splits: int) -> None:
    """Refuse before a long training what could not be ended."""
    if kind not in KINDS:
        raise UsageError(f"kind is {kind!r}, expected one of {', '.join(KINDS)}")
    if not 1 <= splits <= MAX_SPLITS:
        raise UsageError(f"splits is {splits}, expected 1 to {MAX_SPLITS}")
    if out.is_dir() or not os.access(out.parent, os.W_OK | os.X_OK):
        raise UsageError(f"{out} cannot be written: name a file in a folder that is there and may be written to")
    require_libraries()


def _judged(
    examples: Examples, kind: Kind, seed: int, splits: int, progress: Progress
) -> tuple[tuple[float, ...], NDArray[np.int64], int, float]:
    """Accuracies, confusion, answers unlike scikit-learn's, and microseconds a picture."""
    from sklearn.model_selection import StratifiedShuffleSplit

    accuracies: list[float] = []
    confusion = np.zeros((len(examples.labels),) * 2, np.int64)
    differing, run_s, judged = 0, 0.0, 0
    halves = StratifiedShuffleSplit(splits, test_size=0.5, random_state=seed)
    progress("models", 0, splits + 1)
    for done, (known, held) in enumerate(halves.split(examples.features, examples.truth), start=1):
        estimator = fitted(kind, examples.features[known], examples.truth[known], seed)
        classifier = _as_run(onnx_model(estimator, kind, examples.labels))
        run_began_s = time.perf_counter()
        said = classifier.scores_of(examples.features[held]).argmax(axis=1)
        run_s += time.perf_counter() - run_began_s
        judged += len(held)
        differing += int((said != estimator.predict(examples.features[held])).sum())
        np.add.at(confusion, (examples.truth[held], said), 1)
        accuracies.append(float((said == examples.truth[held]).mean()))
        progress("models", done, splits + 1)
    return tuple(accuracies), confusion, differing, run_s / judged * 1e6


def _as_run(model: bytes) -> Classifier:
    """The model as the operator would load it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model)
        return load_classifier(path)


def _replace(out: Path, content: bytes) -> None:
    try:
        # In the same folder, so that the last step is a rename; what is left of a failure goes with the folder.
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
            part = Path(folder) / out.name
            part.write_bytes(content)
            part.replace(out)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}") from error
