"""One pipeline for each operator, on frames that suit it: what the operators' pages show.

A pipeline runs as it stands on the page, so everything in it has been run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from tests.operator_scenes import (
    FPS,
    Frames,
    before_and_after,
    blurred,
    circles,
    dim,
    driving,
    noisy,
    of,
    shifted,
    small,
    smiling,
    specked,
    squares,
    standing,
    tilted,
    touching,
    with_codes,
    written_over,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A pipeline and the frames it is shown on.

    Attributes:
        steps: TOML of the pipeline; the last step of the operator (or, of a transform, after it) is drawn.
        frames: One frame, or those that a follower is shown; the last one is drawn.
        shows: Ends the sentence "The picture shows ...".
    """

    steps: str
    frames: Frames
    shows: str


def step(operator: str, **parameters: Any) -> str:
    """One step as TOML."""
    lines = ["[[step]]", f'operator = "{operator}"']
    return "\n".join([*lines, *(f"{name} = {_toml(value)}" for name, value in parameters.items())]) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _then(*steps: str) -> str:
    return "\n".join(steps)


def _transform(name: str, frames: Frames, shows: str, follow: str = "statistics", **parameters: Any) -> Example:
    return Example(steps=_then(step(name, **parameters), step(follow)), frames=frames, shows=shows)


def _measure(name: str, frames: Frames, shows: str, *before: str, **parameters: Any) -> Example:
    return Example(steps=_then(*before, step(name, **parameters)), frames=frames, shows=shows)


_DARK_COINS = step("gaussian", ksize=9), step("otsu_threshold")
_COINS = of("coins", left=0.5, top=0.95, share=0.7)
_FOLLOWED = step("background_subtraction", scale=1), step("track")

EXAMPLES: Final[dict[str, Example]] = {
    "gray": _transform("gray", of("coffee"), "the grey picture", "gray_histogram"),
    "brightness_contrast": _transform("brightness_contrast", dim, "more contrast", alpha=2.2, beta=-40),
    "threshold": _transform("threshold", of("coins"), "what is brighter than 110", level=110),
    "gamma": _transform("gamma", dim, "its dark parts made brighter", gamma=0.5),
    "equalize_histogram": _transform("equalize_histogram", dim, "grey levels spread over the whole range"),
    "clahe": _transform("clahe", of("retina"), "contrast in each part", clip_limit=4),
    "otsu_threshold": _transform("otsu_threshold", of("coins"), "what is brighter than Otsu's level"),
    "otsu": _measure("otsu", of("coins"), "the event"),
    "adaptive_threshold": _transform("adaptive_threshold", of("page"), "ink and paper", block_size=31, c=12),
    "normalize": _transform("normalize", dim, "values stretched to 0..255"),
    "resize": _transform("resize", of("chelsea"), "the smaller picture", factor=0.5, interpolation="area"),
    "crop": _transform("crop", of("astronaut", top=0.1), "the part that is kept", x=110, y=20, width=160, height=160),
    "rotate": _transform("rotate", of("rocket"), "the turned picture", angle=20),
    "flip": _transform("flip", of("rocket"), "the mirrored picture"),
    "gaussian": _transform("gaussian", of("chelsea"), "the blurred picture", "canny", ksize=15),
    "mean": _transform("mean", of("chelsea"), "the blurred picture", ksize=11),
    "median": _transform("median", specked(0.04, 0.04), "the picture without specks", "canny", ksize=5),
    "bilateral": _transform("bilateral", noisy(), "smooth areas and sharp edges", sigma_color=80),
    "custom_kernel": _transform(
        "custom_kernel", of("camera"), "edges from top to bottom", kernel="-1 0 1; -2 0 2; -1 0 1", output="absolute"
    ),
    "frequency_filter": _transform(
        "frequency_filter", of("camera"), "what changes fast, about grey", passes="high_pass", low=0.03, offset=128
    ),
    "sobel": _transform("sobel", of("coins"), "the gradient, made brighter for the picture"),
    "scharr": _transform("scharr", of("coins"), "the gradient, made brighter for the picture"),
    "laplacian": _transform("laplacian", of("coins"), "the second derivative, made brighter for the picture"),
    "canny": _measure("canny", of("camera"), "the linked edges", step("gaussian", ksize=5), low=40, high=120),
    "erode": _transform("erode", of("text"), "dark letters grown", ksize=5),
    "dilate": _transform("dilate", of("text"), "dark letters thinned", ksize=5),
    "open": _transform("open", specked(0, 0.015), "the picture without small bright parts", ksize=3),
    "close": _transform("close", specked(0.015, 0), "the picture without small dark parts", ksize=3),
    "morphological_gradient": _transform("morphological_gradient", of("coins"), "the outlines"),
    "top_hat": _transform("top_hat", of("hubble_deep_field"), "the small bright parts", ksize=9, shape="ellipse"),
    "black_hat": _transform("black_hat", of("page"), "the ink without the shade on the paper", ksize=15),
    "skeleton": Example(
        steps=_then(step("threshold", inverse=True), step("skeleton"), step("connected_components")),
        frames=of("horse"),
        shows="lines one pixel wide",
    ),
    "sharpen": _transform("sharpen", blurred, "the sharpened picture", amount=2.0, sigma=2.0, ksize=13),
    "denoise": _transform("denoise", noisy(), "the picture without most of the noise", h=18, h_color=18),
    "deblur": _transform("deblur", blurred, "the picture with the blur undone", sigma=2.0, noise=0.003),
    "inpaint": _transform("inpaint", written_over, "the letters filled from what surrounds them", grow=2),
    "super_resolution": _transform("super_resolution", small, "the picture with twice the pixels a side"),
    "noise_estimate": _measure("noise_estimate", noisy(), "the event: noise of 20 grey levels was added"),
    "dft": _measure("dft", of("brick"), "the shares of the energy, from coarse to fine"),
    "dct": _measure("dct", of("grass"), "the energy of the 64 frequencies of a block, the slowest top left"),
    "wavelet": _measure("wavelet", of("brick"), "the event"),
    "hough_lines": _measure("hough_lines", of("brick"), "the lines", threshold=80, min_length=70),
    "hough_lines_standard": _measure("hough_lines_standard", of("brick"), "the lines", threshold=110, limit=12),
    "hough_circles": _measure("hough_circles", circles, "the circles"),
    "harris": _measure("harris", of("brick"), "the corners", limit=200),
    "fast": _measure("fast", of("camera"), "the corners", threshold=40, limit=200),
    "shi_tomasi": _measure("shi_tomasi", of("astronaut"), "the corners", limit=150),
    "mser": _measure("mser", of("coins"), "the boxes of the regions", min_area=400, min_diversity=0.6),
    "blob": _measure("blob", of("coins"), "the spots", color="bright", min_area=200, min_convexity=0.8),
    "orb": _measure("orb", of("astronaut"), "the points", limit=200),
    "sift": _measure("sift", of("astronaut"), "the points", limit=200),
    "akaze": _measure("akaze", of("astronaut"), "the points", limit=200),
    "brisk": _measure("brisk", of("astronaut"), "the points", limit=200, threshold=40),
    "hog": _measure("hog", of("rocket"), "the share of each direction of the gradient, 0 to 180 degrees"),
    "contours": _measure("contours", _COINS, "the boxes of the outlines", *_DARK_COINS, min_area=100),
    "gray_histogram": _measure("gray_histogram", of("camera"), "the counts", bins=64),
    "color_histogram": _measure("color_histogram", of("coffee"), "the counts of blue, green and red", bins=64),
    "statistics": _measure("statistics", of("coffee"), "the event"),
    "lbp": _measure("lbp", of("grass"), "the counts of the patterns"),
    "glcm": _measure("glcm", of("brick"), "the event"),
    "moments": _measure("moments", of("horse"), "centroid and long axis", step("threshold", inverse=True), binary=True),
    "color_moments": _measure("color_moments", of("coffee"), "the event"),
    "connected_components": _measure(
        "connected_components", _COINS, "the boxes of the areas", *_DARK_COINS, min_area=100
    ),
    "watershed": _measure("watershed", touching, "the boxes of the segments", inverse=True, min_area=200),
    "grabcut": _measure(
        "grabcut",
        of("astronaut"),
        "the box of the foreground",
        left=0.15,
        top=0.02,
        right=0.75,
        bottom=1,
    ),
    "kmeans": _measure("kmeans", of("coffee"), "the main colours and their shares", k=5),
    "background_subtraction": _measure("background_subtraction", driving, "what moves", scale=1),
    "frame_difference": _measure("frame_difference", before_and_after, "what differs from the frame before", scale=1),
    "optical_flow": _measure("optical_flow", shifted, "the median motion, and the event"),
    "sparse_flow": _measure("sparse_flow", shifted, "the median motion, and the event"),
    "compression_report": _measure("compression_report", of("coffee"), "the table"),
    "faces": _measure("faces", of("astronaut", top=0.1), "the face"),
    "eyes": _measure("eyes", of("astronaut", left=0.4, top=0.05, share=0.5), "the eyes"),
    "people": _measure("people", standing, "the people"),
    "face_tag": _measure("face_tag", of("astronaut", top=0.1), "the face, by name", examples="people"),
    "qr_codes": _measure("qr_codes", with_codes, "the codes and their text"),
    "template_match": _measure(
        "template_match", of("coins"), "places like one of the coins", templates="templates", threshold=0.65
    ),
    "yunet": _measure(
        "yunet",
        smiling,
        "what a small network of YuNet's form, made for this page, finds: bright discs",
        model="face_detection_yunet_2023mar.onnx",
        confidence=0.6,
    ),
    "onnx_detector": _measure(
        "onnx_detector",
        squares,
        "what a small network made for this page finds: squares",
        model="squares.onnx",
        labels="labels.txt",
        confidence=0.6,
    ),
    "sliding_window": _measure(
        "sliding_window",
        of("astronaut", top=0.1),
        "faces of a classifier trained on 200 small pictures",
        model="faces.onnx",
        window_px=48,
        max_size_px=96,
        step_px=6,
        threshold=0.98,
        ignore="no face",
    ),
    "classify": _measure(
        "classify", of("astronaut", left=0.417, top=0.147, share=0.273), "the event", model="faces.onnx"
    ),
    "track": _measure("track", driving, "the tracks", step("background_subtraction", scale=1)),
    "line_crossing": _measure(
        "line_crossing", driving, "line, tracks and counts", *_FOLLOWED, line=[[200, 20], [200, 280]]
    ),
    "zone": _measure(
        "zone", driving, "zone, tracks and counts", *_FOLLOWED, polygon=[[220, 150], [390, 150], [390, 255], [220, 255]]
    ),
    "count": _measure("count", driving, "tracks and counts", *_FOLLOWED),
    "vitals": _measure("vitals", of("rocket"), "the event"),
    "anomalies": _measure("anomalies", tilted, "the event of a camera that was turned", step("vitals"), fps=FPS),
}
