# The article's communication between processes, as Python has it: a producer and
# consumers over a Queue, then over a Pipe. Prints the seconds that the messages
# took, without the start of the processes. Run as
#     python3 -c "$(cat pipeline.py)" MESSAGES CONSUMERS BYTES
import multiprocessing
import sys
import time

# Not Python's newest default: those can't start what was given with `-c`.
context = multiprocessing.get_context("fork")


def produce_queue(queue, start, messages, size, consumers):
    filler = "x" * size
    start.wait()
    for number in range(messages):
        queue.put((number, filler))
    for _ in range(consumers):
        queue.put(None)


def consume_queue(queue, start, done):
    total = 0
    start.wait()
    while (message := queue.get()) is not None:
        total += message[0]
    done.send(total)


def over_queue(messages, consumers, size):
    queue = context.Queue(1024)
    start = context.Barrier(consumers + 2)
    processes = [
        context.Process(target=produce_queue, args=(queue, start, messages, size, consumers))
    ]
    ends = []
    for _ in range(consumers):
        here, there = context.Pipe()
        processes.append(context.Process(target=consume_queue, args=(queue, start, there)))
        ends.append(here)
    return timed(processes, ends, start, messages)


def produce_pipe(pipe, start, messages, size):
    filler = "x" * size
    start.wait()
    for number in range(messages):
        pipe.send((number, filler))
    pipe.send(None)


def consume_pipe(pipe, start, done):
    total = 0
    start.wait()
    while (message := pipe.recv()) is not None:
        total += message[0]
    done.send(total)


def over_pipe(messages, size):
    start = context.Barrier(3)
    a, b = context.Pipe()
    here, there = context.Pipe()
    processes = [
        context.Process(target=produce_pipe, args=(a, start, messages, size)),
        context.Process(target=consume_pipe, args=(b, start, there)),
    ]
    return timed(processes, [here], start, messages)


def timed(processes, ends, start, messages):
    for process in processes:
        process.start()
    start.wait()
    began = time.perf_counter()
    total = sum(end.recv() for end in ends)
    took = time.perf_counter() - began
    for process in processes:
        process.join()
    assert total == messages * (messages - 1) // 2, total
    return took


if __name__ == "__main__":
    messages, consumers, size = map(int, sys.argv[1:4])
    print(over_queue(messages, consumers, size), over_pipe(messages, size))
