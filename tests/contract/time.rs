//! Rules about time, on a clock that only advances when everything waits for it.

use std::ops::RangeInclusive;
use std::time::Duration;

use testing::fault::{Received, THROTTLED};
use testing::simulation::NOW;
use testing::simulation::recording::{Recording, Step};
use testing::simulation::store::Message;
use testing::simulation::walk::LEFT;

const SET: &str = r#"{"meta": {"path": "/0"}}"#;
const REMOVE: &str = r#"{"meta": null}"#;
const READ: &str = "{}";

const BUSY: Received = Received::Status(400, THROTTLED);

/// A request whose attempts get this, the last again and again: its status, the milliseconds until its response, and its
/// attempts.
#[track_caller]
fn check(body: &str, left: u64, received: &[Received], status: u64, took: RangeInclusive<u128>, attempts: usize) {
    let row = format!("{body}, {left} ms, {received:?}");
    let mut recording = Recording::new(&[]);
    let mut prefix = recording.request(None, body, left);
    loop {
        match recording.step(prefix) {
            Step::Response(response) => {
                assert_eq!((response.status, recording.received(prefix)), (status, attempts), "{row}");
                assert!(took.contains(&recording.took(prefix).as_millis()), "{row}: {:?}", recording.took(prefix));
                return;
            }
            Step::Attempt(_) => {
                let next = recording.received(prefix).min(received.len() - 1);
                let message = recording.message(Message::new(received[next], None));
                prefix = recording.next(prefix, message, NOW);
            }
        }
    }
}

/// An attempt has two seconds, and the longest wait after it is 50 ms, and then twice as long.
#[test]
fn three_attempts_that_fail_are_made_and_no_more() {
    for body in [SET, REMOVE, READ] {
        check(body, LEFT, &[Received::Nothing], 503, 6_000..=6_170, 3);
        check(body, LEFT, &[Received::Nothing, BUSY], 503, 2_000..=2_170, 3);
        check(body, LEFT, &[BUSY], 503, 0..=170, 3);
    }
}

#[test]
fn the_response_is_ready_300_ms_before_the_deadline() {
    for (left, took, attempts) in
        [(350, 50, 1), (1_000, 700, 1), (2_300, 2_000, 1), (3_000, 2_700, 2), (6_200, 5_900, 3)]
    {
        for body in [SET, REMOVE, READ] {
            check(body, left, &[Received::Nothing], 503, took..=took + 2, attempts);
        }
    }
}

#[test]
fn the_store_is_asked_only_if_time_is_left() {
    for (left, attempts) in [(0, 0), (1, 0), (300, 0), (400, 1)] {
        check(SET, left, &[Received::Nothing], 503, 0..=102, attempts);
    }
}

#[test]
fn a_writer_waits_after_each_lost_race_but_the_first() {
    let mut recording = Recording::new(&[]);
    let mut prefix = recording.request(None, REMOVE, LEFT);
    for race in 1..=21 {
        let message = recording.message(Message::overtaken(&format!("later-{race}")));
        prefix = recording.next(prefix, message, NOW);
        assert!(matches!(recording.step(prefix), Step::Attempt(_)), "race {race}: {:?}", recording.step(prefix));
        if race == 1 {
            assert_eq!(recording.took(prefix), Duration::ZERO);
        }
    }
    // A wait is drawn from 0 to 50 ms: 20 of them are less than 100 ms together in one of 10^12 runs.
    assert!(recording.took(prefix) > Duration::from_millis(100), "{:?}", recording.took(prefix));
}
