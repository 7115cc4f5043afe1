"""The servers of the stack. To add one, add a package here and a line below."""

from local_stack.servers.base import Context, Launch, Server
from local_stack.servers.connect import CONNECT
from local_stack.servers.elasticsearch import ELASTICSEARCH
from local_stack.servers.hbase import HBASE, THRIFT
from local_stack.servers.hdfs import DATANODE, NAMENODE
from local_stack.servers.kafka import KAFKA

ALL = (KAFKA, NAMENODE, DATANODE, HBASE, THRIFT, ELASTICSEARCH)
OPTIONAL = (CONNECT,)
"""Servers that a stack has only once they were asked for."""

__all__ = ["ALL", "OPTIONAL", "Context", "Launch", "Server"]
