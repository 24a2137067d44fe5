"""Other processes of ours: each does what it is told, on memory that it shares with this one.

Threads that open, read, write or hash many small files let go of Python's lock for some
microseconds each time, and spend more on passing it to each other than on their work; processes
need no lock. A message is an int64 of its length and the bytes.

The child's side is imported by the child: nothing here may take time to load.
"""

from __future__ import annotations

import marshal
import mmap
import os
import select
import struct
import sys
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, Any

_LENGTH = struct.Struct("<q")
_DONE = b"="
# The message that ends a child.
_END = b""
_RAISED = b"!"
# How often a child looks whether its parent is there, should another process hold the pipe open.
_LOOK_SECONDS = 1.0
_END_SECONDS = 5.0
_SOURCES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
# Until its path is the parent's, a child imports only what is built in: it begins with the folder
# it is in, which may hold a module of any name.
_CODE = (
    "import sys, marshal;"
    "sys.path[:], server, module, memory, parent = marshal.loads(bytes.fromhex(sys.argv[1]));"
    "from importlib import import_module as load;"
    "load(server).serve(load(module).answer, memory, parent)"
)


class Memory:
    """Memory that this process shares with the children it starts.

    Args:
        n_bytes: How much; none of it is taken before it is written to.

    Attributes:
        descriptor: What children know it by; -1 where the system has no such memory.
        view: Its bytes.
    """

    def __init__(self, n_bytes: int) -> None:
        self.descriptor = _descriptor(n_bytes)
        self.view = memoryview(mmap.mmap(self.descriptor, max(n_bytes, 1)))

    def close(self) -> None:
        """Let go of the descriptor; the bytes go with the last view of them."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class Child:
    """A process that answers one message after the other.

    Args:
        module: Name of the module whose `answer(message, memory)` it calls.
        memory: What it shares with this process.

    Raises:
        OSError: It can't be started.
    """

    def __init__(self, module: str, memory: Memory) -> None:
        import subprocess  # noqa: PLC0415  the child does without

        # Programs put other things there too, which imports pass over.
        paths = [str(path) for path in [*sys.path, _SOURCES] if isinstance(path, str)]  # pyright: ignore[reportUnnecessaryIsInstance]
        told = marshal.dumps((paths, __name__, module, memory.descriptor, os.getpid()))
        # File names are to be the same bytes there as here, whatever the locale.
        names = f"utf8={sys.flags.utf8_mode}"
        self._process: subprocess.Popen[bytes] = subprocess.Popen(
            [sys.executable, "-X", names, "-S", "-c", _CODE, told.hex()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(memory.descriptor,),
            process_group=0,  # Ctrl-C is for this process, which ends the others
        )

    def ask(self, message: bytes) -> bytes:
        """Send a message and return the answer.

        Raises:
            EOFError: The process is gone.
            OSError: Likewise.
        """
        self.tell(message)
        return self.hear()

    def tell(self, message: bytes) -> None:
        """Send a message; raises as `ask` does."""
        assert self._process.stdin is not None
        if self._process.stdin.closed:
            raise EOFError
        _send(self._process.stdin, message)

    def hear(self) -> bytes:
        """Wait for the answer to what was sent; raises as `ask` does."""
        assert self._process.stdout is not None
        return _receive(self._process.stdout)

    def has_answered(self) -> bool:
        """Tell whether there is an answer, or none will come."""
        assert self._process.stdout is not None
        look = select.poll()  # `select` knows the first 1,024 descriptors of a process
        look.register(self._process.stdout, select.POLLIN)
        return bool(look.poll(0))

    def end(self) -> None:
        """End the process, after what it is at."""
        import subprocess  # noqa: PLC0415  the child does without

        with suppress(EOFError, OSError):
            self.tell(_END)  # another process may hold the pipe open: one that was forked since
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def read_answer(answer: bytes) -> Any:
    """Return what a child gave to `done`; raises what it gave to `raised`."""
    if answer[:1] == _RAISED:
        import pickle  # noqa: PLC0415  once, if ever

        raise pickle.loads(answer[1:])  # noqa: S301  from our child
    return marshal.loads(answer[1:])  # noqa: S302  likewise


def n_processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def start_children(module: str, memory: Memory, n_children: int) -> list[Child]:
    """Start children, as many as can be: none where a program has the interpreter built in.

    Args:
        module: Name of the module whose `answer` they call.
        memory: What they share with this process.
        n_children: How many are wanted.
    """
    children: list[Child] = []
    if memory.descriptor >= 0 and sys.executable and not getattr(sys, "frozen", False):
        with suppress(OSError):
            for _ in range(n_children):
                children.append(Child(module, memory))  # noqa: PERF401  (those before a failure stay)
    return children


def _descriptor(n_bytes: int) -> int:
    if not hasattr(os, "memfd_create"):
        return -1
    try:
        descriptor = os.memfd_create("prefect-datasets")
    except OSError:
        return -1
    try:
        os.ftruncate(descriptor, max(n_bytes, 1))
    except OSError:  # more than a file may have here
        os.close(descriptor)
        return -1
    return descriptor


def _send(stream: IO[bytes], message: bytes) -> None:
    stream.write(_LENGTH.pack(len(message)) + message)
    stream.flush()


def _receive(stream: IO[bytes]) -> bytes:
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (n_bytes,) = _LENGTH.unpack(head)
    message = stream.read(n_bytes)
    if len(message) < n_bytes:
        raise EOFError
    return message


# -- the child ------------------------------------------------------------------------------


def serve(answer: Callable[[bytes, memoryview], bytes], memory: int, parent: int) -> None:
    """Answer messages on standard input until it ends, or the process that started this one has.

    Args:
        answer: Returns the answer to a message.
        memory: Descriptor of the shared memory.
        parent: Process that started this one.
    """
    whole = memoryview(mmap.mmap(memory, 0))
    with open(0, "rb", closefd=False) as asked, open(1, "wb", closefd=False) as answers:
        while _wait_for(asked, parent):
            try:
                if (message := _receive(asked)) == _END:
                    break
                _send(answers, answer(message, whole))
            except (EOFError, BrokenPipeError):
                break
    os._exit(0)  # nothing is left to be done, and the mapping is large


def done(result: Any) -> bytes:
    """Return the answer that says what was done, of what marshal writes."""
    return _DONE + marshal.dumps(result)


def raised(error: Exception) -> bytes:
    """Return the answer that says what was raised."""
    import pickle  # noqa: PLC0415  once, if ever

    return _RAISED + pickle.dumps(error)


def _wait_for(asked: IO[bytes], parent: int) -> bool:
    """Wait for a message; return False once the parent has gone."""
    while os.getppid() == parent:
        if select.select([asked], [], [], _LOOK_SECONDS)[0]:
            return True
    return False
