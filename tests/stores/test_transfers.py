from __future__ import annotations

import threading
import time

import pytest

from prefect_datasets.core.store.transfers import MAX_THREADS, READING, run_all


def test_results_keep_the_items_order() -> None:
    def slow_first(n: int) -> int:
        time.sleep(0.02 if n == 0 else 0)
        return n * n

    assert run_all(slow_first, range(50)) == [n * n for n in range(50)]


def test_several_calls_at_once_but_no_more_than_asked() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def count(_: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    run_all(count, range(40), n_threads=5)
    assert 1 < most <= 5
    run_all(count, range(100), n_threads=1000)
    assert most <= MAX_THREADS


def test_the_first_error_stops_the_rest() -> None:
    called: list[int] = []

    def fail_at_three(n: int) -> None:
        called.append(n)
        time.sleep(0.001)
        if n == 3:
            raise ValueError("three")

    with pytest.raises(ValueError, match="three"):
        run_all(fail_at_three, range(10_000), n_threads=4)
    assert len(called) < 100


def test_it_can_be_called_from_many_threads() -> None:
    results: list[list[int]] = []

    def call() -> None:
        results.append(run_all(lambda n: n, range(200)))

    threads = [threading.Thread(target=call) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert results == [list(range(200))] * 10


def test_nothing_to_do() -> None:
    assert run_all(lambda n: n, []) == []


def test_reading_does_not_wait_for_writing() -> None:
    end, results = threading.Event(), list[int]()
    writing = threading.Thread(
        target=lambda: run_all(lambda _: end.wait(30), range(2 * MAX_THREADS))
    )
    writing.start()
    try:
        results = run_all(lambda n: n, range(100), pool=READING)
        assert not end.is_set()
    finally:
        end.set()
        writing.join()
    assert results == list(range(100))
