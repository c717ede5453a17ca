"""The article's programs in plain Python, in rounds that `compare` asks for.

    python3 article.py cpu_bound multiprocessing 4 10000000
    python3 article.py io_bound threading 5 http://127.0.0.1:8000/

WORKLOAD is cpu_bound (COUNT sums of range(N)) or io_bound (COUNT downloads of
one URL). ENGINE is multiprocessing, threading, asyncio or sequential.

Run by hand, one round is run and told in the article's words. Run by `compare`,
the program answers commands on stdin, one JSON line each:

    cold    the article's program as it stands: start the processes or threads,
            do the work, join them
    warm    the same work on a pool or an event loop that is there already
    picture as warm; the answer says what ran when
    end     stop

Downloads use requests (threads, processes) and aiohttp (asyncio) if they can be
imported, else urllib.request and asyncio.open_connection; the first line of
output says which.
"""

import asyncio
import concurrent.futures
import ctypes
import json
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
import urllib.parse
import urllib.request

TIMEOUT_S = 30
_libc = ctypes.CDLL(None)


def die_with_parent():
    """Has the kernel kill this process when the one that started it dies."""
    _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


# ---- the work ---------------------------------------------------------------


def cpu_bound_task(n):
    return sum(range(n))


def check_sum(n, total):
    if total != n * (n - 1) // 2:
        raise SystemExit(f"wrong sum of range({n}): {total}")


try:
    import requests

    BLOCKING_CLIENT = f"requests {requests.__version__}"

    def fetch(url):
        return requests.get(url, timeout=TIMEOUT_S).status_code

except ImportError:
    BLOCKING_CLIENT = "urllib.request"

    def fetch(url):
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
            response.read()
            return response.status


try:
    import aiohttp

    ASYNC_CLIENT = f"aiohttp {aiohttp.__version__}"

    async def fetch_all(url, count):
        # Without limit=0 a session opens no more than 100 connections.
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def fetch_one():
                async with session.get(url) as response:
                    await response.read()
                    return response.status

            return await asyncio.gather(
                *(noted_task(fetch_one(), number) for number in range(count))
            )

except ImportError:
    ASYNC_CLIENT = "asyncio.open_connection"

    async def fetch_one(url):
        parts = urllib.parse.urlsplit(url)
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=secure or None)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        request = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
        if "content-length" in headers:
            await reader.readexactly(int(headers["content-length"]))
        else:
            await reader.read()
        writer.close()
        await writer.wait_closed()
        return int(head[0].split()[1])

    async def fetch_all(url, count):
        return await asyncio.gather(
            *(noted_task(fetch_one(url), number) for number in range(count))
        )


def check_statuses(statuses, count):
    if list(statuses) != [200] * count:
        raise SystemExit(f"not every download had status 200: {sorted(set(statuses))}")


# ---- what ran when ----------------------------------------------------------

# One (row, start_ns, end_ns) for each job while `picture` is asked for.
BARS = None


def noted(job, argument):
    """Runs a job and notes its process and thread, and from when to when it ran."""
    started = time.perf_counter_ns()
    result = job(argument)
    if BARS is not None:
        BARS.append((f"{os.getpid()} {threading.get_ident()}", started, time.perf_counter_ns()))
    return result


async def noted_task(coroutine, number):
    started = time.perf_counter_ns()
    result = await coroutine
    if BARS is not None:
        BARS.append((f"task {number}", started, time.perf_counter_ns()))
    return result


def picture(engine, workload):
    """A round of `engine`, as rows of bars."""
    global BARS
    BARS = []
    started = time.perf_counter_ns()
    engine.warm()
    ended = time.perf_counter_ns()
    nature = "work" if workload == "cpu_bound" else "wait"
    rows = {}
    for row, begin, end in sorted(BARS, key=lambda bar: bar[1]):
        bar = {"start_ns": begin - started, "end_ns": end - started, "nature": nature}
        rows.setdefault(row, []).append(bar)
    BARS = None
    unit = "process" if isinstance(engine, Multiprocessing) else "thread"
    if any(row.startswith("task") for row in rows):
        unit = "task"
        for bars in rows.values():
            # Tasks compute too, if only for moments: when they begin, and when they end.
            bar = bars[0]
            for moment in (bar["start_ns"], bar["end_ns"]):
                bars.append({"start_ns": moment, "end_ns": moment, "nature": "work"})
    listed = [{"unit": unit, "bars": bars} for bars in rows.values()]
    return {"length_ns": ended - started, "rows": listed}


# ---- what a process or thread runs ------------------------------------------


def own_peak_rss():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None


def in_worker(job):
    """A job in a pool's process: its result, and what it cost there."""
    before = time.process_time()
    started = time.perf_counter_ns()
    result = job[0](job[1])
    bar = (str(os.getpid()), started, time.perf_counter_ns())
    return result, time.process_time() - before, os.getpid(), own_peak_rss(), bar


def in_child(job, argument, pipe):
    """A job in a process of its own, as the article starts them."""
    die_with_parent()
    pipe.send((job(argument), own_peak_rss()))
    pipe.close()


# ---- engines: each has cold() and warm(), both return the results -----------


class Sequential:
    def __init__(self, job, argument, count):
        self.jobs = [(job, argument)] * count
        self.cpu_elsewhere = 0.0
        self.rss_elsewhere = 0

    def cold(self):
        return [noted(job, argument) for job, argument in self.jobs]

    def warm(self):
        return self.cold()


class Threading(Sequential):
    pool = None

    def cold(self):
        results = []
        threads = [
            threading.Thread(target=lambda: results.append(job(argument)))
            for job, argument in self.jobs
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    def prepare(self):
        count = len(self.jobs)
        self.pool = concurrent.futures.ThreadPoolExecutor(count)
        barrier = threading.Barrier(count)
        list(self.pool.map(lambda _: barrier.wait(), range(count)))

    def warm(self):
        futures = [self.pool.submit(noted, job, argument) for job, argument in self.jobs]
        return [future.result() for future in futures]


class Multiprocessing(Sequential):
    pool = None
    context = multiprocessing.get_context("fork")

    def cold(self):
        processes, pipes = [], []
        for job, argument in self.jobs:
            ours, theirs = self.context.Pipe(duplex=False)
            process = self.context.Process(target=in_child, args=(job, argument, theirs))
            process.start()
            theirs.close()
            processes.append(process)
            pipes.append(ours)
        answers = [pipe.recv() for pipe in pipes]
        for process in processes:
            process.join()
        return [result for result, _ in answers]

    def prepare(self):
        self.pool = self.context.Pool(len(self.jobs), initializer=die_with_parent)
        self.pool.map(abs, range(len(self.jobs)), chunksize=1)

    def warm(self):
        answers = self.pool.map(in_worker, self.jobs, chunksize=1)
        self.cpu_elsewhere += sum(cpu for _, cpu, _, _, _ in answers)
        workers = {pid: rss or 0 for _, _, pid, rss, _ in answers}
        self.rss_elsewhere = max(self.rss_elsewhere, sum(workers.values()))
        if BARS is not None:
            # The clock is the same in all processes of a machine.
            BARS.extend(bar for _, _, _, _, bar in answers)
        return [result for result, _, _, _, _ in answers]


class Asyncio(Sequential):
    """For cpu_bound `job` is the task; for io_bound it is `fetch_all`."""

    loop = None

    async def main(self):
        job, argument = self.jobs[0]
        if asyncio.iscoroutinefunction(job):
            return await job(argument, len(self.jobs))

        async def task(job, argument):
            return noted(job, argument)

        return await asyncio.gather(*(task(*each) for each in self.jobs))

    def cold(self):
        return asyncio.run(self.main())

    def prepare(self):
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(asyncio.sleep(0))

    def warm(self):
        return self.loop.run_until_complete(self.main())


ENGINES = {
    "sequential": Sequential,
    "threading": Threading,
    "multiprocessing": Multiprocessing,
    "asyncio": Asyncio,
}


# ---- rounds -----------------------------------------------------------------


def cpu_seconds():
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure(engine, how, check):
    cpu_before, elsewhere_before = cpu_seconds(), engine.cpu_elsewhere
    started = time.perf_counter()
    results = how()
    wall = time.perf_counter() - started
    cpu = cpu_seconds() - cpu_before + engine.cpu_elsewhere - elsewhere_before
    check(results)
    return {"wall_s": wall, "cpu_s": cpu}


def raise_open_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def answer(message):
    print(json.dumps(message), flush=True)


def main():
    workload, name, count, what = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    client = None
    if workload == "cpu_bound":
        n = int(what)
        job, argument = cpu_bound_task, n

        def check(results):
            for total in results:
                check_sum(n, total)

    else:
        raise_open_files()
        if name == "asyncio":
            client, job = ASYNC_CLIENT, fetch_all
        else:
            client, job = BLOCKING_CLIENT, fetch
        argument = what

        def check(results):
            check_statuses(results, count)

    engine = ENGINES[name](job, argument, count)

    if sys.stdin.isatty():
        taken = measure(engine, engine.cold, check)["wall_s"]
        print(f"{name.capitalize()} took {taken:.2f} seconds.")
        return

    die_with_parent()
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    answer({"python": sys.version.split()[0], "gil": gil, "client": client})
    for command in sys.stdin:
        command = command.strip()
        if command == "end":
            break
        if command in ("warm", "picture") and hasattr(engine, "prepare"):
            engine.prepare()
            del type(engine).prepare
        if command == "picture":
            answer(picture(engine, workload))
            continue
        answer(measure(engine, engine.warm if command == "warm" else engine.cold, check))
    if getattr(engine, "pool", None) is not None and name == "multiprocessing":
        engine.pool.terminate()
        engine.pool.join()
    answer({"peak_rss_bytes": own_peak_rss() + engine.rss_elsewhere})


if __name__ == "__main__":
    main()
