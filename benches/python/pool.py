"""Group `processes` by Python's two pools.

Usage: pool.py ppe|mp|mp-chunk100 WORKLOAD smoke|quick|full

Prints one line of JSON: the figure in the unit of the row, and the CPU seconds of
each operation, workers included. The workloads are those of
`benches/src/workloads/processes/`, job for job.
"""

import json
import multiprocessing
import os
import resource
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor


def add_one(x):
    return x + 1


def touch(data):
    data = bytearray(data)
    data[-1] = (data[-1] + 1) % 256
    return bytes(data)


class Executor:
    """concurrent.futures.ProcessPoolExecutor"""

    def __init__(self, workers):
        self.pool = ProcessPoolExecutor(workers)

    def run(self, function, argument):
        return self.pool.submit(function, argument).result()

    def map(self, function, arguments, chunk):
        return self.pool.map(function, arguments, chunksize=chunk)

    def pids(self):
        return list(self.pool._processes or ())

    def close(self):
        self.pool.shutdown()


class Pool:
    """multiprocessing.Pool"""

    def __init__(self, workers):
        self.pool = multiprocessing.Pool(workers)

    def run(self, function, argument):
        return self.pool.apply_async(function, (argument,)).get()

    def map(self, function, arguments, chunk):
        return self.pool.map(function, arguments, chunksize=chunk)

    def pids(self):
        return [process.pid for process in self.pool._pool]

    def close(self):
        self.pool.close()
        self.pool.join()


def cpu(pids):
    """CPU seconds of this process, of those it waited for, and of its workers."""
    total = time.process_time()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    total += children.ru_utime + children.ru_stime
    for pid in pids:
        try:
            # The clock of another process, as clock_getcpuclockid() makes it.
            total += time.clock_gettime((~pid << 3) | 2)
        except OSError:
            pass
    return total


def repeat(pool, seconds, operation):
    """Runs `operation(i)` for about so long; seconds and CPU seconds of each."""
    operation(0)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds / 4:
        operation(count)
        count += 1
    count = max(1, count * 4)
    before = cpu(pool.pids())
    began = time.perf_counter()
    for i in range(count):
        operation(i)
    elapsed = time.perf_counter() - began
    return elapsed / count, (cpu(pool.pids()) - before) / count


def main():
    engine, workload, size = sys.argv[1:4]
    pick = {"smoke": 0, "quick": 1, "full": 2}[size]
    seconds = (0.02, 0.15, 0.5)[pick]
    kind = Executor if engine == "ppe" else Pool

    if workload == "tight":
        pool = kind(2)

        def operation(i):
            assert pool.run(add_one, i) == i + 1

        each, cpu_each = repeat(pool, seconds, operation)
        value = each * 1e6
        pool.close()
    elif workload == "sparse":
        pool = kind(2)
        pool.run(add_one, 0)
        times = []
        count = (10, 100, 500)[pick]
        before = cpu(pool.pids())
        for i in range(count):
            time.sleep(0.002)
            began = time.perf_counter()
            assert pool.run(add_one, i) == i + 1
            times.append(time.perf_counter() - began)
        cpu_each = cpu(pool.pids()) - before
        value = statistics.median(times) * 1e6
        pool.close()
    elif workload in ("map_1", "map_chunked"):
        chunk = 1 if workload == "map_1" else 100
        count = (1_000, 10_000, 50_000)[pick] * (1 if chunk == 1 else 10)
        pool = kind(2)
        pool.run(add_one, 0)
        before = cpu(pool.pids())
        began = time.perf_counter()
        total = sum(pool.map(add_one, range(count), chunk))
        elapsed = time.perf_counter() - began
        assert total == count * (count + 1) // 2
        value = count / elapsed
        cpu_each = (cpu(pool.pids()) - before) / count
        pool.close()
    elif workload == "payload":
        pool = kind(1)
        data = b"\x07" * ((1 << 20) if size == "smoke" else (64 << 20))
        assert len(pool.run(touch, data)) == len(data)
        times = []
        before = cpu(pool.pids())
        for _ in range((1, 2, 5)[pick]):
            began = time.perf_counter()
            back = pool.run(touch, data)
            times.append(time.perf_counter() - began)
            assert back[-1] == 8 and back[:-1] == data[:-1]
        cpu_each = (cpu(pool.pids()) - before) / len(times)
        value = statistics.median(times) * 1e3
        pool.close()
    elif workload == "start":
        memory = b"\x01" * ((64 << 20) if size == "smoke" else (1 << 30))
        times = []
        before = cpu(())
        for _ in range((1, 3, 10)[pick]):
            began = time.perf_counter()
            pool = kind(1)
            assert pool.run(add_one, 1) == 2
            times.append(time.perf_counter() - began)
            pool.close()
        assert memory[len(memory) // 2] == 1
        cpu_each = (cpu(()) - before) / len(times)
        value = statistics.median(times) * 1e6
    else:
        sys.exit(f"pool.py: there is no workload {workload}")
    print(json.dumps({"value": value, "cpu_s": max(cpu_each, 0.0)}))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
