"""Topics kept as MCAP files on a local disk, S3 or HDFS, and read again like the log itself."""

from streamproc.archive.reader import ArchiveReader

__all__ = ["ArchiveReader"]
