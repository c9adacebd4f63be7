"""How much longer a training step takes beside other busy programs, with OpenMP threads that sleep and that spin first.

Each policy has a process of its own, since OpenMP reads it when torch is loaded. Both take steps in turns (of a
ResNet-18 and of a network of small tensors), alone and beside one and two busy loops: what else happens on the machine
meets them alike.

    python benchmarks/busy_machine.py            # about five minutes
    python benchmarks/busy_machine.py --quick    # a rehearsal
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from machine import machine

from simhand_cli.workspace.cores import busy_cores

#: OpenMP's own way is to spin for a while and then to sleep, unless told otherwise.
POLICIES = {
    "simhand": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "default": {},
}
LOADS = (0, 1, 2)
RESULT = Path(__file__).parent / "results" / "busy_machine.json"
#: A spinning step beside busy loops takes many seconds; more of them would not tell more.
_MOST_S = 8.0


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of one step, written nowhere")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work()
        return
    rounds, steps = (1, 1) if given.quick else (5, 6)
    others = busy_cores(2.0)
    workers = {policy: start_worker(settings) for policy, settings in POLICIES.items()}
    found = measure(workers, rounds, steps)
    for worker in workers.values():
        worker.stdin.close()  # type: ignore[union-attr]  # it is a pipe
        worker.wait()
    result = {
        "machine": machine("cpu"),
        "rounds": rounds,
        "steps a round": steps,
        "cores others kept busy before": others,
        "networks": found,
    }
    print(json.dumps(result, indent=1))
    if not given.quick:
        RESULT.write_text(json.dumps(result, indent=1) + "\n")


def start_worker(settings: dict[str, str]) -> "subprocess.Popen[str]":
    """A process whose OpenMP is set so; it takes steps when told to, and sleeps while the others do."""
    own = ("OMP_NUM_THREADS", "GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {k: v for k, v in os.environ.items() if k not in own} | settings
    worker = subprocess.Popen(
        [sys.executable, __file__, "--worker"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    worker.stdout.readline()  # warm
    return worker


def measure(workers: "dict[str, subprocess.Popen[str]]", rounds: int, steps: int) -> dict[str, Any]:
    """Median milliseconds of a step by network, policy and number of busy loops, and the ratios of interest."""
    times: dict[tuple[str, str, int], list[float]] = {}
    for number in range(rounds):
        turn = list(workers.items())
        turn = turn[number % len(turn) :] + turn[: number % len(turn)]  # nobody is always the first after a change
        for load in LOADS:
            loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(load)]
            time.sleep(0.3)
            for policy, worker in turn:
                for network, taken in ask(worker, steps).items():
                    times.setdefault((network, policy, load), []).extend(taken)
            for loop in loops:
                loop.kill()
                loop.wait()
    found: dict[str, Any] = {}
    for network in dict.fromkeys(name for name, _, _ in times):
        ms = {p: {str(n): 1e3 * statistics.median(times[network, p, n]) for n in LOADS} for p in POLICIES}
        found[network] = {
            "median ms of a step by busy loops beside it": ms,
            "busy / quiet": {p: {str(n): ms[p][str(n)] / ms[p]["0"] for n in LOADS[1:]} for p in POLICIES},
            "over the default on a quiet machine": {p: ms[p]["0"] / ms["default"]["0"] for p in POLICIES},
        }
    return found


def ask(worker: "subprocess.Popen[str]", steps: int) -> dict[str, list[float]]:
    """Have a worker take some steps; seconds of each by network."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(f"{steps}\n")
    worker.stdin.flush()
    answer: dict[str, list[float]] = json.loads(worker.stdout.readline())
    return answer


def work() -> None:
    """Take as many steps as each line says, and answer with the seconds of each."""
    import timm
    import torch

    torch.manual_seed(0)
    resnet = timm.create_model("resnet18", num_classes=8)
    images = torch.randn(32, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    resnet = resnet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    small = torch.nn.Sequential(*(layer for _ in range(24) for layer in (torch.nn.Linear(256, 256), torch.nn.ReLU())))
    rows = torch.randn(512, 256)

    def step(network: torch.nn.Module, inputs: torch.Tensor) -> float:
        start = time.perf_counter()
        network(inputs).square().mean().backward()
        return time.perf_counter() - start

    networks = {"ResNet-18, 32 images of 64 px": (resnet, images), "24 layers of 256": (small, rows)}
    for network, inputs in networks.values():
        for _ in range(3):
            step(network, inputs)
    print("ready", flush=True)
    for line in sys.stdin:
        answer: dict[str, list[float]] = {}
        for name, (network, inputs) in networks.items():
            begun, taken = time.perf_counter(), []
            while len(taken) < int(line) and time.perf_counter() - begun < _MOST_S:
                taken.append(step(network, inputs))
            answer[name] = taken
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
