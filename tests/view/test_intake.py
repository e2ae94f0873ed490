"""The queue between threads and the loop holds so many bytes and no more."""

from __future__ import annotations

import threading

from streamproc.view.intake import Intake


def test_things_come_out_in_order_and_the_first_one_wakes() -> None:
    woken: list[int] = []
    intake: Intake[int] = Intake(lambda: woken.append(1), stop=lambda: False, max_bytes=100)
    for number in range(5):
        intake.put(number, 10)
    assert (intake.waiting_bytes, woken) == (50, [1])
    assert intake.drain() == [0, 1, 2, 3, 4]
    assert (intake.waiting_bytes, intake.drain()) == (0, [])
    intake.put(9, 1000)  # larger than the bound: alone
    assert (woken, intake.drain()) == ([1, 1], [9])


def test_a_thread_waits_for_room_and_goes_on() -> None:
    intake: Intake[int] = Intake(lambda: None, stop=lambda: False, max_bytes=100)
    placed: list[int] = []
    second = threading.Event()

    def put() -> None:
        for number in range(20):
            intake.put(number, 60)
            placed.append(number)
            if number == 0:
                second.set()

    thread = threading.Thread(target=put, daemon=True)
    thread.start()
    assert second.wait(5)
    thread.join(0.05)
    assert placed == [0]  # the next has no room
    got: list[int] = []
    while len(got) < 20:
        assert intake.waiting_bytes <= 100
        got += intake.drain()
    thread.join(5)
    assert got == list(range(20))


def test_at_the_end_nobody_waits() -> None:
    stop = threading.Event()
    intake: Intake[int] = Intake(lambda: None, stop=stop.is_set, max_bytes=10)
    intake.put(1, 10)
    thread = threading.Thread(target=lambda: intake.put(2, 10), daemon=True)
    thread.start()
    stop.set()
    thread.join(5)
    assert not thread.is_alive()
    assert intake.drain() == [1]
