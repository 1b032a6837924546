//! What the real handler does, recorded: it is run once for each sequence of messages that a request can meet.
//!
//! The handler is a function of what it receives: the event, the messages that come back for its attempts, and the times
//! that its clock shows with each of them. From one request to the next an instance keeps nothing that a response depends
//! on, since its keys are inline; so an instance differs from another by its clock alone.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::time::Instant;
use update_distributor::clock::Clock;
use update_distributor::handler::App;
use update_distributor::invocation::Invocation;

use super::network::Message;
use super::{event, paused_runtime, start_function, token};

/// The time that a request has, in milliseconds: enough for every attempt.
pub const LEFT: u64 = 60_000;

/// A time for requests: 2026-01-01T00:00:00Z, in microseconds since 1970.
pub const NOW: u64 = 1_767_225_600_000_000;

/// What the function has been told so far of one request: an index of [`Behavior`].
pub type Point = u32;

/// A message: an index of [`Behavior`].
pub type MessageId = u32;

/// The body of an attempt: an index of [`Behavior`].
pub type BodyId = u32;

/// The function's next step.
#[derive(Clone, Debug)]
pub enum Step {
    /// It sends the store this.
    Attempt(BodyId),
    /// It responds.
    Response(Arc<Responded>),
}

/// A response, in parts.
#[derive(Debug)]
pub struct Responded {
    /// Its status.
    pub status: u64,
    /// The version in `ETag`.
    pub tag: Option<String>,
    /// Its body.
    pub body: Value,
}

/// A message that the function receives, and the time of its clock then, in microseconds since 1970.
type Told = (MessageId, u64);

/// The recorded steps of the function.
pub struct Behavior {
    runtime: Runtime,
    app: App,
    world: Arc<Script>,
    starts: HashMap<(Arc<str>, u64), Point>,
    points: Vec<Known>,
    messages: Interned<Message>,
    bodies: Interned<Value>,
}

struct Known {
    start: (Arc<str>, u64),
    told: Vec<Told>,
    step: Step,
    took: Duration,
    /// What follows a message. Where the handler has not looked at its clock, for any time.
    next: HashMap<(MessageId, Option<u64>), Point>,
}

impl Behavior {
    /// Starts an instance, with settings besides the usual ones.
    pub fn new(more: &[(&str, &str)]) -> Self {
        let runtime = paused_runtime();
        let world = Arc::new(Script::default());
        let time = Arc::clone(&world);
        let clock = Clock::new(move || {
            time.looks.fetch_add(1, Ordering::Relaxed);
            SystemTime::UNIX_EPOCH + Duration::from_micros(time.now.load(Ordering::Relaxed))
        });
        let clients = crate::store::clients(Scripted(Arc::clone(&world)), clock);
        let app = runtime.block_on(start_function(clients, more));
        Self {
            runtime,
            app,
            world,
            starts: HashMap::new(),
            points: Vec::new(),
            messages: Interned::default(),
            bodies: Interned::default(),
        }
    }

    /// How often the handler has been run.
    pub fn runs(&self) -> usize {
        self.points.len()
    }

    /// The step at a point.
    pub fn step(&self, point: Point) -> &Step {
        &self.known(point).step
    }

    /// How long the function had been waiting until then, all in all.
    pub fn took(&self, point: Point) -> Duration {
        self.known(point).took
    }

    /// How many messages the function has received at a point.
    pub fn told(&self, point: Point) -> usize {
        self.known(point).told.len()
    }

    /// The body of an attempt.
    pub fn body(&self, id: BodyId) -> &Value {
        self.bodies.get(id)
    }

    /// The number of a message.
    pub fn message(&mut self, message: Message) -> MessageId {
        self.messages.number(message)
    }

    /// The function receives a request with this `If-Match` and body at `now`.
    pub fn request(&mut self, if_match: Option<&str>, body: &str, now: u64) -> Point {
        self.start(event(&token().0, 0, if_match, body).to_string().into(), now)
    }

    /// The function receives an event at `now`.
    pub fn start(&mut self, event: Arc<str>, now: u64) -> Point {
        let start = (event, now);
        if let Some(&point) = self.starts.get(&start) {
            return point;
        }
        let point = self.run(start.clone(), Vec::new());
        self.starts.insert(start, point);
        point
    }

    /// The function receives a message at `now`.
    pub fn next(&mut self, point: Point, message: MessageId, now: u64) -> Point {
        let known = self.known(point);
        if let Some(&next) = known.next.get(&(message, None)).or_else(|| known.next.get(&(message, Some(now)))) {
            return next;
        }
        let all = known.told.iter().copied().chain([(message, now)]).collect();
        let next = self.run(known.start.clone(), all);
        let looked = self.world.looks.load(Ordering::Relaxed) > 0;
        self.points[point as usize].next.insert((message, looked.then_some(now)), next);
        next
    }

    fn known(&self, point: Point) -> &Known {
        &self.points[point as usize]
    }

    fn run(&mut self, start: (Arc<str>, u64), told: Vec<Told>) -> Point {
        let (event, now) = &start;
        self.world.now.store(*now, Ordering::Relaxed);
        let messages = told.iter().rev().map(|(message, now)| (self.messages.get(*message).clone(), *now));
        *self.world.told.lock().expect("one thread") = messages.collect();
        let deadline = SystemTime::UNIX_EPOCH + Duration::from_micros(*now) + Duration::from_millis(LEFT);
        let invocation = Invocation { request_id: "invocation".to_owned(), deadline: Some(deadline), trace_root: None };
        let (step, took) = self.runtime.block_on(async {
            let started = Instant::now();
            // Backoffs pass at once, since the clock is paused.
            let step = tokio::select! {
                biased;
                response = self.app.invoke(event.as_bytes(), &invocation) => {
                    Step::Response(Arc::new(Responded::read(&response.expect("an HTTP event"))))
                }
                () = self.world.waits.notified() => {
                    let body = self.world.sent.lock().expect("one thread").take().expect("an attempt");
                    Step::Attempt(self.bodies.number(body))
                }
            };
            (step, started.elapsed())
        });
        self.points.push(Known { start, told, step, took, next: HashMap::new() });
        Point::try_from(self.points.len() - 1).expect("fewer than 2^32")
    }
}

impl Responded {
    /// Reads what the function has returned.
    pub fn read(response: &[u8]) -> Self {
        let response: Value = serde_json::from_slice(response).expect("a response is JSON");
        Self {
            status: response["statusCode"].as_u64().expect("a status"),
            tag: response["headers"]["etag"].as_str().map(|tag| tag.trim_matches('"').to_owned()),
            body: serde_json::from_str(response["body"].as_str().expect("a body")).expect("JSON"),
        }
    }
}

/// What the attempts of the one request meet.
#[derive(Debug, Default)]
struct Script {
    now: AtomicU64,
    /// How often the handler has looked at its clock since the last message.
    looks: AtomicU64,
    /// The last is the next.
    told: Mutex<Vec<(Message, u64)>>,
    /// The attempt that nothing is known of.
    sent: Mutex<Option<Value>>,
    waits: Notify,
}

#[derive(Debug)]
struct Scripted(Arc<Script>);

impl HttpConnector for Scripted {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let script = Arc::clone(&self.0);
        let Some((message, now)) = script.told.lock().expect("one thread").pop() else {
            let body = request.body().bytes().expect("a body in memory");
            *script.sent.lock().expect("one thread") = Some(serde_json::from_slice(body).expect("JSON"));
            script.waits.notify_one();
            return HttpConnectorFuture::new(std::future::pending());
        };
        HttpConnectorFuture::new(async move {
            // A message that does not come is a wait of two seconds, as for the function.
            if message == Message::Nothing {
                tokio::time::sleep(Duration::from_millis(1_999)).await;
            }
            script.now.store(now, Ordering::Relaxed);
            script.looks.store(0, Ordering::Relaxed);
            message.deliver().await
        })
    }
}

/// Values by number.
pub struct Interned<T> {
    values: Vec<T>,
    numbers: HashMap<T, u32>,
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self { values: Vec::new(), numbers: HashMap::new() }
    }
}

impl<T: Clone + Eq + Hash> Interned<T> {
    /// Returns the number of a value.
    pub fn number(&mut self, value: T) -> u32 {
        *self.numbers.entry(value).or_insert_with_key(|value| {
            self.values.push(value.clone());
            u32::try_from(self.values.len() - 1).expect("fewer than 2^32")
        })
    }

    /// Returns the value of a number.
    pub fn get(&self, number: u32) -> &T {
        &self.values[number as usize]
    }
}
