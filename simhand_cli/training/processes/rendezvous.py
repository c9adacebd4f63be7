"""The rendezvous of the machines of a run, by torch: the address, its problems, the id they agree on."""

import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

from torch._C._distributed_c10d import PrefixStore
from torch.distributed.elastic.rendezvous import (
    RendezvousClosedError,
    RendezvousError,
    RendezvousParameters,
    RendezvousTimeoutError,
)

from simhand_cli.console import Console
from simhand_cli.errors import EnvironmentProblem, SimhandError
from simhand_cli.training.processes.failures import first_line, is_lost_peer
from simhand_cli.training.processes.world import World

#: Seconds that machines wait for each other, at the start and after one was lost.
MEET_TIMEOUT_S = 600


def meeting(world: World, name: str, console: Console) -> RendezvousParameters:
    """Where machines meet; a single one meets itself on a free port."""
    timeouts = {"join_timeout": MEET_TIMEOUT_S, "read_timeout": MEET_TIMEOUT_S}
    if world.endpoint is None:
        # A random id: two runs on one machine at a time must not meet.
        return RendezvousParameters("c10d", "localhost:0", uuid.uuid4().hex, 1, 1, local_addr="localhost", **timeouts)
    console.say(f"waiting for {world.nodes} machines at {world.endpoint}")
    # torch would take the host name, which others need not be able to resolve.
    address = _own_address(world.endpoint)
    return RendezvousParameters(
        "c10d", world.endpoint, f"simhand {name}", world.nodes, world.nodes, local_addr=address, **timeouts
    )


def _own_address(endpoint: str) -> str:
    """This machine's address as seen from where machines meet; waits until somebody listens there.

    Raises:
        EnvironmentProblem: no such machine, or nobody there in time.
    """
    host, _, port = endpoint.rpartition(":")
    host = host.strip("[]")
    try:
        family, _, _, _, target = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise EnvironmentProblem(f"--rdzv-endpoint {endpoint}: {error.strerror}") from error
    # The address of the network card that leads there: a machine has several.
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(target)  # sends nothing, but chooses the way there
        own = str(probe.getsockname()[0])
    if own == target[0] or ip_address(own).is_loopback:  # this machine, whose name may mean a loopback address here
        return host
    end = time.monotonic() + MEET_TIMEOUT_S
    # Until somebody listens: the machine that keeps the store may be started last.
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except OSError as error:
            if time.monotonic() > end:
                raise EnvironmentProblem(f"--rdzv-endpoint {endpoint}: nobody answers ({error})") from error
            time.sleep(1)
        else:
            return own


@contextmanager
def meeting_problems(world: World) -> Iterator[None]:
    """What keeps machines from meeting as one line.

    Raises:
        EnvironmentProblem: in place of torch's errors.
    """
    try:
        yield
    # Closed on purpose by a machine whose run has failed.
    except RendezvousClosedError as error:
        raise EnvironmentProblem("the run has ended on another machine, where the reason is told") from error
    except RendezvousTimeoutError as error:
        raise EnvironmentProblem(
            f"fewer than {world.nodes} machines came to {world.endpoint} within {MEET_TIMEOUT_S // 60} minutes; "
            "start the same command on each"
        ) from error
    except (RendezvousError, RuntimeError) as error:
        if isinstance(error, SimhandError) or not (isinstance(error, RendezvousError) or is_lost_peer(error)):
            raise
        raise EnvironmentProblem(
            f"the machines cannot meet at {world.endpoint or 'localhost'}: {first_line(error)}"
        ) from error


def agreed_job(store: PrefixStore) -> str:
    """What tells a job from all others: chosen by its first command, read by all that join later, or again.

    Args:
        store: the part of one meeting of the store that stays for as long as the job.
    """
    # The underlying store: its parts are one meeting's each, and the id must outlive them.
    agreed: bytes = store.underlying_store.compare_set("simhand job", "", uuid.uuid4().hex)
    return agreed.decode()
