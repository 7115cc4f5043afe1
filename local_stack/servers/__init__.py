"""The servers of the stack. To add one, add a package here and a line below."""

from local_stack.servers.base import Context, Launch, Server
from local_stack.servers.elasticsearch import ELASTICSEARCH
from local_stack.servers.hbase import HBASE, THRIFT
from local_stack.servers.hdfs import DATANODE, NAMENODE
from local_stack.servers.kafka import KAFKA

ALL = (KAFKA, NAMENODE, DATANODE, HBASE, THRIFT, ELASTICSEARCH)

__all__ = ["ALL", "Context", "Launch", "Server"]
