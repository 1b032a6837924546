//! What a request costs that finds its key set ten minutes old, by what the issuer does: the real handler with an
//! embedded store, and a clock that is set forward.

// A benchmark prints, and what it cannot measure ends it.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use testing::issuer::key_server::{KeyServer, Reply};
use testing::issuer::{AUDIENCE, ISSUER, Issuer};
use testing::lambda::function::{Function, embedded};
use testing::lambda::request::{FrontEnd, Request};
use testing::store::embedded::{self, NODE};
use update_distributor::clients::Clients;
use update_distributor::clock::Clock;
use update_distributor::invocation::Invocation;

const REQUESTS: usize = 300;
/// Each of these takes the issuer's two seconds after its response.
const HANGING: usize = 30;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!("{:<40}{:>12}{:>12}{:>12}", "a request that finds", "p50 (ms)", "p99 (ms)", "max (ms)");
    let issuer = Issuer::new("a");
    let delayed = Reply::DocumentAfter(Duration::from_millis(200), issuer.jwks());
    for (name, count, age, reply) in [
        ("a set that is current", REQUESTS, 0, Reply::Status(500)),
        ("an old set, issuer takes 200 ms", REQUESTS, 601, delayed),
        ("an old set, issuer responds 500", REQUESTS, 601, Reply::Status(500)),
        ("an old set, issuer hangs", HANGING, 601, Reply::Hang),
    ] {
        let mut times = measure(&issuer, count, age, &reply).await;
        times.sort_by(f64::total_cmp);
        let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
        println!("{name:<40}{:>12.3}{:>12.3}{:>12.3}", at(50), at(99), at(100));
    }
}

/// Milliseconds of each request.
async fn measure(issuer: &Issuer, count: usize, age: u64, reply: &Reply) -> Vec<f64> {
    let server = KeyServer::start().await;
    let good = Reply::Document(issuer.jwks());
    server.serve("/jwks", good.clone());
    let ahead = Arc::new(AtomicU64::new(0));
    let clock = {
        let ahead = Arc::clone(&ahead);
        Clock::new(move || SystemTime::now() + Duration::from_secs(ahead.load(Ordering::Relaxed)))
    };
    let store = embedded().await;
    let clients = Clients { clock, ..embedded::clients(&store.endpoint()).await };
    let function =
        Function::with_clients(store, clients, &[("TOKEN_JWKS", ""), ("TOKEN_JWKS_URI", &server.url("/jwks"))]).await;
    let claims = json!({"iss": ISSUER, "aud": AUDIENCE, "exp": 4e9, "node_id": NODE});
    let event = Request::put(&issuer.sign(&claims), "{}").event(FrontEnd::HttpApi).to_string();
    // Without a deadline, which would be one of another clock.
    let call = async || function.until(event.as_bytes(), None).await.unwrap().outcome();
    let settle = async || {
        let invocation = Invocation { request_id: String::new(), deadline: None, trace_root: None };
        function.app.finish_background_work(&invocation).await;
    };
    let mut times = Vec::new();
    for round in 0..=count {
        // A set that has just been fetched, so that every round finds one as old.
        server.serve("/jwks", good.clone());
        ahead.fetch_add(601, Ordering::Relaxed);
        assert_eq!(call().await, "200");
        settle().await;
        server.serve("/jwks", reply.clone());
        ahead.fetch_add(age, Ordering::Relaxed);
        let started = Instant::now();
        assert_eq!(call().await, "200");
        let took = started.elapsed();
        settle().await;
        // The first makes the connections.
        if round > 0 {
            times.push(took.as_secs_f64() * 1_000.0);
        }
    }
    times
}
