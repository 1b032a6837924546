//! Lambda's Runtime API, for one process.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::routing::{get, post};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc, oneshot};

use crate::lambda::request::Response;

pub const REQUEST_ID: &str = "lambda-runtime-aws-request-id";
pub const DEADLINE: &str = "lambda-runtime-deadline-ms";

/// What the process posted for an invocation.
#[derive(Debug)]
pub enum Outcome {
    Response(Response),
    /// `errorType` and `errorMessage`.
    Error(String, String),
}

impl Outcome {
    #[track_caller]
    pub fn response(self) -> Response {
        match self {
            Self::Response(response) => response,
            Self::Error(kind, message) => panic!("{kind}: {message}"),
        }
    }
}

struct Invocation {
    headers: HeaderMap,
    event: Vec<u8>,
}

struct Shared {
    queue: AsyncMutex<mpsc::UnboundedReceiver<Invocation>>,
    waiting: Mutex<HashMap<String, oneshot::Sender<Outcome>>>,
    /// Polls that wait for an event.
    polls: AtomicUsize,
    /// Outcomes of invocations that have one.
    repeated: AtomicU32,
    ready: Notify,
}

/// A Runtime API with a thread of its own.
pub struct RuntimeApi {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    queue: mpsc::UnboundedSender<Invocation>,
    count: AtomicU32,
    /// Its server, which ends with it.
    runtime: Option<Runtime>,
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.close();
    }
}

impl RuntimeApi {
    pub fn start() -> Self {
        let (queue, receiver) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            queue: AsyncMutex::new(receiver),
            waiting: Mutex::default(),
            polls: AtomicUsize::new(0),
            repeated: AtomicU32::new(0),
            ready: Notify::new(),
        });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .with_state(Arc::clone(&shared));
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move { axum::serve(TcpListener::from_std(listener).unwrap(), router).await });
        Self { address, shared, queue, count: AtomicU32::new(0), runtime: Some(runtime) }
    }

    /// Waits until the process asks for an event.
    pub async fn ready(&self) {
        self.shared.ready.notified().await;
    }

    pub async fn invoke(&self, event: &[u8]) -> Outcome {
        self.invoke_within(event, Duration::from_secs(30)).await
    }

    pub async fn invoke_within(&self, event: &[u8], left: Duration) -> Outcome {
        let deadline = (SystemTime::now() + left).duration_since(UNIX_EPOCH).unwrap().as_millis();
        self.invoke_with(event, &[(DEADLINE, Some(deadline.to_string().as_bytes()))]).await
    }

    /// Sends an event with headers besides the usual ones, or in their place; `None` takes one away.
    pub async fn invoke_with(&self, event: &[u8], changes: &[(&'static str, Option<&[u8]>)]) -> Outcome {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let id = format!("invocation-{count}");
        let deadline = (SystemTime::now() + Duration::from_secs(30)).duration_since(UNIX_EPOCH).unwrap().as_millis();
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, id.parse().unwrap());
        headers.insert(DEADLINE, deadline.to_string().parse().unwrap());
        headers
            .insert("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-central-1:1:function:f".parse().unwrap());
        let trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        headers.insert("lambda-runtime-trace-id", trace.parse().unwrap());
        for (name, value) in changes {
            match value {
                Some(value) => drop(headers.insert(*name, HeaderValue::from_bytes(value).unwrap())),
                None => drop(headers.remove(*name)),
            }
        }
        let id = headers.get(REQUEST_ID).map_or(id, |id| String::from_utf8_lossy(id.as_bytes()).into_owned());
        let (sender, receiver) = oneshot::channel();
        self.shared.waiting.lock().unwrap().insert(id.clone(), sender);
        self.queue.send(Invocation { headers, event: event.to_vec() }).unwrap();
        tokio::time::timeout(Duration::from_mins(1), receiver).await.expect("a response").expect("a response")
    }

    /// Sends an event without an id, which no one can respond to.
    pub fn drop_one(&self, event: &[u8]) {
        self.queue.send(Invocation { headers: HeaderMap::new(), event: event.to_vec() }).unwrap();
    }

    /// How many polls wait for an event.
    pub fn polls(&self) -> usize {
        self.shared.polls.load(Ordering::Relaxed)
    }

    /// How many outcomes were refused since the last time, because their invocation had one.
    pub fn take_repeated(&self) -> u32 {
        self.shared.repeated.swap(0, Ordering::Relaxed)
    }

    /// Ends the Runtime API: its connections close, and nothing listens at its address.
    pub fn close(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    pub async fn send(&self, event: &Value) -> Response {
        self.invoke(event.to_string().as_bytes()).await.response()
    }
}

async fn next(State(api): State<Arc<Shared>>) -> (HeaderMap, Vec<u8>) {
    api.ready.notify_one();
    let _poll = Poll::start(&api);
    let invocation = api.queue.lock().await.recv().await;
    let Some(invocation) = invocation else { return std::future::pending().await };
    (invocation.headers, invocation.event)
}

/// A poll, until it has its event or its connection ends.
struct Poll<'a>(&'a Shared);

impl<'a> Poll<'a> {
    fn start(api: &'a Shared) -> Self {
        api.polls.fetch_add(1, Ordering::Relaxed);
        Self(api)
    }
}

impl Drop for Poll<'_> {
    fn drop(&mut self) {
        self.0.polls.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn response(State(api): State<Arc<Shared>>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    let response = Response::read(&serde_json::from_slice(&body).unwrap());
    finish(&api, &id, Outcome::Response(response))
}

async fn error(State(api): State<Arc<Shared>>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    finish(&api, &id, Outcome::Error(text("errorType"), text("errorMessage")))
}

fn finish(api: &Shared, id: &str, outcome: Outcome) -> StatusCode {
    let Some(waiting) = api.waiting.lock().unwrap().remove(id) else {
        api.repeated.fetch_add(1, Ordering::Relaxed);
        return StatusCode::BAD_REQUEST;
    };
    let _ = waiting.send(outcome);
    StatusCode::ACCEPTED
}
