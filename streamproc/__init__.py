"""streamproc: a Kafka streaming processor for image and video frames."""

__version__ = "0.1.0"

__all__ = ["__version__"]
