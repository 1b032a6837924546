//! Rules about time, on a clock that only advances when everything waits for it.

use std::ops::RangeInclusive;
use std::time::Duration;

use testing::simulation::behavior::{Behavior, NOW, Step};
use testing::simulation::follow;
use testing::simulation::network::Message;
use testing::simulation::plan::{Action, Fate, Fault, Freeze, Plan, Planned, Tag};

fn plan(action: Action, left: u64, faults: &[Fault]) -> Plan {
    let fates = faults.iter().map(|fault| Fate { there: 0, back: 0, fault: Some(*fault) }).collect();
    let (client, instance, target) = (0, 0, 0);
    Plan::of(Planned { client, instance, target, action, tag: Tag::None, pause: 0, left, fates })
}

/// Milliseconds between a request and its response.
#[track_caller]
fn check(plan: &Plan, status: u64, took: RangeInclusive<u128>) {
    let history = follow(plan);
    let response = history.requests[0].response.as_ref().unwrap_or_else(|| panic!("no response: {plan:?}"));
    assert_eq!(response.status, status, "{plan:?}");
    assert!(took.contains(&response.took.as_millis()), "{:?}: {plan:?}", response.took);
}

#[test]
fn an_attempt_that_hangs_leaves_time_for_another() {
    for action in [Action::Set(0), Action::Remove, Action::Read] {
        for fault in [Fault::RequestLost, Fault::ResponseLost, Fault::Late(100), Fault::Late(9_000)] {
            // The limit of an attempt, and the longest wait after it.
            check(&plan(action, 2_600, &[fault]), 200, 2_000..=2_060);
        }
    }
}

#[test]
fn three_attempts_are_made_and_no_more() {
    for fault in [Fault::RequestLost, Fault::ResponseLost] {
        check(&plan(Action::Set(0), 60_000, &[fault; 3]), 503, 6_000..=6_170);
        check(&plan(Action::Set(0), 60_000, &[fault; 2]), 200, 4_000..=4_170);
    }
    check(&plan(Action::Set(0), 60_000, &[Fault::ErrorBefore; 3]), 503, 0..=170);
}

#[test]
fn the_response_is_ready_300_ms_before_the_deadline() {
    for (left, took) in [(350, 50), (1_000, 700), (2_300, 2_000), (3_000, 2_700), (6_200, 5_900)] {
        for action in [Action::Set(0), Action::Read] {
            check(&plan(action, left, &[Fault::RequestLost; 6]), 503, took..=took + 2);
        }
    }
}

#[test]
fn the_store_is_asked_only_if_time_is_left() {
    for (left, asked) in [(1, false), (300, false), (400, true)] {
        let history = follow(&plan(Action::Set(0), left, &[Fault::RequestLost]));
        let attempt = history.events.iter().any(|(_, event)| event.starts_with("request 0 attempt 1"));
        assert_eq!(attempt, asked, "{left} ms: {:?}", history.events);
    }
}

#[test]
fn an_instance_that_was_frozen_past_the_deadline_writes_nothing() {
    let mut frozen = plan(Action::Set(0), 1_000, &[]);
    frozen.freezes.push(Freeze { instance: 0, from: 0, until: 5_000 });
    let history = follow(&frozen);
    assert!(history.requests[0].response.is_none());
    assert!(history.states[0].iter().all(|state| state.by != Some(0)), "{:?}", history.events);
}

#[test]
fn a_writer_waits_after_each_lost_race_but_the_first() {
    let mut behavior = Behavior::new(&[]);
    let mut point = behavior.request(None, r#"{"meta": null}"#, NOW);
    for race in 1..=21 {
        let message = behavior.message(Message::overtaken(&format!("later-{race}")));
        point = behavior.next(point, message, NOW);
        assert!(matches!(behavior.step(point), Step::Attempt(_)), "race {race}: {:?}", behavior.step(point));
        if race == 1 {
            assert_eq!(behavior.took(point), Duration::ZERO);
        }
    }
    // A wait is drawn from 0 to 50 ms: 20 of them are less than 100 ms together in one of 10^12 runs.
    assert!(behavior.took(point) > Duration::from_millis(100), "{:?}", behavior.took(point));
}
