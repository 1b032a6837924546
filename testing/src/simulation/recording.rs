//! What the real handler does, recorded, for each sequence of messages that a request can meet.
//!
//! The handler is a function of what it receives: the event, the messages that come back for its attempts, and the times
//! that its clock shows with each of them. From one request to the next an instance keeps nothing that a response depends
//! on, since its keys are inline; so an instance differs from another by its clock alone.

use std::collections::HashMap;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use update_distributor::clock::Clock;
use update_distributor::handler::App;
use update_distributor::invocation::Invocation;

use super::store::Message;
use super::{NOW, event, paused_runtime, read, start_function, token};
use crate::lambda::request::Response;

/// What the function has received so far of one request: an index of [`Recording`].
pub type Prefix = u32;

/// A message: an index of [`Recording`].
pub type MessageId = u32;

/// The body of an attempt: an index of [`Recording`].
pub type BodyId = u32;

/// The function's next step.
#[derive(Clone, Debug)]
pub enum Step {
    /// It sends the store this.
    Attempt(BodyId),
    /// It responds.
    Response(Arc<Response>),
}

/// The event of a request, the time of the function's clock when it comes, and the milliseconds until its deadline.
type Start = (Arc<str>, u64, u64);

/// A message that the function receives, and the time of its clock then, in microseconds since 1970.
type Received = (MessageId, u64);

/// The recorded steps of the function.
pub struct Recording {
    app: Arc<App>,
    outside: Arc<Outside>,
    starts: HashMap<Start, Prefix>,
    prefixes: Vec<Known>,
    messages: Interned<Message>,
    bodies: Interned<Value>,
}

struct Known {
    start: Start,
    received: Vec<Received>,
    step: Step,
    took: Duration,
    /// The handler where it waits for its next message, until it has been sent one: for another it is run again.
    waiting: Option<Waiting>,
    /// What follows a message. Where the handler has not read its clock since, for any time.
    next: HashMap<(MessageId, Option<u64>), Prefix>,
}

/// The handler at work on a request.
struct Work {
    /// Time passes for each apart.
    runtime: Runtime,
    started: Instant,
    response: Pin<Box<dyn Future<Output = Vec<u8>>>>,
}

/// The handler at work, and where the message that it waits for goes.
struct Waiting(Work, oneshot::Sender<Message>);

impl Recording {
    /// Starts an instance, with settings besides the usual ones.
    pub fn new(more: &[(&str, &str)]) -> Self {
        let outside = Arc::new(Outside::default());
        let time = Arc::clone(&outside);
        let clock = Clock::new(move || {
            time.reads.fetch_add(1, Ordering::Relaxed);
            SystemTime::UNIX_EPOCH + Duration::from_micros(time.now.load(Ordering::Relaxed))
        });
        let clients = crate::store::clients(Scripted(Arc::clone(&outside)), clock);
        let app = Arc::new(paused_runtime().block_on(start_function(clients, more)));
        Self {
            app,
            outside,
            starts: HashMap::new(),
            prefixes: Vec::new(),
            messages: Interned::default(),
            bodies: Interned::default(),
        }
    }

    /// How many sequences of messages have been recorded.
    pub fn runs(&self) -> usize {
        self.prefixes.len()
    }

    /// The step at a prefix.
    pub fn step(&self, prefix: Prefix) -> &Step {
        &self.known(prefix).step
    }

    /// How long the function had been waiting until then, all in all.
    pub fn took(&self, prefix: Prefix) -> Duration {
        self.known(prefix).took
    }

    /// How many messages the function has received at a prefix.
    pub fn received(&self, prefix: Prefix) -> usize {
        self.known(prefix).received.len()
    }

    /// The body of an attempt.
    pub fn body(&self, id: BodyId) -> &Value {
        self.bodies.get(id)
    }

    /// The number of a message.
    pub fn message(&mut self, message: Message) -> MessageId {
        self.messages.number(message)
    }

    /// The function receives a request with this `If-Match` and body, with so many milliseconds until its deadline.
    pub fn request(&mut self, if_match: Option<&str>, body: &str, left: u64) -> Prefix {
        self.start(event(&token().0, 0, if_match, body).to_string().into(), NOW, left)
    }

    /// The function receives an event at `now`, with so many milliseconds until its deadline.
    pub fn start(&mut self, event: Arc<str>, now: u64, left: u64) -> Prefix {
        let start = (event, now, left);
        if let Some(&prefix) = self.starts.get(&start) {
            return prefix;
        }
        let work = self.begin(&start);
        let prefix = self.record(start.clone(), Vec::new(), work);
        self.starts.insert(start, prefix);
        prefix
    }

    /// The function receives a message at `now`.
    pub fn next(&mut self, prefix: Prefix, message: MessageId, now: u64) -> Prefix {
        let known = self.known(prefix);
        if let Some(&next) = known.next.get(&(message, None)).or_else(|| known.next.get(&(message, Some(now)))) {
            return next;
        }
        let waiting = self.prefixes[prefix as usize].waiting.take();
        let waiting = waiting.unwrap_or_else(|| self.run_again(prefix));
        let known = self.known(prefix);
        let (start, received) = (known.start.clone(), known.received.iter().copied().chain([(message, now)]).collect());
        let work = self.deliver(waiting, message, now);
        let next = self.record(start, received, work);
        let has_read = self.outside.reads.load(Ordering::Relaxed) > 0;
        self.prefixes[prefix as usize].next.insert((message, has_read.then_some(now)), next);
        next
    }

    fn known(&self, prefix: Prefix) -> &Known {
        &self.prefixes[prefix as usize]
    }

    fn begin(&self, (event, now, left): &Start) -> Work {
        self.outside.now.store(*now, Ordering::Relaxed);
        let deadline = SystemTime::UNIX_EPOCH + Duration::from_micros(*now) + Duration::from_millis(*left);
        let invocation = Invocation { request_id: "invocation".to_owned(), deadline: Some(deadline), trace_root: None };
        let (app, event) = (Arc::clone(&self.app), Arc::clone(event));
        let response = async move { app.invoke(event.as_bytes(), &invocation).await.expect("an HTTP event") };
        let runtime = paused_runtime();
        let started = runtime.block_on(async { Instant::now() });
        Work { runtime, started, response: Box::pin(response) }
    }

    fn deliver(&self, Waiting(work, sender): Waiting, message: MessageId, now: u64) -> Work {
        self.outside.now.store(now, Ordering::Relaxed);
        self.outside.reads.store(0, Ordering::Relaxed);
        // Whoever no longer waits for it has given up.
        let _ = sender.send(self.messages.get(message).clone());
        work
    }

    /// Returns the handler as it waits at a prefix.
    fn run_again(&self, prefix: Prefix) -> Waiting {
        let Known { start, received, .. } = self.known(prefix);
        let mut work = self.begin(start);
        for (message, now) in received {
            let (_, sender) = self.outside.next_attempt(&mut work).expect("an attempt, as before");
            work = self.deliver(Waiting(work, sender), *message, *now);
        }
        let (_, sender) = self.outside.next_attempt(&mut work).expect("an attempt, as before");
        Waiting(work, sender)
    }

    /// Lets the handler go on to its next step, and records that.
    fn record(&mut self, start: Start, received: Vec<Received>, mut work: Work) -> Prefix {
        let next = self.outside.next_attempt(&mut work);
        let took = work.runtime.block_on(async { work.started.elapsed() });
        let (step, waiting) = match next {
            Ok((body, sender)) => (Step::Attempt(self.bodies.number(body)), Some(Waiting(work, sender))),
            Err(response) => (Step::Response(Arc::new(response)), None),
        };
        self.prefixes.push(Known { start, received, step, took, waiting, next: HashMap::new() });
        Prefix::try_from(self.prefixes.len() - 1).expect("fewer than 2^32")
    }
}

/// What is outside of the handler; one at a time is at work.
#[derive(Debug, Default)]
struct Outside {
    /// The time that its clock shows.
    now: AtomicU64,
    /// How often the handler has read its clock since the last message.
    reads: AtomicU64,
    /// The attempt that waits for its message.
    attempt: Mutex<Option<(Value, oneshot::Sender<Message>)>>,
    waits: Notify,
}

impl Outside {
    /// Lets the handler go on until it sends an attempt, or responds.
    fn next_attempt(&self, work: &mut Work) -> Result<(Value, oneshot::Sender<Message>), Response> {
        work.runtime.block_on(async {
            // Backoffs pass at once, since the clock is paused.
            tokio::select! {
                biased;
                response = &mut work.response => Err(read(&response)),
                () = self.waits.notified() => {
                    Ok(self.attempt.lock().expect("one thread").take().expect("an attempt"))
                }
            }
        })
    }
}

#[derive(Debug)]
struct Scripted(Arc<Outside>);

impl HttpConnector for Scripted {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = serde_json::from_slice(request.body().bytes().expect("a body in memory")).expect("JSON");
        let (sender, message) = oneshot::channel();
        *self.0.attempt.lock().expect("one thread") = Some((body, sender));
        self.0.waits.notify_one();
        HttpConnectorFuture::new(async move {
            let message = message.await.unwrap_or(Message::Nothing);
            // A message that does not come is a wait of two seconds, as for the function.
            if message == Message::Nothing {
                tokio::time::sleep(Duration::from_millis(1_999)).await;
            }
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
