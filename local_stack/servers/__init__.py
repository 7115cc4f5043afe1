"""The servers of the stack. To add one, add a package here and a line below."""

from local_stack.servers.base import Context, Launch, Server
from local_stack.servers.connect import CONNECT
from local_stack.servers.elasticsearch import ELASTICSEARCH
from local_stack.servers.hbase import HBASE, THRIFT
from local_stack.servers.hdfs import DATANODE, NAMENODE
from local_stack.servers.kafka import KAFKA
from local_stack.servers.spark import CLUSTER

ALL = (KAFKA, NAMENODE, DATANODE, HBASE, THRIFT, ELASTICSEARCH)
EXTRAS = {"connect": (CONNECT,), "spark": CLUSTER}
"""Servers that a stack has only once they were asked for, by what they are asked for with."""
OPTIONAL = tuple(server for servers in EXTRAS.values() for server in servers)

__all__ = ["ALL", "EXTRAS", "OPTIONAL", "Context", "Launch", "Server"]
