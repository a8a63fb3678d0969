"""`python -m tests.simulation COMMAND`; docs/simulation.md says what each is for.

soak N [FIRST]     the random plans of the seeds below N, from FIRST on
replay SEED        one of them, step by step
faults [WORLD …]   each single fault, in all worlds or those named
guards [GUARD …]   the deployer without each of its guards, or those named
race, rules        the tables of the documentation
fleet              likewise, of many services pushed at once
"""

import gc
import resource
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.world import Plan

_INSTALLED = ExitStack()
_ENOUGH = 20  # broken plans to tell of
_ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(_ROOT / "functions"), str(_ROOT / "layers/deployer")]


def main(command: str, *arguments: str) -> int:
    from tests.simulation import fleet, plans, race, runtime
    from tests.simulation.test_rules import table
    from tests.simulation.worlds import PLANS

    match command, *arguments:
        case "soak", number, *first:
            seeds = range(int(first[0]) if first else 0, int(number))
            return _run(seeds, len(seeds))
        case "faults", *names:
            with runtime.installed():
                every = [(n, p) for n in names or PLANS for p in plans.single_faults(n)]
            return _run(every, len(every))
        case "guards", *names:
            return _guards(names)
    _begin()  # not above: the pools of processes have a thread
    match command, *arguments:
        case "replay", seed:
            plan = plans.random_plan(int(seed))
            result = plans.broken(plan)
            print(plans.told(plans.shortest(plan, result.name) if result else plan))
            return result is not None
        case ["race"]:
            print(race.table())
            return 0
        case ["fleet"]:
            print(fleet.table(), fleet.quotas(), sep="\n\n")
            return 0
        case ["rules"]:
            print(table())
            return 0
    print(__doc__, file=sys.stderr)
    return 2


def _begin() -> None:
    """Put the deployer into the simulation, for as long as this process lives."""
    from tests.simulation import runtime

    _INSTALLED.enter_context(runtime.installed())
    gc.freeze()  # what is there now stays: a tenth of a run's time went into looking through it
    gc.set_threshold(50_000, 20)


def _run(work: Iterable[int | tuple[str, "Plan"]], number: int) -> int:
    """Run plans, given by their seeds or with a name, on all cores; tell of those that break."""
    begun, failures = time.monotonic(), 0
    with ProcessPoolExecutor(initializer=_begin) as pool:
        for done, entry in enumerate(pool.map(_what_breaks, work, chunksize=50), 1):
            if entry:
                failures += 1
                print(f"{entry}\n", flush=True)
                if failures == _ENOUGH:
                    pool.shutdown(cancel_futures=True)
                    number = done
                    break
            if done % 5000 == 0:
                print(f"{done} of {number} runs, {failures} broken", flush=True)
    seconds, used = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    each = number / (used.ru_utime + used.ru_stime)
    print(f"{number} runs in {seconds:.0f} s, {each:.0f} a second of a core; {failures} broken")
    return failures > 0


def _what_breaks(work: "int | tuple[str, Plan]") -> str:
    """What breaks in a plan, with its shortest form; empty if nothing does."""
    from tests.simulation import plans

    name, plan = (str(work), plans.random_plan(work)) if isinstance(work, int) else work
    result = plans.broken(plan)
    return f"{name}: {result}\n{plans.told(plans.shortest(plan, result.name))}" if result else ""


def _guards(names: list[str]) -> int:
    """Take guards away, all or those named; tell which were missed by which invariant."""
    from tests.simulation.guards import GUARDS

    wanted = [guard.name for guard in GUARDS if guard.name in names or not names]
    caught = 0
    with ProcessPoolExecutor(initializer=_begin) as pool:
        for name, entry in zip(wanted, pool.map(_without, wanted), strict=True):
            caught += bool(entry)
            print(f"{name:50} {(entry or 'NOT CAUGHT')[:110]}", flush=True)
    print(f"{caught} of {len(wanted)} caught")
    return caught < len(wanted)


def _without(name: str) -> str:
    from tests.simulation.guards import GUARDS, caught

    result = caught(next(guard for guard in GUARDS if guard.name == name))
    return f"caught by plan {result.tried}: {result.broken}" if result else ""


if __name__ == "__main__":
    sys.exit(main(*(sys.argv[1:] or ["help"])))
