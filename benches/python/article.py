"""Group `article` in Python, with nothing but its standard library.

Usage: article.py multiprocessing|threading|asyncio|sequential cpu|io|many smoke|quick|full

Prints one line of JSON: the wall-clock seconds and the CPU seconds of the whole
run. Workers are ready before the clock starts, as for the other engines. The
server of the downloads is that of the other engines: `$VERSUS __serve slow-http`.
"""

import asyncio
import json
import multiprocessing
import os
import resource
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

TASKS = 4


def sum_to(n):
    total = 0
    for i in range(n):
        total += i
    return total


REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def download(port):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(REQUEST)
        reply = b""
        while part := connection.recv(4096):
            reply += part
    assert reply.endswith(b"\r\n\r\nhello")
    return int(reply[9:12])


async def download_async(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST)
    await writer.drain()
    reply = await reader.read()
    writer.close()
    assert reply.endswith(b"\r\n\r\nhello")
    return int(reply[9:12])


def cpu():
    own = time.process_time()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own + children.ru_utime + children.ru_stime


def run(engine, job, job_async, argument, count, workers):
    """Runs `count` jobs at once; results and wall-clock seconds."""
    if engine == "multiprocessing":
        with multiprocessing.Pool(workers) as pool:
            pool.map(abs, range(workers))
            began = time.perf_counter()
            results = pool.map(job, [argument] * count, chunksize=1)
            return results, time.perf_counter() - began
    if engine == "threading":
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(abs, range(workers)))
            began = time.perf_counter()
            results = list(pool.map(job, [argument] * count))
            return results, time.perf_counter() - began
    if engine == "asyncio":

        async def main():
            began = time.perf_counter()
            results = await asyncio.gather(*(job_async(argument) for _ in range(count)))
            return results, time.perf_counter() - began

        return asyncio.run(main())
    began = time.perf_counter()
    results = [job(argument) for _ in range(count)]
    return results, time.perf_counter() - began


async def sum_to_async(n):
    return sum_to(n)


def main():
    engine, workload, size = sys.argv[1:4]
    before = cpu()
    if workload == "cpu":
        n = 100_000 if size == "smoke" else 10_000_000
        results, seconds = run(engine, sum_to, sum_to_async, n, TASKS, 2)
        assert list(results) == [n * (n - 1) // 2] * TASKS
    else:
        count = 5 if workload == "io" else 50 if size == "smoke" else 1_000
        server = subprocess.Popen(
            [os.environ["VERSUS"], "__serve", "slow-http"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        port = int(server.stdout.readline().rsplit(b":")[1])
        # Not waited for until the clock was read: its CPU isn't ours.
        results, seconds = run(engine, download, download_async, port, count, count)
        assert list(results) == [200] * count
    used = cpu() - before
    print(json.dumps({"value": seconds, "cpu_s": used}), flush=True)
    if workload != "cpu":
        server.stdin.close()
        server.wait()


if __name__ == "__main__":
    main()
