//! Keys in the simulation: one instance of the real handler, with up to sixteen invocations at once, and two issuers that
//! rotate their keys, fail, hang, slow down and come back. Lambda freezes the instance between and inside of fetches, and its
//! clock jumps.
//!
//! The network knows what a cache that keeps the rules must hold, since every document passes through it. The requests are
//! judged by that.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, SystemTime};

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use fastrand::Rng;
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use update_distributor::clients::Clients;
use update_distributor::clock::Clock;
use update_distributor::handler::App;
use update_distributor::invocation::Invocation;

use super::store::{Message, Store};
use super::{Failure, IDS, NODE, START, choose, event, item, paused_runtime, read, start_function};
use crate::fault::Received;
use crate::issuer::AUDIENCE;
use crate::issuer::reply::Reply;
use crate::issuer::signer::Signer;

const ISSUERS: [&str; 2] = ["https://a.example", "https://b.example"];

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;

/// The age up to which a set is fresh.
const FRESH: u64 = 10 * MINUTE;
/// The age up to which a set is used while its issuer is out of reach.
const USABLE: u64 = 120 * MINUTE;
/// A key that has been published for so long is accepted, if its issuer has been healthy as long.
const PUBLISHED: u64 = 11 * MINUTE;
/// An issuer that takes no longer is healthy; a longer time is too long for some.
const HEALTHY: Duration = Duration::from_millis(300);
/// Tokio's timers wait for whole milliseconds.
const TIMER_RESOLUTION: u64 = 2;
/// A connection that was not used for so long is closed without a word where something keeps it.
const IDLE: u64 = MINUTE;

/// What happens in a run. Times are in milliseconds, and even, but for freezes inside of a burst: so nothing happens
/// in the same millisecond as one of them.
#[derive(Clone, Debug)]
struct Plan {
    seed: u64,
    /// Whether the instance is frozen while it has no invocation.
    freezes: bool,
    issuers: [IssuerPlan; ISSUERS.len()],
    /// When the instance's clock jumps, and by how much.
    jumps: Vec<(u64, i64)>,
    bursts: Vec<Burst>,
}

#[derive(Clone, Debug)]
struct IssuerPlan {
    /// From when on it does what; a document is made when it is asked for.
    replies: Vec<(u64, Reply)>,
    /// From when to when each key is published.
    keys: Vec<(u64, u64)>,
    naming: Naming,
}

/// The `kid` of an issuer's keys and tokens.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Naming {
    /// Each key has its own.
    Own,
    /// There is none.
    Absent,
    /// Every key has the same.
    Same,
}

/// Invocations at once.
#[derive(Clone, Debug)]
struct Burst {
    /// The time since the last burst was over.
    pause: u64,
    tokens: Vec<Token>,
    /// A freeze inside of it: when, and for how long.
    freeze: Option<(u64, u64)>,
    /// What a freeze does to connections: what comes meanwhile is there afterwards, or they break, or they die without a
    /// word.
    connections: Received,
}

#[derive(Clone, Copy, Debug)]
struct Token {
    issuer: usize,
    key: Key,
    /// The time until the deadline.
    left: u64,
}

#[derive(Clone, Copy, Debug)]
enum Key {
    Newest,
    Oldest,
    Withdrawn,
    Unknown,
}

/// What runs have counted.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Requests.
    pub requests: usize,
    /// Fetches of a set.
    pub fetches: usize,
    /// Fetches that failed.
    pub failures: usize,
    /// Freezes, between and inside of bursts.
    pub freezes: usize,
    /// Requests by status, and whether their key was one that had been withdrawn.
    pub statuses: BTreeMap<(u64, bool), usize>,
}

impl Report {
    /// Adds another.
    pub fn add(&mut self, other: Self) {
        let Self { requests, fetches, failures, freezes, statuses } = other;
        self.requests += requests;
        self.fetches += fetches;
        self.failures += failures;
        self.freezes += freezes;
        for (status, count) in statuses {
            *self.statuses.entry(status).or_default() += count;
        }
    }
}

/// Makes the run of a seed.
///
/// # Errors
///
/// That something in it was not allowed, with the shortest history that leads to it.
pub fn run(seed: u64) -> Result<Report, Failure> {
    let plan = Plan::new(seed);
    let (report, violation, _) = execute(&plan);
    if violation.is_none() {
        return Ok(report);
    }
    let plan = shrink(plan);
    let (_, violation, events) = execute(&plan);
    let mut history = format!("{}\nseed {seed}\n", violation.unwrap_or_default());
    let Plan { seed: _, freezes, issuers, jumps, bursts: _ } = &plan;
    let _ = writeln!(history, "frozen between invocations: {freezes}, jumps of the clock: {jumps:?}");
    for (issuer, plan) in ISSUERS.iter().zip(issuers) {
        let _ = writeln!(history, "{issuer}: {plan:?}");
    }
    for (time, event) in events {
        let _ = writeln!(history, "{:>11.3} s  {event}", Duration::from_millis(time).as_secs_f64());
    }
    Err(Failure { history })
}

/// Leaves out of a plan that fails whatever can be left out.
fn shrink(mut plan: Plan) -> Plan {
    let fails = |plan: &Plan| execute(plan).1.is_some();
    let mut index = 0;
    while index < plan.bursts.len() {
        let mut simpler = plan.clone();
        let left_out = simpler.bursts.remove(index);
        // The others stay where they are.
        if let Some(next) = simpler.bursts.get_mut(index) {
            next.pause += left_out.pause;
        }
        if fails(&simpler) { plan = simpler } else { index += 1 }
    }
    for index in 0..plan.bursts.len() {
        let mut token = 0;
        while token < plan.bursts[index].tokens.len() && plan.bursts[index].tokens.len() > 1 {
            let mut simpler = plan.clone();
            simpler.bursts[index].tokens.remove(token);
            if fails(&simpler) { plan = simpler } else { token += 1 }
        }
    }
    plan
}

impl Plan {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let rng = &mut rng;
        let at_once = *choose(rng, &[1, 4, 16]);
        let burst = |rng: &mut Rng| Burst {
            pause: *choose(
                rng,
                &[0, 0, 2, 200, 2_000, 6_000, 12_000, MINUTE, 5 * MINUTE, 9 * MINUTE, 11 * MINUTE, 70 * MINUTE],
            ),
            tokens: (0..rng.usize(1..=at_once)).map(|_| token(rng)).collect(),
            freeze: (rng.u8(..4) == 0).then(|| (1 + 2 * rng.u64(..300), 2 * rng.u64(..6 * MINUTE))),
            connections: *choose(rng, &[Received::Response, Received::Reset, Received::Nothing]),
        };
        let jump = |rng: &mut Rng| (2 * rng.u64(..60 * MINUTE), 2 * rng.i64(-10_000..10_000));
        Self {
            seed,
            freezes: rng.bool(),
            issuers: std::array::from_fn(|_| issuer(rng)),
            jumps: if rng.u8(..4) == 0 { (0..2).map(|_| jump(rng)).collect() } else { Vec::new() },
            bursts: (0..30).map(|_| burst(rng)).collect(),
        }
    }
}

fn token(rng: &mut Rng) -> Token {
    Token {
        issuer: rng.usize(..ISSUERS.len()),
        key: *choose(
            rng,
            &[Key::Newest, Key::Newest, Key::Newest, Key::Oldest, Key::Withdrawn, Key::Withdrawn, Key::Unknown],
        ),
        left: *choose(rng, &[800, 3_000, 10_000, 10_000]),
    }
}

fn issuer(rng: &mut Rng) -> IssuerPlan {
    let mut replies = Vec::new();
    let mut from = 0;
    let healthy = rng.u8(..3) == 0;
    while from < 400 * MINUTE {
        let document_after = |time| Reply::DocumentAfter(Duration::from_millis(time), String::new());
        let reply = match rng.u8(..8) {
            0..4 => document_after(2 * rng.u64(1..=150)),
            _ if healthy => document_after(2),
            4 => document_after(2 * rng.u64(151..=1_300)),
            5 => Reply::Status(500),
            6 => Reply::Reset,
            _ => Reply::Hang,
        };
        replies.push((from, reply));
        from += *choose(rng, &[4 * SECOND, 20 * SECOND, 2 * MINUTE, 15 * MINUTE, 40 * MINUTE, 150 * MINUTE]);
    }
    let naming = *choose(rng, &[Naming::Own, Naming::Own, Naming::Absent, Naming::Same]);
    // Of keys without names of their own, no more are published at once than are tried for one token.
    let overlaps: &[u64] =
        if naming == Naming::Own { &[0, 0, 2 * MINUTE, 15 * MINUTE] } else { &[0, MINUTE, 2 * MINUTE] };
    let mut keys = vec![(0, u64::MAX)];
    let mut from = 0;
    for _ in 0..8 {
        from += *choose(rng, &[MINUTE, 12 * MINUTE, 30 * MINUTE, 60 * MINUTE]);
        let until = from + *choose(rng, overlaps);
        keys.last_mut().expect("one").1 = until;
        keys.push((from, u64::MAX));
    }
    IssuerPlan { replies, keys, naming }
}

impl IssuerPlan {
    fn reply(&self, now: u64) -> Reply {
        self.replies.iter().rev().find(|(from, _)| *from <= now).expect("from the start").1.clone()
    }

    fn healthy_between(&self, from: u64, until: u64) -> bool {
        let ends = self.replies.iter().skip(1).map(|(from, _)| *from).chain([u64::MAX]);
        let is_healthy = |reply: &Reply| matches!(reply, Reply::DocumentAfter(time, _) if *time <= HEALTHY);
        self.replies.iter().zip(ends).all(|((begin, reply), end)| *begin > until || end <= from || is_healthy(reply))
    }

    fn published(&self, now: u64) -> BTreeSet<usize> {
        let keys = self.keys.iter().enumerate();
        keys.filter(|(_, (from, until))| (*from..*until).contains(&now)).map(|(key, _)| key).collect()
    }

    /// The key that a token of this kind has now; `None` is one that the issuer never had.
    fn choose(&self, key: Key, now: u64) -> Option<usize> {
        let published = self.published(now);
        match key {
            Key::Newest => published.last().copied(),
            Key::Oldest => published.first().copied(),
            Key::Withdrawn => published.first()?.checked_sub(1),
            Key::Unknown => None,
        }
    }
}

/// A token of an issuer's key.
fn signed(issuer: usize, naming: Naming, key: Option<usize>) -> String {
    type Tokens = BTreeMap<(usize, Naming, Option<usize>), String>;
    static TOKENS: OnceLock<Mutex<Tokens>> = OnceLock::new();

    let mut tokens = TOKENS.get_or_init(Mutex::default).lock().expect("nothing panics while it holds the lock");
    let sign = || {
        let claims = json!({"iss": ISSUERS[issuer], "aud": AUDIENCE, "exp": 4_000_000_000_u64, "node_id": NODE});
        signer(key).sign("EdDSA", &json!({"alg": "EdDSA", "kid": kid(naming, key)}), &claims)
    };
    tokens.entry((issuer, naming, key)).or_insert_with(sign).clone()
}

fn signer(key: Option<usize>) -> Signer {
    // A key for each, the same in every run.
    Signer::seeded(key.map_or(u8::MAX, |key| u8::try_from(key).expect("few keys")))
}

fn kid(naming: Naming, key: Option<usize>) -> Option<String> {
    match naming {
        Naming::Own => Some(name(key)),
        Naming::Absent => None,
        Naming::Same => Some("key".to_owned()),
    }
}

fn name(key: Option<usize>) -> String {
    key.map_or("unknown".to_owned(), |key| format!("key-{key}"))
}

struct World {
    plan: Plan,
    start: Instant,
    thawed: Notify,
    state: Mutex<Observed>,
}

#[derive(Default)]
struct Observed {
    /// Time during which the instance was frozen. It passes in the world, and not on tokio's clock.
    frozen: u64,
    /// What the last freeze did to connections, and how many freezes there have been.
    connections: Option<Received>,
    freezes: usize,
    /// Whether the instance is in its start, which tries twice.
    starting: bool,
    issuers: [Known; ISSUERS.len()],
    requests: usize,
    statuses: BTreeMap<(u64, bool), usize>,
    events: Vec<(u64, String)>,
    violation: Option<String>,
}

/// What the instance may know of an issuer.
#[derive(Clone, Debug, Default)]
struct Known {
    /// Documents that are on their way: never more than one.
    in_flight: usize,
    /// The keys of the last set, and when it was asked for by the instance's clock.
    set: Option<(BTreeSet<usize>, u64)>,
    /// Failures since the last success, and when the last was by the instance's clock.
    failures: u32,
    failed: Option<u64>,
    fetches: usize,
    all_failures: usize,
    /// When the last fetch ended, by the instance's clock.
    ended: Option<u64>,
    /// Whether the fetch under way is a refetch: the set is fresh, so that only a token which no key verifies causes it.
    is_refetch: bool,
    /// When the last refetch ended, by the instance's clock.
    refetched: Option<u64>,
    /// When a freeze last met a document on its way.
    disturbed: Option<u64>,
}

impl Known {
    fn usable(&self, clock: u64) -> Option<&BTreeSet<usize>> {
        self.set.as_ref().filter(|(_, asked)| asked.abs_diff(clock) < USABLE).map(|(keys, _)| keys)
    }

    fn is_fresh(&self, clock: u64) -> bool {
        self.set.as_ref().is_some_and(|(_, asked)| asked.abs_diff(clock) < FRESH)
    }

    fn end(&mut self, clock: u64) {
        self.ended = Some(clock);
        if std::mem::take(&mut self.is_refetch) {
            self.refetched = Some(clock);
        }
    }

    /// Whether the last fetch, or `None` of one, is too long ago to keep a refetch away.
    fn may_refetch(last: Option<u64>, clock: u64) -> bool {
        last.is_none_or(|last| last.abs_diff(clock) >= 10 * SECOND)
    }

    /// Whether a failure no longer keeps the next fetch away.
    fn may_fetch(&self, clock: u64) -> bool {
        let doublings = if self.usable(clock).is_some() { self.failures.saturating_sub(1).min(10) } else { 0 };
        let wait = ((5 * SECOND) << doublings).min(5 * MINUTE);
        self.failed.is_none_or(|failed| failed.abs_diff(clock) >= wait)
    }
}

impl World {
    fn lock(&self) -> MutexGuard<'_, Observed> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }

    /// Milliseconds of tokio's clock.
    fn elapsed(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).expect("a short run")
    }

    /// Milliseconds of the world.
    fn now(&self) -> u64 {
        self.elapsed() + self.lock().frozen
    }

    /// The instance's clock, in milliseconds.
    fn clock(&self) -> u64 {
        let now = self.now();
        let jumps = self.plan.jumps.iter().filter(|(at, _)| *at <= now).map(|(_, by)| by).sum::<i64>();
        // A day later, so that no jump leads before the start.
        (24 * 60 * MINUTE + now).saturating_add_signed(jumps)
    }

    fn note(&self, event: String) {
        let now = self.now();
        self.lock().events.push((now, event));
    }

    fn violate(&self, rule: &str, issuer: usize) {
        let now = self.now();
        let mut state = self.lock();
        let violation = format!("{rule}: {}, at {} ms", ISSUERS[issuer], now);
        state.events.push((now, format!("NOT ALLOWED: {rule}")));
        state.violation.get_or_insert(violation);
    }

    fn freeze(&self, time: u64, connections: Received) {
        self.note(format!("frozen for {} s; connections: {connections:?}", time / SECOND));
        let now = self.now();
        let mut state = self.lock();
        state.frozen += time;
        state.freezes += 1;
        state.connections = Some(connections);
        for issuer in &mut state.issuers {
            if issuer.in_flight > 0 {
                issuer.disturbed = Some(now + time);
            }
        }
        drop(state);
        self.thawed.notify_waiters();
    }
}

/// The connector of the instance: to the issuers, and to a store that responds at once.
#[derive(Clone)]
struct KeyNetwork {
    world: Arc<World>,
    /// Where connections are kept: when each was last used.
    pool: Option<Arc<Mutex<BTreeMap<usize, u64>>>>,
}

impl std::fmt::Debug for KeyNetwork {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("KeyNetwork").field("pool", &self.pool).finish_non_exhaustive()
    }
}

impl HttpConnector for KeyNetwork {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let url = url::Url::parse(request.uri()).expect("a URL");
        let host = url.host_str().expect("a host").to_owned();
        if let Some(issuer) = ISSUERS.iter().position(|issuer| issuer.ends_with(&host)) {
            return HttpConnectorFuture::new(self.clone().fetch(issuer, url.path() == "/jwks"));
        }
        let body = serde_json::from_slice(request.body().bytes().expect("a body in memory")).expect("JSON");
        let reply = Store([(IDS[0].to_owned(), item(IDS[0], NODE, None))].into()).update_item(&body);
        HttpConnectorFuture::new(Message::new(Received::Response, Some(&reply)).deliver())
    }
}

/// A document on its way. What is dropped before its end was given up by the function.
struct Document {
    world: Arc<World>,
    issuer: usize,
    sent: u64,
    /// The instance's clock when it was sent.
    clock: u64,
    over: bool,
}

impl KeyNetwork {
    async fn fetch(self, issuer: usize, is_set: bool) -> Result<HttpResponse, ConnectorError> {
        let Self { world, pool } = self;
        let plan = &world.plan.issuers[issuer];
        let mut document = Document::send(&world, issuer, is_set);
        let now = world.now();
        let dead = pool.is_some_and(|pool| {
            let last = pool.lock().expect("one thread").insert(issuer, now);
            last.is_some_and(|last| now - last > IDLE)
        });
        let (published, reply) = (plan.published(now), plan.reply(now));
        match reply {
            _ if dead => return std::future::pending().await,
            Reply::DocumentAfter(time, _) => {
                let due = now + u64::try_from(time.as_millis()).expect("a short time");
                match wait_until(&world, due).await {
                    Some(Received::Reset) => return Err(document.fail("broken")),
                    Some(Received::Nothing) => return std::future::pending().await,
                    _ => {}
                }
            }
            failing => {
                if let Reply::Status(_) | Reply::Reset = failing {
                    document.fail(&format!("{failing:?}"));
                }
                return failing.deliver().await;
            }
        }
        if !is_set {
            document.over = true;
            let body = json!({"issuer": ISSUERS[issuer], "jwks_uri": format!("{}/jwks", ISSUERS[issuer])});
            return Reply::Document(body.to_string()).deliver().await;
        }
        let keys = published.iter().map(|key| {
            let mut jwk = signer(Some(*key)).jwk();
            jwk["kid"] = kid(plan.naming, Some(*key)).into();
            jwk
        });
        let body = json!({"keys": keys.collect::<Vec<_>>()}).to_string();
        document.succeed(published);
        Reply::Document(body).deliver().await
    }
}

/// Waits, and returns what a freeze meanwhile has done to the connection.
async fn wait_until(world: &World, due: u64) -> Option<Received> {
    let before = world.lock().freezes;
    loop {
        let thawed = world.thawed.notified();
        let now = world.now();
        if now >= due {
            break;
        }
        tokio::select! {
            () = sleep(Duration::from_millis(due - now)) => {}
            () = thawed => {}
        }
    }
    let state = world.lock();
    state.connections.filter(|_| state.freezes > before)
}

impl Document {
    fn send(world: &Arc<World>, issuer: usize, is_set: bool) -> Self {
        let (sent, clock) = (world.elapsed(), world.clock());
        world.note(format!("{} is asked for its {}", ISSUERS[issuer], if is_set { "keys" } else { "metadata" }));
        let known = {
            let mut state = world.lock();
            let starting = state.starting;
            let known = &mut state.issuers[issuer];
            known.in_flight += 1;
            known.fetches += usize::from(!is_set);
            if !is_set {
                known.is_refetch = !starting && known.is_fresh(clock);
            }
            (!starting).then(|| known.clone())
        };
        if let Some(known) = known {
            if known.in_flight > 1 {
                world.violate("more than one fetch at a time", issuer);
            }
            if !is_set && !known.may_fetch(clock) {
                world.violate("a fetch before its wait after a failure", issuer);
            }
            if !is_set && known.is_refetch && !Known::may_refetch(known.refetched, clock) {
                world.violate("two refetches in ten seconds", issuer);
            }
        }
        Self { world: Arc::clone(world), issuer, sent, clock, over: false }
    }

    fn succeed(&mut self, keys: BTreeSet<usize>) {
        self.over = true;
        self.world.note(format!("{} returns keys {keys:?}", ISSUERS[self.issuer]));
        let clock = self.world.clock();
        let mut state = self.world.lock();
        let known = &mut state.issuers[self.issuer];
        known.end(clock);
        known.set = Some((keys, self.clock));
        (known.failures, known.failed) = (0, None);
    }

    fn fail(&mut self, what: &str) -> ConnectorError {
        self.over = true;
        self.world.note(format!("{}: {what}", ISSUERS[self.issuer]));
        let clock = self.world.clock();
        let mut state = self.world.lock();
        let known = &mut state.issuers[self.issuer];
        known.end(clock);
        known.failures += 1;
        known.all_failures += 1;
        known.failed = Some(clock);
        ConnectorError::io(what.to_owned().into())
    }
}

impl Drop for Document {
    fn drop(&mut self) {
        if !self.over {
            // What the request's deadline cuts off is no failure.
            if self.world.elapsed() - self.sent >= 2 * SECOND {
                self.fail("timed out");
            } else {
                self.world.note(format!("{}: given up", ISSUERS[self.issuer]));
            }
        }
        self.world.lock().issuers[self.issuer].in_flight -= 1;
    }
}

fn execute(plan: &Plan) -> (Report, Option<String>, Vec<(u64, String)>) {
    fastrand::seed(plan.seed);
    paused_runtime().block_on(async {
        let state = Mutex::new(Observed { starting: true, ..Observed::default() });
        let (plan, start) = (plan.clone(), Instant::now());
        let world = Arc::new(World { plan, start, thawed: Notify::new(), state });
        let time = Arc::clone(&world);
        let clock = Clock::new(move || SystemTime::UNIX_EPOCH + START + Duration::from_millis(time.clock()));
        let pooled = KeyNetwork { world: Arc::clone(&world), pool: Some(Arc::default()) };
        let unpooled = SharedHttpConnector::new(KeyNetwork { pool: None, ..pooled.clone() });
        let clients = Clients { unpooled, ..crate::store::clients(pooled, clock) };
        let app = Arc::new(start_function(clients, &[("TOKEN_ISSUER", &*ISSUERS.join(",")), ("TOKEN_JWKS", "")]).await);
        world.lock().starting = false;
        for burst in &world.plan.bursts {
            if world.lock().violation.is_some() {
                break;
            }
            if world.plan.freezes {
                world.freeze(burst.pause, burst.connections);
            } else {
                sleep(Duration::from_millis(burst.pause)).await;
            }
            let mut invocations = JoinSet::new();
            for token in burst.tokens.clone() {
                invocations.spawn(invoke(Arc::clone(&world), Arc::clone(&app), token));
            }
            if let Some((after, time)) = burst.freeze {
                let (world, connections) = (Arc::clone(&world), burst.connections);
                invocations.spawn(async move {
                    sleep(Duration::from_millis(after)).await;
                    world.freeze(time, connections);
                });
            }
            invocations.join_all().await;
        }
        let mut state = world.lock();
        let report = Report {
            requests: state.requests,
            fetches: state.issuers.iter().map(|issuer| issuer.fetches).sum(),
            failures: state.issuers.iter().map(|issuer| issuer.all_failures).sum(),
            freezes: state.freezes,
            statuses: std::mem::take(&mut state.statuses),
        };
        (report, state.violation.take(), std::mem::take(&mut state.events))
    })
}

/// What there is to know of a token's issuer at some time.
struct Seen {
    now: u64,
    clock: u64,
    known: Known,
}

impl Seen {
    fn now(world: &World, issuer: usize) -> Self {
        Self { now: world.now(), clock: world.clock(), known: world.lock().issuers[issuer].clone() }
    }

    /// Whether a usable set has the key.
    fn has(&self, key: Option<usize>) -> bool {
        self.known.usable(self.clock).is_some_and(|keys| key.is_some_and(|key| keys.contains(&key)))
    }
}

/// A request, and what became of it.
struct Exchange {
    token: Token,
    key: Option<usize>,
    before: Seen,
    after: Seen,
    /// Whether a fetch began meanwhile, or in the background after the response.
    fetched: bool,
    status: u64,
    /// The time until the response, in milliseconds.
    took: u64,
}

/// Sends a request with a token, and judges the response.
async fn invoke(world: Arc<World>, app: Arc<App>, token: Token) {
    let Token { issuer, left, .. } = token;
    let plan = &world.plan.issuers[issuer];
    let (sent, before) = (world.elapsed(), Seen::now(&world, issuer));
    let key = plan.choose(token.key, before.now);
    let event = event(&signed(issuer, plan.naming, key), 0, None, "{}");
    let deadline = SystemTime::UNIX_EPOCH + START + Duration::from_millis(before.clock + left);
    let invocation = Invocation { request_id: "invocation".to_owned(), deadline: Some(deadline), trace_root: None };
    let response = app.invoke(event.to_string().as_bytes(), &invocation).await.expect("an HTTP event");
    let status = read(&response).status;
    let (took, after) = (world.elapsed() - sent, Seen::now(&world, issuer));
    world.note(format!("a token of {} with {} is answered {status} after {took} ms", ISSUERS[issuer], name(key)));
    {
        let mut state = world.lock();
        state.requests += 1;
        let withdrawn = key.is_some_and(|key| plan.keys[key].1 <= before.now);
        *state.statuses.entry((status, withdrawn)).or_default() += 1;
    }

    let (started, all_before) = (world.elapsed(), world.lock().issuers.clone());
    app.finish_background_work(&invocation).await;
    let waited = world.elapsed() - started;
    let all_after = world.lock().issuers.clone();
    let fetched = all_after[issuer].fetches > before.known.fetches;
    for rule in broken_rules(&world.plan, &Exchange { token, key, before, after, fetched, status, took }) {
        world.violate(rule, issuer);
    }
    // For a fetch of an issuer that had not failed.
    let worth_it = all_before
        .iter()
        .zip(&all_after)
        .any(|(before, after)| before.failures == 0 && (before.in_flight > 0 || after.fetches > before.fetches));
    if !worth_it && waited > 300 + TIMER_RESOLUTION {
        world.violate("a wait of more than 300 ms for an issuer that has failed before", issuer);
    }
    if waited > left {
        world.violate("a wait past the deadline", issuer);
    }
}

/// Returns the rules that a response breaks.
fn broken_rules(plan: &Plan, exchange: &Exchange) -> Vec<&'static str> {
    let &Exchange { token: Token { issuer, left, .. }, key, ref before, ref after, fetched, status, took } = exchange;
    let mut broken = Vec::new();
    let mut rule = |holds: bool, rule| broken.extend((!holds).then_some(rule));
    let issuer = &plan.issuers[issuer];

    rule(took <= (left - 300) + TIMER_RESOLUTION, "a response later than 300 ms before the deadline");
    let had_key = before.has(key);
    rule(!had_key || took <= TIMER_RESOLUTION, "a token waits although the set has its key");
    rule(!had_key || status == 200, "a token is refused although the set has its key");
    rule(status != 200 || had_key || after.has(key), "a token is accepted although no set has its key");
    let has_set = after.known.usable(after.clock).is_some();
    rule(status != 401 || has_set, "401 although there is no set");

    // In a freeze, the times before and after it are two.
    let undisturbed = before.now + took == after.now;
    let is_due = before.known.may_fetch(before.clock) && before.known.in_flight == 0 && undisturbed;
    let is_stale = had_key && !before.known.is_fresh(before.clock);
    rule(!(is_due && is_stale) || fetched, "a set of ten minutes is used and not fetched again");
    let had_set = before.known.usable(before.clock).is_some();
    rule(!is_due || had_set || fetched, "there is no set, and it is not fetched");
    let may_refetch = is_due && Known::may_refetch(before.known.ended, before.clock);
    rule(
        !(may_refetch && had_set && !had_key) || fetched,
        "a token that no key of the set verifies is refused without a refetch",
    );

    // By the issuer's time, from here on.
    if !plan.jumps.is_empty() {
        return broken;
    }
    let disturbed = before.known.disturbed.max(after.known.disturbed);
    let healthy = issuer.healthy_between(before.now.saturating_sub(PUBLISHED), after.now)
        && disturbed.is_none_or(|at| at + PUBLISHED < before.now);
    let published = key.is_some_and(|key| {
        let (from, until) = issuer.keys[key];
        from + PUBLISHED <= before.now && after.now < until
    });
    rule(
        !(healthy && published && undisturbed && left >= 3_000) || status == 200,
        "a key that was published for eleven minutes is refused while its issuer is healthy",
    );
    let withdrawn = key.and_then(|key| before.now.checked_sub(issuer.keys[key].1));
    rule(
        status != 200 || withdrawn.is_none_or(|since| since < USABLE),
        "a key is accepted two hours after it was withdrawn",
    );
    // The one request that finds the set so old has it fetched.
    let finds_it_old = fetched || before.known.in_flight > 0;
    rule(
        status != 200
            || !healthy
            || before.known.failures > 0
            || finds_it_old
            || withdrawn.is_none_or(|since| since < FRESH),
        "a key is accepted ten minutes after it was withdrawn, although its issuer is healthy",
    );
    broken
}
