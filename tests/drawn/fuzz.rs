//! What the fuzzer starts from and what it has found, and random changes of both, in every test run. `fuzz/` has the
//! same for as long as one likes.

use std::fs;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::test_runner::TestRunner;

use testing::invariants;

use crate::config;

fn check(name: &str, target: fn(&[u8])) {
    let seeds = testing::root().join("fuzz/seeds").join(name);
    let seeds = fs::read_dir(seeds).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap());
    let seeds: Vec<_> = seeds.collect();
    assert!(!seeds.is_empty());
    for seed in &seeds {
        target(seed);
    }
    // Some bytes of a seed replaced by some of another, or by any.
    let part = any::<[proptest::sample::Index; 4]>();
    let changed =
        (any::<proptest::sample::Selector>(), any::<proptest::sample::Selector>(), part, vec(any::<u8>(), 0..4));
    let changed = changed.prop_map(|(of, with, [at, to, from, until], noise)| {
        let (seed, other) = (of.select(&seeds).clone(), with.select(&seeds));
        let range = |text: &[u8], a: &proptest::sample::Index, b: &proptest::sample::Index| {
            let (a, b) = (a.index(text.len() + 1), b.index(text.len() + 1));
            a.min(b)..a.max(b)
        };
        let (target, source) = (range(&seed, &at, &to), range(other, &from, &until));
        let mut changed = seed;
        let target = target.start..target.end.min(target.start + 8);
        let part = if noise.is_empty() { other[source].to_vec() } else { noise };
        changed.splice(target, part);
        changed
    });
    let outcome = TestRunner::new(config(2_000)).run(&changed, |input| {
        target(&input);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
}

#[test]
fn no_event_breaks_an_invariant() {
    check("event", invariants::event);
}

#[test]
fn no_body_breaks_an_invariant() {
    check("body", invariants::body);
}

#[test]
fn no_token_breaks_an_invariant() {
    check("token", invariants::token);
}

#[test]
fn no_claims_break_an_invariant() {
    check("claims", invariants::claims);
}

#[test]
fn no_key_set_breaks_an_invariant() {
    check("key_set", invariants::key_set);
}

#[test]
fn no_host_breaks_an_invariant() {
    check("host", invariants::host);
}

#[test]
fn no_if_match_breaks_an_invariant() {
    check("if_match", invariants::if_match);
}
