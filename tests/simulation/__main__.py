"""`python -m tests.simulation soak N | faults | guards | replay SEED | rules | race`."""

import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

_ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(_ROOT / "functions"), str(_ROOT / "layers/deployer")]


def main(command: str, *arguments: str) -> int:
    from tests.simulation import plans, runtime
    from tests.simulation.worlds import PLANS

    with runtime.installed():
        match command:
            case "soak":
                return _soak(int(arguments[0]))
            case "faults":
                every = ((n, plan) for n in PLANS for plan in plans.single_faults(n))
                return _run(every)
            case "replay":
                plan = plans.random_plan(int(arguments[0]))
                found = plans.broken(plan)
                print(plans.told(plans.shortest(plan, found.name) if found else plan))
                return found is not None
            case "guards":
                return _guards()
            case "race":
                from tests.simulation import race

                print(race.table())
                return 0
            case "rules":
                from tests.simulation.test_rules import table

                print(table())
                return 0
    print(__doc__, file=sys.stderr)
    return 2


def _soak(number: int) -> int:
    """Run the plans of the seeds below a number on all cores."""
    begun, failures = time.monotonic(), 0
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for seed, told in enumerate(pool.map(_seed, range(number), chunksize=50), 1):
            if told:
                failures += 1
                print(f"{told}\n", flush=True)
            if seed % 1000 == 0:
                print(f"{seed} runs, {failures} broken", flush=True)
    return _sum_up(number, failures, begun)


def _seed(seed: int) -> str:
    """What breaks in the plan of a seed, with its shortest form; empty if nothing does."""
    from tests.simulation import plans, runtime

    with runtime.installed():
        plan = plans.random_plan(seed)
        found = plans.broken(plan)
        return f"{seed}: {found}\n{plans.told(plans.shortest(plan, found.name))}" if found else ""


def _sum_up(number: int, failures: int, begun: float) -> int:
    seconds = time.monotonic() - begun
    print(f"{number} runs in {seconds:.0f} s ({number / seconds:.0f}/s), {failures} broken")
    return failures > 0


def _run(plans_by_name: Iterable[tuple[str, object]]) -> int:
    from tests.simulation import plans
    from tests.simulation.world import Plan

    begun, failures, number = time.monotonic(), 0, 0
    for number, (name, plan) in enumerate(plans_by_name, 1):
        assert isinstance(plan, Plan)
        found = plans.broken(plan)
        if found:
            failures += 1
            print(f"{name}: {found}\n{plans.told(plans.shortest(plan, found.name))}\n", flush=True)
        if number % 1000 == 0:
            print(f"{number} runs, {failures} broken", flush=True)
    return _sum_up(number, failures, begun)


def _guards() -> int:
    from tests.simulation.guards import GUARDS, caught

    missed = 0
    for guard in GUARDS:
        found = caught(guard)
        missed += found is None
        told = f"after {found.tried}: {found.broken}" if found else "NOT CAUGHT"
        print(f"{guard.name:46} {told[:110]}", flush=True)
    print(f"{len(GUARDS) - missed} of {len(GUARDS)} caught")
    return missed > 0


if __name__ == "__main__":
    sys.exit(main(*(sys.argv[1:] or ["help"])))
