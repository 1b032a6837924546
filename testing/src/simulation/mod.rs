//! A deterministic simulation of the function: the real handler on paused time, with models of all that it talks to. What is
//! observed is checked against what must hold.
//!
//! - [`walk`] is the model of clients, their network, the [`store`] and the clocks of the instances, as states and the moves
//!   between them. The handler's part of a move is [recorded](recording). What a move leads to is judged by the [`rules`].
//! - [`every_order`] makes all moves: every order of events of a few requests. [`drawn`] makes moves that are drawn from a
//!   seed, with many requests.
//! - [`keys`] is the model of issuers, on which the fetches of one instance are judged. Its time is continuous.
//! - [`calls`] lists what the model of the store has to be held to.

pub mod calls;
pub mod drawn;
pub mod every_order;
pub mod keys;
pub mod recording;
pub mod rules;
pub mod store;
pub mod walk;

use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use update_distributor::clients::Clients;
use update_distributor::handler::App;
use update_distributor::log::Level;

use crate::issuer::signer::Signer;
use crate::issuer::{AUDIENCE, ISSUER};
use crate::lambda;
use crate::lambda::captured_log::CapturedLog;
use crate::lambda::request::Response;
use store::Item;

/// The node of all tokens.
pub const NODE: &str = "e40efce4-38a3-46c4-a202-e8db95d0409c";
const OTHER_NODE: &str = "0b1e2d3c-4a59-4687-8796-a5b4c3d2e1f0";

/// The ids of the distributors.
pub const IDS: [&str; 4] = [
    "39e8003c-6342-4fd3-97a1-3f2a7b437d0a",
    "9f8e7d6c-5b4a-4938-8271-605f4e3d2c1b",
    "1a2b3c4d-5e6f-4708-9192-a3b4c5d6e7f8",
    "ffffffff-ffff-4fff-bfff-ffffffffffff",
];

/// The time at the start of every run: 2026-01-01T00:00:00Z, in microseconds since 1970.
pub const NOW: u64 = 1_767_225_600_000_000;

/// The same.
const START: Duration = Duration::from_micros(NOW);

/// A run in which something was not allowed.
#[derive(Debug)]
pub struct Failure {
    /// What was not allowed, with the shortest history that leads to it.
    history: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.history)
    }
}

impl std::error::Error for Failure {}

/// Makes the runs of these numbers, on as many threads as there are processors.
///
/// # Errors
///
/// The first run that failed.
pub fn run_all<R: Send>(runs: Range<u64>, run: impl Fn(u64) -> Result<R, Failure> + Sync) -> Result<Vec<R>, Failure> {
    let (next, end) = (AtomicU64::new(runs.start), runs.end);
    let work = || -> Result<Vec<R>, Failure> {
        let mut reports = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= end {
                return Ok(reports);
            }
            // Where one has failed, the others stop.
            reports.push(run(number).inspect_err(|_| next.store(end, Ordering::Relaxed))?);
        }
    };
    let reports: Vec<Result<Vec<R>, Failure>> = thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a run does not panic")).collect()
    });
    Ok(reports.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// Draws one of these.
fn choose<'a, T>(rng: &mut Rng, values: &'a [T]) -> &'a T {
    &values[rng.usize(..values.len())]
}

/// A runtime whose clock only advances when everything waits for it.
pub fn paused_runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime")
}

/// Starts the function without a log, for tokens of [`token`] where nothing else is set.
pub async fn start_function(clients: Clients, more: &[(&str, &str)]) -> App {
    lambda::start(clients, &token().1, more, CapturedLog::default().at(Level::Fatal)).await
}

/// Reads what the function returns.
pub fn read(response: &[u8]) -> Response {
    Response::read(&serde_json::from_slice(response).expect("a response is JSON"))
}

/// A distributor without configuration.
pub fn item(id: &str, node: &str, version: Option<&str>) -> Item {
    let attributes = [("id", Some(id)), ("node_id", Some(node)), ("updated_at", version)];
    attributes.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!({"S": value?})))).collect()
}

/// A token of [`NODE`], and the key set that verifies it.
pub fn token() -> &'static (String, String) {
    static TOKEN: OnceLock<(String, String)> = OnceLock::new();
    TOKEN.get_or_init(|| {
        let signer = Signer::fixed();
        let claims = json!({"iss": ISSUER, "aud": AUDIENCE, "exp": 4_000_000_000_u64, "node_id": NODE});
        let token = signer.sign("EdDSA", &json!({"alg": "EdDSA"}), &claims);
        (token, json!({"keys": [signer.jwk()]}).to_string())
    })
}

/// An event with these parts.
pub fn event(token: &str, target: usize, if_match: Option<&str>, body: &str) -> Value {
    let mut headers = json!({"authorization": format!("Bearer {token}"), "x-target-server": "integration"});
    if let Some(if_match) = if_match {
        headers["if-match"] = if_match.into();
    }
    json!({
        "rawPath": format!("/api/v1/integration/distributors/{}", IDS[target]),
        "requestContext": {"http": {"method": "PUT"}},
        "headers": headers,
        "body": body,
    })
}
