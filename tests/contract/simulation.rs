//! The simulation, and its model of the store held to the embedded one.

use std::collections::BTreeSet;

use testing::simulation::calls::{self, expected, expressions, items, requests};
use testing::simulation::drawn::{self, Report};
use testing::simulation::every_order::{PACES, Pace, STORED, Size, walk_all};
use testing::simulation::recording::{Recording, Step};
use testing::simulation::store::Message;
use testing::simulation::walk::LEFT;
use testing::simulation::{NOW, keys, run_all};

use testing::lambda::function::embedded;

const RUNS: u64 = 520;

#[test]
fn every_response_of_the_simulation_is_true() {
    let mut sum = Report::default();
    let reports = run_all(0..RUNS, drawn::run).unwrap_or_else(|failure| panic!("{failure}"));
    for report in reports {
        sum.add(report);
    }
    let Report { requests, faults, calls, statuses, expressions } = sum;
    println!("{requests} requests, {faults} faults, {calls} attempts that reached the store");
    assert!(requests >= 20_000, "{requests}");
    // Runs in which these never happened would prove nothing.
    assert_eq!(statuses.into_iter().collect::<Vec<_>>(), [200, 404, 412, 500, 503]);
    // All for which the model is held to other stores, but for those with other tags and without a node.
    let mut known: BTreeSet<_> = calls::requests().iter().map(calls::expressions).collect();
    known.retain(|(_, condition)| {
        condition.contains(":node") && !condition.contains("attribute_not_exists") && !condition.contains(":tag2")
    });
    assert_eq!(expressions, known);
}

/// A part of what the example `simulate` walks through.
#[test]
fn every_order_of_few_events_is_allowed() {
    let size = |requests, faults| Size { requests, faults };
    for (size, paces, stored) in [
        (size(1, 1), &PACES[..], &STORED[..]),
        (size(2, 0), &PACES, &STORED),
        (size(2, 1), &[Pace::Stopped], &STORED[..2]),
    ] {
        let counts = walk_all(size, paces, stored, |_| {}).unwrap_or_else(|failure| panic!("{failure}"));
        println!("{size}: {counts}");
    }
}

#[test]
fn keys_are_as_fresh_as_the_rules_say_whatever_happens_to_issuers() {
    let mut sum = keys::Report::default();
    let reports = run_all(0..40, keys::run).unwrap_or_else(|failure| panic!("{failure}"));
    for report in reports {
        sum.add(report);
    }
    // Runs in which these never happened would prove nothing.
    assert!(sum.fetches > 500 && sum.failures > 100 && sum.freezes > 100, "{sum:?}");
    for status in [200, 401, 503] {
        assert!(sum.statuses.keys().any(|(found, _)| *found == status), "{sum:?}");
    }
}

#[test]
fn a_seed_is_a_run() {
    for seed in 0..3 {
        assert_eq!(drawn::history(seed), drawn::history(seed));
    }
}

/// The function's calls for every shape of request, the compare-and-swap after them included, are the ones that the model
/// is held to other stores with; but for the priming call, they are all of them.
#[test]
fn the_function_makes_these_calls_and_no_others() {
    let if_match = [
        None,
        Some("*".to_owned()),
        Some("W/\"weak\"".to_owned()),
        Some("\"1\"".to_owned()),
        Some("\"1\", W/\"weak\", \"2\"".to_owned()),
        Some((0..100).map(|tag| format!("\"{tag}\"")).collect::<Vec<_>>().join(",")),
    ];
    let mut found = BTreeSet::from([expressions(&requests()[0])]);
    for node_claim in ["node_id", ""] {
        let mut recording = Recording::new(&[("TOKEN_NODE_CLAIM", node_claim)]);
        for if_match in &if_match {
            for body in ["{}", r#"{"meta": null}"#, r#"{"meta": {}}"#] {
                let first = recording.request(if_match.as_deref(), body, LEFT);
                let failed = recording.message(Message::overtaken("latest"));
                let second = recording.next(first, failed, NOW);
                for prefix in [first, second] {
                    if let &Step::Attempt(body) = recording.step(prefix) {
                        found.insert(expressions(recording.body(body)));
                    }
                }
            }
        }
    }
    assert_eq!(found, requests().iter().map(expressions).collect());
}

#[tokio::test]
async fn the_model_of_the_store_is_as_the_embedded_store() {
    let store = embedded().await;
    for item in items() {
        for request in requests() {
            store.replace(item.as_ref());
            let mut found = store.update(&request);
            found.as_object_mut().unwrap().retain(|name, _| ["Attributes", "Item"].contains(&&**name));
            assert_eq!(found, expected(item.as_ref(), &request), "{item:?}: {request}");
        }
    }
}
