//! A deterministic simulation of the function: the real handler, in several instances whose clocks differ, with clients
//! that set, remove and read the same distributors, a model of the store, and a network that loses, delays, repeats and
//! breaks what goes over it. Time is tokio's paused clock. What was observed is checked against what must hold.
//!
//! A seed is a run: the same seed draws the same plan and leads to the same history.
//!
//! Beside it are a walk through every order of events of a few requests ([`exhaustive`]), a simulation of issuers and their
//! keys ([`keys`]), and what happens with many instances ([`scale`]). [`calls`] lists what the model of the store has to be held to.

pub mod behavior;
pub mod calls;
pub mod exhaustive;
pub mod history;
pub mod keys;
pub mod network;
pub mod plan;
pub mod scale;
pub mod store;

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use update_distributor::clients::Clients;
use update_distributor::clock::Clock;
use update_distributor::handler::App;
use update_distributor::invocation::Invocation;
use update_distributor::log::Level;

use crate::issuer::signer::Signer;
use crate::issuer::{AUDIENCE, ISSUER};
use crate::lambda;
use crate::lambda::captured_log::CapturedLog;
use behavior::Responded;
use calls::Expressions;
use history::{History, Request, Response, State, Violation, stored_meta};
use network::{Attempts, Network, REQUEST};
use plan::{Action, ClockPlan, Plan, Planned, TARGETS, Tag};
use store::{Item, Reply, Store};

const NODE: &str = "e40efce4-38a3-46c4-a202-e8db95d0409c";
const OTHER_NODE: &str = "0b1e2d3c-4a59-4687-8796-a5b4c3d2e1f0";
const IDS: [&str; TARGETS] = [
    "39e8003c-6342-4fd3-97a1-3f2a7b437d0a",
    "9f8e7d6c-5b4a-4938-8271-605f4e3d2c1b",
    "1a2b3c4d-5e6f-4708-9192-a3b4c5d6e7f8",
    "ffffffff-ffff-4fff-bfff-ffffffffffff",
];

/// The time of the run at its start: 2026-01-01T00:00:00Z.
const START: Duration = Duration::from_hours(490_896);

/// How often a client repeats a request that had no definite response.
const REPETITIONS: usize = 3;

/// What a run has counted.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Requests, repetitions included.
    pub requests: usize,
    /// Faults that were met: attempts with which something went wrong, and requests whose instance was frozen.
    pub faults: usize,
    /// Attempts that reached the store.
    pub calls: usize,
    /// The statuses that clients have received.
    pub statuses: BTreeSet<u64>,
    /// The expressions that the store was sent.
    pub expressions: BTreeSet<Expressions>,
}

impl Report {
    /// Adds another.
    pub fn add(&mut self, other: Self) {
        let Self { requests, faults, calls, statuses, expressions } = other;
        self.requests += requests;
        self.faults += faults;
        self.calls += calls;
        self.statuses.extend(statuses);
        self.expressions.extend(expressions);
    }
}

/// Requests of one run, without repetitions: enough for conflicts, few enough to be read.
pub const REQUESTS: usize = 40;

/// A run in which something was not allowed.
#[derive(Debug)]
pub struct Failure {
    /// What was not allowed, with the seed and the shortest history that leads to it.
    history: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.history)
    }
}

impl std::error::Error for Failure {}

/// Makes the runs of all these seeds, on as many threads as there are processors.
///
/// # Errors
///
/// The first run that failed.
pub fn run_all<R: Send>(seeds: Range<u64>, run: fn(u64) -> Result<R, Failure>) -> Result<Vec<R>, Failure> {
    let (next, end) = (AtomicU64::new(seeds.start), seeds.end);
    let work = || -> Result<Vec<R>, Failure> {
        let mut reports = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return Ok(reports);
            }
            // Where one has failed, the others stop.
            reports.push(run(seed).inspect_err(|_| next.store(end, Ordering::Relaxed))?);
        }
    };
    let reports: Vec<Result<Vec<R>, Failure>> = thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a run does not panic")).collect()
    });
    Ok(reports.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// Makes the run of a seed.
///
/// # Errors
///
/// That something in it was not allowed.
pub fn run(seed: u64) -> Result<Report, Failure> {
    let plan = Plan::new(seed, REQUESTS);
    let (report, _, verdict) = execute(&plan);
    verdict.map(|()| report).map_err(|_| Failure { history: describe(&shrink(plan)) })
}

/// Makes the run of a seed and returns all that happened in it, in words.
pub fn history(seed: u64) -> String {
    describe(&Plan::new(seed, REQUESTS))
}

/// Carries out a plan and returns what happened.
///
/// # Panics
///
/// If something was not allowed.
pub fn follow(plan: &Plan) -> History {
    let (_, history, verdict) = execute(plan);
    assert!(verdict.is_ok(), "{}", describe(plan));
    history
}

/// Leaves out of a plan that fails whatever can be left out.
fn shrink(mut plan: Plan) -> Plan {
    let fails = |plan: &Plan| execute(plan).2.is_err();
    loop {
        let before = plan.requests.len() + plan.faults();
        // Large parts first.
        let mut size = plan.requests.len().div_ceil(2);
        while size > 0 {
            let mut start = 0;
            while start < plan.requests.len() {
                let mut shorter = plan.clone();
                shorter.requests.drain(start..(start + size).min(plan.requests.len()));
                if fails(&shorter) { plan = shorter } else { start += size }
            }
            size /= 2;
        }
        for index in 0..plan.requests.len() {
            for fate in 0..plan.requests[index].fates.len() {
                let mut simpler = plan.clone();
                if simpler.requests[index].fates[fate].fault.take().is_some() && fails(&simpler) {
                    plan = simpler;
                }
            }
        }
        let simplifications: [fn(&mut Plan); 2] =
            [|plan| plan.freezes.clear(), |plan| plan.clocks.iter_mut().for_each(|clock| clock.jumps.clear())];
        for simplify in simplifications {
            let mut simpler = plan.clone();
            simplify(&mut simpler);
            if fails(&simpler) {
                plan = simpler;
            }
        }
        if plan.requests.len() + plan.faults() == before {
            return plan;
        }
    }
}

fn describe(plan: &Plan) -> String {
    let (_, history, verdict) = execute(plan);
    let mut text = match verdict {
        Ok(()) => "all of it is allowed".to_owned(),
        Err(violation) => violation.to_string(),
    };
    let _ = write!(text, "\nseed {}\n{plan}", plan.seed);
    for (time, event) in &history.events {
        let _ = writeln!(text, "{:>9.3} s  {event}", time.as_secs_f64());
    }
    text
}

fn execute(plan: &Plan) -> (Report, History, Result<(), Violation>) {
    fastrand::seed(plan.seed);
    let world = paused_runtime().block_on(async {
        let world = World::new(plan);
        let mut instances = Vec::new();
        for clock in &plan.clocks {
            instances.push(Arc::new(Instance::new(&world, clock).await));
        }
        let mut clients = JoinSet::new();
        let count = plan.requests.iter().map(|request| request.client + 1).max().unwrap_or_default();
        for client in 0..count {
            let requests: Vec<_> = plan.requests.iter().filter(|request| request.client == client).cloned().collect();
            clients.spawn(Client { world: Arc::clone(&world), instances: instances.clone() }.send_all(requests));
        }
        clients.join_all().await;
        // Whatever is still under way arrives.
        sleep(Duration::from_mins(5)).await;
        world
    });
    let mut state = world.lock();
    let (history, mut report) = (std::mem::take(&mut state.history), std::mem::take(&mut state.report));
    report.requests = history.requests.len();
    report.faults += history.requests.iter().filter(|request| request.frozen).count();
    report.statuses = history.requests.iter().filter_map(|request| Some(request.response.as_ref()?.status)).collect();
    let verdict = history.check();
    (report, history, verdict)
}

/// The store and everything that is observed.
#[derive(Debug)]
pub struct World {
    start: Instant,
    plan: Plan,
    state: Mutex<Observed>,
}

#[derive(Debug)]
struct Observed {
    store: Store,
    history: History,
    report: Report,
}

impl World {
    fn new(plan: &Plan) -> Arc<Self> {
        let mut store = Store::default();
        let mut history = History::default();
        for (target, id) in IDS.into_iter().enumerate() {
            let item =
                plan.stored.get(target).map(|stored| item(id, if target == 2 { OTHER_NODE } else { NODE }, *stored));
            store.0.extend(item.clone().map(|item| (id.to_owned(), item)));
            history.states[target].push(State { from: 0, by: None, item });
        }
        let state = Mutex::new(Observed { store, history, report: Report::default() });
        Arc::new(Self { start: Instant::now(), plan: plan.clone(), state })
    }

    fn lock(&self) -> MutexGuard<'_, Observed> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn note(&self, event: String) {
        self.lock().history.events.push((self.elapsed(), event));
    }

    fn fault(&self, event: String) {
        self.lock().report.faults += 1;
        self.note(event);
    }

    fn update_item(&self, number: usize, attempt: usize, body: &Value) -> Reply {
        let elapsed = self.elapsed();
        let mut state = self.lock();
        let Observed { store, history, report } = &mut *state;
        report.calls += 1;
        report.expressions.insert(calls::expressions(body));
        let reply = store.update_item(body);
        let moment = history.moment();
        let target = history.requests[number].planned.target;
        let event = match &reply {
            Reply::Done(item) if body.get("UpdateExpression").is_some() => {
                history.states[target].push(State { from: moment, by: Some(number), item: Some(item.clone()) });
                format!("writes version {} with {}", item["updated_at"]["S"], meta_of(item))
            }
            Reply::Done(_) => "reads".to_owned(),
            Reply::ConditionFailed(item) => {
                let stored = item.as_ref().and_then(|item| item.get("updated_at")).unwrap_or(&Value::Null);
                format!("finds its condition failed at version {}", stored["S"])
            }
        };
        history.events.push((elapsed, format!("request {number} attempt {attempt} {event}")));
        reply
    }

    /// Returns when an instance that is frozen now goes on.
    fn frozen_until(&self, instance: usize) -> Option<Instant> {
        let now = u64::try_from(self.elapsed().as_millis()).expect("a short run");
        let freezes = self.plan.freezes.iter().filter(|freeze| freeze.instance == instance);
        let until =
            freezes.filter(|freeze| (freeze.from..freeze.until).contains(&now)).map(|freeze| freeze.until).max();
        until.map(|until| self.start + Duration::from_millis(until))
    }
}

fn meta_of(item: &Item) -> String {
    item.get("meta").map_or("no meta".to_owned(), |meta| meta["M"]["path"]["S"].to_string())
}

struct Instance {
    app: App,
    clock: Clock,
}

impl Instance {
    async fn new(world: &Arc<World>, plan: &ClockPlan) -> Self {
        let (time, plan) = (Arc::clone(world), plan.clone());
        let clock = Clock::new(move || reading(&plan, time.elapsed()));
        let clients = crate::store::clients(Network(Arc::clone(world)), clock.clone());
        Self { app: start_function(clients, &[]).await, clock }
    }
}

fn reading(plan: &ClockPlan, elapsed: Duration) -> SystemTime {
    let jumps = plan.jumps.iter().filter(|(at, _)| Duration::from_millis(*at) <= elapsed);
    let ahead = plan.ahead + jumps.map(|(_, by)| by).sum::<i64>();
    let now = (START + elapsed).as_micros().checked_add_signed(i128::from(ahead) * 1_000).expect("after 1970");
    let shown = now - now % u128::from(plan.resolution);
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(shown).expect("before 2500"))
}

/// A runtime whose clock only advances when everything waits for it.
fn paused_runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime")
}

/// Starts the function without its priming call and without a log, for tokens of [`token`] where nothing else is set.
async fn start_function(clients: Clients, more: &[(&str, &str)]) -> App {
    let mut settings = lambda::settings(&token().1);
    for (name, value) in [("PRIME", "false")].iter().chain(more) {
        settings.insert((*name).to_owned(), (*value).to_owned());
    }
    App::start(lambda::config(&settings), clients, CapturedLog::default().at(Level::Fatal)).await
}

/// A distributor without configuration.
fn item(id: &str, node: &str, version: Option<&str>) -> Item {
    let attributes = [("id", Some(id)), ("node_id", Some(node)), ("updated_at", version)];
    attributes.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!({"S": value?})))).collect()
}

/// A token of [`NODE`], and the key set that verifies it.
fn token() -> &'static (String, String) {
    static TOKEN: OnceLock<(String, String)> = OnceLock::new();
    TOKEN.get_or_init(|| {
        let signer = Signer::fixed();
        let claims = json!({"iss": ISSUER, "aud": AUDIENCE, "exp": 4_000_000_000_u64, "node_id": NODE});
        let token = signer.sign("EdDSA", &json!({"alg": "EdDSA"}), &claims);
        (token, json!({"keys": [signer.jwk()]}).to_string())
    })
}

struct Client {
    world: Arc<World>,
    instances: Vec<Arc<Instance>>,
}

impl Client {
    async fn send_all(self, requests: Vec<Planned>) {
        let mut seen: [Vec<String>; TARGETS] = Default::default();
        for planned in requests {
            sleep(Duration::from_millis(planned.pause)).await;
            let known = &mut seen[planned.target];
            let mut last = known.iter().rev().cloned();
            let tags = match planned.tag {
                Tag::None | Tag::Any => None,
                Tag::Seen => Some(last.by_ref().take(1).collect()),
                Tag::Before => Some(last.skip(1).take(1).collect()),
                Tag::Both => Some(last.take(2).collect()),
            };
            // Whoever has seen nothing has no tag to send.
            let tags: Option<Vec<String>> = tags.filter(|tags: &Vec<_>| !tags.is_empty());
            let mut planned = planned;
            for repetition in 0..=REPETITIONS {
                let response = self.send(&planned, tags.as_ref()).await;
                if let Some(Response { tag: Some(tag), .. }) = &response
                    && known.last() != Some(tag)
                {
                    known.push(tag.clone());
                }
                if response.is_some_and(|response| response.status != 503) || repetition == REPETITIONS {
                    break;
                }
                // The same again, as documented. Now everything goes well, or the run might never end.
                planned.fates.clear();
                sleep(Duration::from_secs(1)).await;
            }
        }
    }

    async fn send(&self, planned: &Planned, tags: Option<&Vec<String>>) -> Option<Response> {
        let event = planned_event(planned, tags);
        let instance = Arc::clone(&self.instances[planned.instance]);
        let number = {
            let mut state = self.world.lock();
            let sent = state.history.moment();
            let (planned, tags) = (planned.clone(), tags.cloned());
            state.history.requests.push(Request { planned, tags, frozen: false, sent, response: None });
            state.history.requests.len() - 1
        };
        let (action, target, left) = (planned.action, planned.target, planned.left);
        let sent = format!("client {} sends request {number} to instance {}", planned.client, planned.instance);
        self.world.note(format!("{sent}: {action:?} of distributor {target}, If-Match {tags:?}, {left} ms"));
        let left = Duration::from_millis(left);
        let invocation = Invocation {
            request_id: number.to_string(),
            deadline: Some(instance.clock.now() + left),
            trace_root: None,
        };
        let (sender, response) = oneshot::channel();
        let attempts = Attempts { request: number, fates: planned.fates.clone(), count: 0.into() };
        let work = REQUEST.scope(Arc::new(attempts), async move {
            let response = instance.app.invoke(event.as_bytes(), &invocation).await.expect("an HTTP event");
            // Where Lambda has given up, no one waits for it.
            let _ = sender.send(Responded::read(&response));
        });
        tokio::spawn(Freezable {
            work: Box::pin(work),
            thaw: None,
            world: Arc::clone(&self.world),
            instance: planned.instance,
            request: number,
        });
        let started = Instant::now();
        let received = timeout(left, response).await;
        let took = started.elapsed();
        let Ok(received) = received else {
            self.world.note(format!("request {number} is given up"));
            return None;
        };
        let Responded { status, tag, body } = received.expect("the function responds");
        self.world.note(format!("request {number} is answered {status}, ETag {tag:?}"));
        let mut state = self.world.lock();
        let response = Response { at: state.history.moment(), took, status, tag, body };
        state.history.requests[number].response = Some(response.clone());
        Some(response)
    }
}

/// The event of a planned request.
fn planned_event(planned: &Planned, tags: Option<&Vec<String>>) -> String {
    let body = match planned.action {
        Action::Set(_) => {
            let meta = stored_meta(planned.action).expect("a configuration");
            json!({"meta": {"path": meta["M"]["path"]["S"]}})
        }
        Action::Remove => json!({"meta": null}),
        Action::Read => json!({}),
    };
    let if_match = match tags {
        Some(tags) => Some(tags.iter().map(|tag| format!("\"{tag}\"")).collect::<Vec<_>>().join(", ")),
        None => (planned.tag == Tag::Any).then(|| "*".to_owned()),
    };
    event(&token().0, planned.target, if_match.as_deref(), &body.to_string()).to_string()
}

/// An event with these parts.
fn event(token: &str, target: usize, if_match: Option<&str>, body: &str) -> Value {
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

/// The work of an instance on a request, which rests while the instance is frozen.
struct Freezable {
    work: Pin<Box<dyn Future<Output = ()> + Send>>,
    thaw: Option<Pin<Box<Sleep>>>,
    world: Arc<World>,
    instance: usize,
    request: usize,
}

impl Future for Freezable {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        while let Some(until) = self.world.frozen_until(self.instance) {
            let request = self.request;
            self.world.lock().history.requests[request].frozen = true;
            let mut thaw = Box::pin(sleep_until(until));
            if thaw.as_mut().poll(context).is_pending() {
                self.thaw = Some(thaw);
                return Poll::Pending;
            }
        }
        self.thaw = None;
        self.work.as_mut().poll(context)
    }
}
