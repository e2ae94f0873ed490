"""A real Apache Kafka on this machine, from pip alone: started, found again, stopped."""

from streamproc.broker.cluster import LocalCluster, find_bootstrap, find_folder
from streamproc.broker.ephemeral import ephemeral
from streamproc.broker.state import Change, ClusterStatus, NodeStatus

__all__ = ["Change", "ClusterStatus", "LocalCluster", "NodeStatus", "ephemeral", "find_bootstrap", "find_folder"]
