"""Pixels in, values out: no clock, no I/O, no random source. What can be run stands in `catalogue.py`."""
