"""Between the contenders and the server: loopback, or a link with a delay and a bandwidth.

With root and `/dev/net/tun` the server lives in a network namespace of its own. Loopback is that
namespace's, the contenders run in it. For the link they run in a second namespace, and a small C
program, `native/link.c`, carries the packets between the two, as `tc netem` would where the kernel
has it. Without root there is loopback alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROUND_TRIP_SECONDS = 0.020
BITS_PER_SECOND = 1_000_000_000
LOOPBACK, DELAYED = "loopback", "delayed"

# Addresses set aside for benchmarks (RFC 2544); they are seen in the two namespaces alone.
_SERVER, _CLIENT = "198.18.0.1", "198.18.0.2"
_ENTER = "nsenter"


@dataclass(frozen=True, slots=True)
class Network:
    """How the server and its contenders are reached.

    Attributes:
        server: Namespace of the server; empty for this one.
        client: Namespace at the other end of the link; empty where there is none.
    """

    server: str = ""
    client: str = ""
    addresses: Mapping[str, str] = field(
        default_factory=lambda: {LOOPBACK: "127.0.0.1", DELAYED: _SERVER}
    )

    @property
    def bind(self) -> str:
        """The address for the server to listen on."""
        return "0.0.0.0" if self.server else "127.0.0.1"

    def prefix(self, link: str) -> list[str]:
        """Return what a contender's command begins with so that it runs at the link's end."""
        return _inside(self.client if link == DELAYED else self.server)

    def server_prefix(self) -> list[str]:
        """Return what the server's command begins with."""
        return _inside(self.server)


def why_no_link() -> str:
    """Return why there can be no delayed link here, or an empty string."""
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    if not Path("/dev/net/tun").exists():
        return "needs /dev/net/tun"
    missing = [name for name in ("ip", _ENTER, "gcc") if shutil.which(name) is None]
    return f"needs {', '.join(missing)}" if missing else ""


@contextmanager
def network(link_program: Path | None) -> Generator[Network]:
    """Make the namespaces and the link; without a program for it there is loopback alone."""
    if link_program is None:
        yield Network()
        return
    server, client = f"bench-server-{os.getpid()}", f"bench-client-{os.getpid()}"
    with ExitStack() as stack:
        for name in (server, client):
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "del", name)
            _ip("-n", name, "link", "set", "lo", "up")
        stack.enter_context(_carried(link_program, server, client))
        for name, address in ((server, _SERVER), (client, _CLIENT)):
            _ip("-n", name, "addr", "add", f"{address}/30", "dev", "far")
            _ip("-n", name, "link", "set", "far", "mtu", "1500", "txqueuelen", "10000", "up")
        yield Network(server, client)


@contextmanager
def _carried(program: Path, server: str, client: str) -> Generator[None]:
    microseconds = str(round(ROUND_TRIP_SECONDS / 2 * 1e6))
    ends = [f"/run/netns/{server}", "far", f"/run/netns/{client}", "far"]
    command = [program, *ends, microseconds, str(BITS_PER_SECOND)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError("The link between the namespaces did not start")
        yield


def _inside(namespace: str) -> list[str]:
    return [_ENTER, f"--net=/run/netns/{namespace}"] if namespace else []


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
