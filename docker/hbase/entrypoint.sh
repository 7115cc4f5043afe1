#!/bin/bash
# Starts one part of HDFS and HBase: namenode, datanode, zookeeper, master, regionserver or thrift.
# HEAP is its largest heap (default 256m), HBASE_CLASSPATH a file with the jars, HBASE_CONF the configuration folder,
# NAMENODE the address that master and region server wait for.
set -eu

jars=$(cat "${HBASE_CLASSPATH:-/opt/hbase/classpath}")
conf=${HBASE_CONF:-/etc/hbase}

java_on_hbase() {
    # Hadoop and HBase access internals of the JDK, which Java 17 allows only with these options.
    for package in java.lang java.nio sun.nio.ch java.lang.reflect java.util java.util.concurrent java.net jdk.internal.misc; do
        set -- "--add-opens=java.base/$package=ALL-UNNAMED" "$@"
    done
    set -- --add-exports=java.base/jdk.internal.misc=ALL-UNNAMED \
        --add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED "$@"
    $run java "-Xmx${HEAP:-256m}" -XX:+ExitOnOutOfMemoryError -Djava.net.preferIPv4Stack=true -cp "$conf:$jars" "$@"
}

# The master ends if HDFS is not up yet. Compose's start order applies to `up` only, not after a reboot.
await_namenode() {
    address=${NAMENODE:-namenode:8020}
    until (exec 3<>"/dev/tcp/${address%:*}/${address##*:}") 2>/dev/null; do
        echo "Waiting for the NameNode at $address"
        sleep 2
    done
}

part=${1:?name a part: namenode, datanode, zookeeper, master, regionserver or thrift}
run=exec
case $part in
    namenode)
        if [ ! -e /data/namenode/current/VERSION ]; then
            run='' && java_on_hbase org.apache.hadoop.hdfs.server.namenode.NameNode -format -nonInteractive && run=exec
        fi
        java_on_hbase org.apache.hadoop.hdfs.server.namenode.NameNode
        ;;
    datanode) java_on_hbase org.apache.hadoop.hdfs.server.datanode.DataNode ;;
    zookeeper) java_on_hbase -Dzookeeper.admin.enableServer=false org.apache.zookeeper.server.ZooKeeperServerMain 2181 /data/zookeeper ;;
    master)
        await_namenode
        java_on_hbase org.apache.hadoop.hbase.master.HMaster start
        ;;
    regionserver)
        await_namenode
        java_on_hbase org.apache.hadoop.hbase.regionserver.HRegionServer start
        ;;
    thrift) java_on_hbase org.apache.hadoop.hbase.thrift.ThriftServer start -p 9090 ;;
    *)
        echo "There is no part '$part'." >&2
        exit 2
        ;;
esac
