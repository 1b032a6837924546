//! What happens when there are many: instances that fetch their keys from an issuer which limits its rate, and writers of one
//! distributor. The real key store and the real handler, on paused time. The tables in Markdown are those of `docs/scale.md`.

// What a benchmark does is print, and it ends where something is not as it should be.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use fastrand::Rng;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use update_distributor::clock::Clock;
use update_distributor::invocation::Invocation;
use update_distributor::token::fetch::{Endpoint, FetchUrl, Fetcher};
use update_distributor::token::jws::Jws;
use update_distributor::token::key_store::CachedKeySet;

use testing::fault::{Received, THROTTLED};
use testing::issuer::reply::Reply;
use testing::simulation::store::{Message, Store};
use testing::simulation::{IDS, NODE, NOW, event, item, paused_runtime, read, start_function, token};

/// The instances that Lambda adds for a function in ten seconds.
const SCALING: u32 = 1_000;
/// The time that the init phase leaves for keys.
const START_BUDGET: Duration = Duration::from_millis(1_950);
/// The time that an invocation has.
const LEFT: Duration = Duration::from_secs(10);

/// Instances that are started one after the other, as fast as Lambda does, and then have requests.
#[derive(Clone, Copy, Debug)]
struct Herd {
    /// How many.
    instances: u32,
    /// The time between two requests of one, on average.
    pause: Duration,
    /// Requests that the issuer responds to in a second; others it refuses with 429.
    limit: u32,
}

/// What the issuer has seen in a time, and what it did to requests.
#[derive(Clone, Copy, Debug, Default)]
struct Phase {
    /// Requests for the set.
    fetches: u32,
    /// Those that the issuer refused.
    refused: u32,
    /// The most in one second.
    peak: u32,
    /// The time from the first to the last that it responded to.
    lasted: Duration,
    /// Requests of callers.
    requests: u32,
    /// Those without keys: 503.
    without_keys: u32,
}

#[derive(Debug, Default)]
struct Second {
    fetches: u32,
    refused: u32,
    requests: u32,
    without_keys: u32,
}

/// The issuer, and what happened in each second.
#[derive(Clone, Debug)]
struct LimitedIssuer {
    start: Instant,
    limit: u32,
    seconds: Arc<Mutex<BTreeMap<u64, Second>>>,
}

impl LimitedIssuer {
    fn count(&self, count: impl FnOnce(&mut Second)) {
        let mut seconds = self.seconds.lock().expect("one thread");
        count(seconds.entry(self.start.elapsed().as_secs()).or_default());
    }

    fn phase(&self, from: u64, until: u64) -> Phase {
        let seconds = self.seconds.lock().expect("one thread");
        let mut phase = Phase::default();
        let (mut first, mut last) = (None, 0);
        for (second, Second { fetches, refused, requests, without_keys }) in seconds.range(from..until) {
            phase.fetches += fetches;
            phase.refused += refused;
            phase.peak = phase.peak.max(*fetches);
            phase.requests += requests;
            phase.without_keys += without_keys;
            if fetches > refused {
                first.get_or_insert(*second);
                last = second + 1;
            }
        }
        phase.lasted = Duration::from_secs(last - first.unwrap_or(last));
        phase
    }
}

impl HttpConnector for LimitedIssuer {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let mut refused = false;
        self.count(|second| {
            refused = second.fetches - second.refused >= self.limit;
            second.fetches += 1;
            second.refused += u32::from(refused);
        });
        HttpConnectorFuture::new(async move {
            sleep(Duration::from_millis(20)).await;
            let reply = if refused { Reply::Status(429) } else { Reply::Document(token().1.clone()) };
            reply.deliver().await
        })
    }
}

/// Returns what happens until the sets are ten minutes old, and in the ten minutes after that.
fn herd(herd: Herd) -> [Phase; 2] {
    let Herd { instances, pause, limit } = herd;
    paused_runtime().block_on(async {
        let issuer = LimitedIssuer { start: Instant::now(), limit, seconds: Arc::default() };
        let start = issuer.start;
        let clock = Clock::new(move || SystemTime::UNIX_EPOCH + Duration::from_micros(NOW) + start.elapsed());
        let end = start + Duration::from_mins(19);
        let mut all = JoinSet::new();
        for instance in 0..instances {
            let (issuer, clock, mut rng) = (issuer.clone(), clock.clone(), Rng::with_seed(instance.into()));
            all.spawn(async move {
                sleep(Duration::from_secs(10) * instance / SCALING).await;
                let url = FetchUrl::configured("https://issuer.example/jwks").expect("a URL");
                let set = Arc::new(CachedKeySet::new(Endpoint::Jwks(url)));
                let fetcher = Fetcher { http: SharedHttpConnector::new(issuer.clone()), clock };
                // A failure shows in the requests.
                let _ = set.prepare(&fetcher, Instant::now() + START_BUDGET).await;
                let jws = Jws::parse(&token().0).expect("a token");
                while Instant::now() < end {
                    let deadline = Instant::now() + LEFT;
                    let found = set.verify(&jws, &fetcher, deadline).await.is_ok();
                    issuer.count(|second| {
                        second.requests += 1;
                        second.without_keys += u32::from(!found);
                    });
                    set.wait_for_fetch(deadline).await;
                    sleep(pause.mul_f64(0.5 + rng.f64())).await;
                }
            });
        }
        all.join_all().await;
        [issuer.phase(0, 600), issuer.phase(600, u64::MAX)]
    })
}

/// What writers of one distributor, each in an instance of its own, have seen in ten seconds.
#[derive(Clone, Debug, Default)]
struct Contention {
    /// Durations of the writes that were made, in order.
    durations: Vec<Duration>,
    /// Attempts of each write that was made, in order.
    attempts: Vec<usize>,
    /// Attempts that the store refused, since there were more than it takes of one item.
    throttled: usize,
    /// Requests that got a 503.
    unavailable: usize,
    /// Writes of each writer, in order.
    writes: Vec<usize>,
}

/// The writes that DynamoDB takes of one item in a second. One whose condition fails counts, too.
const WRITES_PER_SECOND: usize = 1_000;
/// How long the writers write.
const WRITING: Duration = Duration::from_secs(10);

tokio::task_local! {
    /// The attempts of the request that a task works on.
    static ATTEMPTS: Arc<Mutex<usize>>;
}

/// The store with its limit, and the network before it.
#[derive(Clone, Debug)]
struct LimitedStore {
    start: Instant,
    state: Arc<Mutex<StoreState>>,
}

#[derive(Debug)]
struct StoreState {
    store: Store,
    rng: Rng,
    /// Attempts in each second.
    seconds: BTreeMap<u64, usize>,
    throttled: usize,
}

impl HttpConnector for LimitedStore {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let this = self.clone();
        ATTEMPTS.with(|attempts| *attempts.lock().expect("one thread") += 1);
        let body = serde_json::from_slice(request.body().bytes().expect("a body in memory")).expect("JSON");
        HttpConnectorFuture::new(async move {
            let latency = || Duration::from_millis(this.state.lock().expect("one thread").rng.u64(1..=3));
            sleep(latency()).await;
            let message = {
                let mut state = this.state.lock().expect("one thread");
                let taken = state.seconds.entry(this.start.elapsed().as_secs()).or_default();
                *taken += 1;
                if *taken > WRITES_PER_SECOND {
                    state.throttled += 1;
                    Message::new(Received::Status(400, THROTTLED), None)
                } else {
                    Message::new(Received::Response, Some(&state.store.update_item(&body)))
                }
            };
            sleep(latency()).await;
            message.deliver().await
        })
    }
}

/// Returns what so many writers see, each of which writes again as soon as it has a response.
fn contention(writers: usize) -> Contention {
    fastrand::seed(writers as u64);
    paused_runtime().block_on(async {
        let start = Instant::now();
        let state = StoreState {
            store: Store([(IDS[0].to_owned(), item(IDS[0], NODE, None))].into()),
            rng: Rng::with_seed(writers as u64),
            seconds: BTreeMap::new(),
            throttled: 0,
        };
        let store = LimitedStore { start, state: Arc::new(Mutex::new(state)) };
        let mut all = JoinSet::new();
        for writer in 0..writers {
            // Paused time advances by milliseconds: the microseconds of a clock are its own.
            let ahead = Duration::from_micros(fastrand::u64(..1_000));
            let clock =
                Clock::new(move || SystemTime::UNIX_EPOCH + Duration::from_micros(NOW) + start.elapsed() + ahead);
            let app = start_function(testing::store::clients(store.clone(), clock.clone()), &[]).await;
            all.spawn(async move {
                let mut seen = Contention::default();
                while start.elapsed() < WRITING {
                    let body = json!({"meta": {"path": format!("/{writer}/{}", seen.durations.len())}}).to_string();
                    let event = event(&token().0, 0, None, &body).to_string();
                    let deadline = Some(clock.now() + LEFT);
                    let invocation = Invocation { request_id: String::new(), deadline, trace_root: None };
                    let (sent, attempts) = (Instant::now(), Arc::new(Mutex::new(0)));
                    let response = ATTEMPTS.scope(Arc::clone(&attempts), app.invoke(event.as_bytes(), &invocation));
                    match read(&response.await.expect("an HTTP event")).status {
                        200 => {
                            seen.durations.push(sent.elapsed());
                            seen.attempts.push(*attempts.lock().expect("one thread"));
                        }
                        503 => {
                            seen.unavailable += 1;
                            // As the response says.
                            sleep_until(Instant::now() + Duration::from_secs(1)).await;
                        }
                        other => panic!("status {other}"),
                    }
                }
                seen
            });
        }
        let mut sum = Contention::default();
        for Contention { durations, attempts, throttled: _, unavailable, writes: _ } in all.join_all().await {
            sum.writes.push(durations.len());
            sum.durations.extend(durations);
            sum.attempts.extend(attempts);
            sum.unavailable += unavailable;
        }
        sum.durations.sort();
        sum.attempts.sort_unstable();
        sum.writes.sort_unstable();
        sum.throttled = store.state.lock().expect("one thread").throttled;
        sum
    })
}

fn main() {
    println!(
        "| instances | fetches/s allowed | | fetches | refused | most in a second | over after | requests with 503 |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for (instances, limit) in [(100, 10), (1_000, u32::MAX), (1_000, 100), (1_000, 10), (10_000, 100)] {
        let pause = Duration::from_secs(1);
        let [start, renewal] = herd(Herd { instances, pause, limit });
        let limit = if limit == u32::MAX { "any".to_owned() } else { limit.to_string() };
        for (name, phase) in [("start", start), ("after 10 minutes", renewal)] {
            println!(
                "| {instances} | {limit} | {name} | {} | {} | {} | {} s | {} of {} |",
                phase.fetches,
                phase.refused,
                phase.peak,
                phase.lasted.as_secs(),
                phase.without_keys,
                phase.requests
            );
        }
    }
    println!();
    println!(
        "| writers | writes/s | attempts: mean, most | p50, p99, longest (ms) | throttled attempts | 503 | writes of one: fewest, most |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for writers in [1, 2, 5, 10, 20, 50, 100, 200] {
        let seen = contention(writers);
        let count = seen.durations.len();
        let duration = |percent: usize| seen.durations.get((count - 1) * percent / 100).map_or(0, Duration::as_millis);
        #[allow(clippy::cast_precision_loss)]
        let mean = seen.attempts.iter().sum::<usize>() as f64 / count as f64;
        println!(
            "| {writers} | {} | {mean:.2}, {} | {}, {}, {} | {} | {} | {}, {} |",
            count / 10,
            seen.attempts.last().unwrap_or(&0),
            duration(50),
            duration(99),
            duration(100),
            seen.throttled,
            seen.unavailable,
            seen.writes.first().unwrap_or(&0),
            seen.writes.last().unwrap_or(&0),
        );
    }
}
