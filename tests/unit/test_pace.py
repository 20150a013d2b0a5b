"""How fast failing apply workers are started again."""

from container.pace import QUICKEST_MS, SLOWEST_MS, SLOWEST_UNCONNECTED_MS, Pace, Pacer


def rounds(pace: Pace, *seen: tuple[int, int]) -> list[int]:
    return [pace.next(errors, unconnected, 2000) for errors, unconnected in seen]


def test_a_conflict_now_and_then_is_retried_at_once():
    assert set(rounds(Pace(), *[(n // 2, 0) for n in range(40)])) == {QUICKEST_MS}


def test_errors_of_before_the_agent_came_are_none():
    assert set(rounds(Pace(), *[(1000, 0)] * 10)) == {QUICKEST_MS}


def test_what_fails_again_and_again_is_slowed_down_step_by_step():
    found = rounds(Pace(), *[(n, 0) for n in range(12)])
    assert found[:6] == [200, 200, 200, 400, 800, 1600] and found[-1] == SLOWEST_MS


def test_at_the_slowest_pace_it_stays_slow():
    pace = Pace()
    rounds(pace, *[(n, 0) for n in range(12)])
    # an error every ten seconds
    assert set(rounds(pace, *[(12 + n // 5, 0) for n in range(50)])) == {SLOWEST_MS}


def test_it_is_quick_again_when_nothing_fails():
    pace = Pace()
    rounds(pace, *[(n, 0) for n in range(12)])
    assert rounds(pace, *[(11, 0)] * 8)[-1] == QUICKEST_MS


def test_a_peer_that_is_away_is_asked_more_often():
    assert max(rounds(Pace(), *[(0, 1)] * 50)) == SLOWEST_UNCONNECTED_MS


def test_a_reset_of_the_counters_is_no_error():
    assert set(rounds(Pace(), *[(50 - n, 0) for n in range(20)])) == {QUICKEST_MS}


def test_the_server_is_told_once_a_change():
    told = []

    class Server:
        def set_retry_interval(self, interval_ms: int) -> None:
            told.append(interval_ms)

    pacer = Pacer(Server(), 2.0)
    for errors in range(12):
        pacer.see({"apply_errors": errors, "unconnected": 0})
    for _ in range(10):
        pacer.see({})
        pacer.see({"apply_errors": 11, "unconnected": 0})
    assert told == [400, 800, 1600, 3200, 6400, 10000, 200]


def test_a_full_disk_is_tried_again():
    told, full = [], [True, True, False]

    class Server:
        def set_retry_interval(self, interval_ms: int) -> None:
            if full and full.pop(0):
                raise OSError("No space left on device")
            told.append(interval_ms)

    pacer = Pacer(Server(), 2.0)
    for errors in range(12):
        pacer.see({"apply_errors": errors, "unconnected": 0})
    assert told == [1600, 3200, 6400, 10000]
