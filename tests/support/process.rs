//! The real `bootstrap` binary behind a Runtime API.

use std::collections::HashMap;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::routing::{get, post};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Mutex as AsyncMutex, Notify, mpsc, oneshot};

use super::embedded::{Embedded, TABLE};
use super::issuer::{AUDIENCE, ISSUER, Issuer};
use super::request::Answer;

pub const REQUEST_ID: &str = "lambda-runtime-aws-request-id";
pub const DEADLINE: &str = "lambda-runtime-deadline-ms";

/// What the process posted for an invocation.
#[derive(Debug)]
pub enum Outcome {
    Answer(Answer),
    /// `errorType` and `errorMessage`.
    Error(String, String),
}

impl Outcome {
    #[track_caller]
    pub fn answer(self) -> Answer {
        match self {
            Self::Answer(answer) => answer,
            Self::Error(kind, message) => panic!("{kind}: {message}"),
        }
    }
}

struct Invocation {
    headers: HeaderMap,
    event: Vec<u8>,
}

struct Api {
    queue: AsyncMutex<mpsc::UnboundedReceiver<Invocation>>,
    waiting: Mutex<HashMap<String, oneshot::Sender<Outcome>>>,
    ready: Notify,
}

pub struct Process {
    child: Child,
    api: Arc<Api>,
    queue: mpsc::UnboundedSender<Invocation>,
    lines: Arc<Mutex<Vec<String>>>,
    output: Option<tokio::task::JoinHandle<()>>,
    count: std::sync::atomic::AtomicU32,
    /// Of the Runtime API, which goes with it.
    runtime: Option<Runtime>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end_api();
    }
}

/// The environment that Lambda sets, and the settings of a deployment with this store and issuer.
pub fn environment(endpoint: &str, issuer: &Issuer) -> HashMap<String, String> {
    let settings = [
        ("AWS_LAMBDA_FUNCTION_NAME", "update-distributor"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "any"),
        ("AWS_SECRET_ACCESS_KEY", "any"),
        ("AWS_ENDPOINT_URL_DYNAMODB", endpoint),
        ("TABLE_NAME", TABLE),
        ("TOKEN_ISSUER", ISSUER),
        ("TOKEN_AUDIENCE", AUDIENCE),
        ("TOKEN_JWKS", &issuer.jwks()),
    ];
    settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

impl Process {
    pub fn start(store: &Embedded, issuer: &Issuer, settings: &[(&str, &str)]) -> Self {
        let mut environment = environment(&store.endpoint(), issuer);
        environment.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Self::spawn(environment)
    }

    /// Starts the process with this environment and nothing else of ours.
    pub fn spawn(mut environment: HashMap<String, String>) -> Self {
        let (queue, receiver) = mpsc::unbounded_channel();
        let api = Arc::new(Api { queue: AsyncMutex::new(receiver), waiting: Mutex::default(), ready: Notify::new() });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .with_state(Arc::clone(&api));
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move { axum::serve(TcpListener::from_std(listener).unwrap(), router).await });
        environment.entry("AWS_LAMBDA_RUNTIME_API".to_owned()).or_insert(address.to_string());
        let mut child = Command::new(env!("CARGO_BIN_EXE_bootstrap"))
            .env_clear()
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let collected = Arc::clone(&lines);
        let output = tokio::spawn(async move {
            let mut stdout = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = stdout.next_line().await {
                collected.lock().unwrap().push(line);
            }
            let mut rest = String::new();
            let _ = stderr.read_to_string(&mut rest).await;
            collected.lock().unwrap().extend(rest.lines().map(|line| format!("stderr: {line}")));
        });
        Self { child, api, queue, lines, output: Some(output), count: 0.into(), runtime: Some(runtime) }
    }

    /// Waits until the process asks for an event.
    pub async fn ready(&self) {
        self.api.ready.notified().await;
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
        let count = self.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
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
        self.api.waiting.lock().unwrap().insert(id.clone(), sender);
        self.queue.send(Invocation { headers, event: event.to_vec() }).unwrap();
        tokio::time::timeout(Duration::from_mins(1), receiver).await.expect("an answer").expect("an answer")
    }

    /// Sends an event without an id, which no one can respond to.
    pub fn drop_one(&self, event: &[u8]) {
        self.queue.send(Invocation { headers: HeaderMap::new(), event: event.to_vec() }).unwrap();
    }

    /// Ends the Runtime API: its connections close, and nothing listens at its address.
    pub fn end_api(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    pub async fn send(&self, event: &Value) -> Answer {
        self.invoke(event.to_string().as_bytes()).await.answer()
    }

    pub fn id(&self) -> u32 {
        self.child.id().expect("the process runs")
    }

    /// Sends it `STOP` or `CONT`.
    pub async fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.id().to_string()]).status().await;
        assert!(sent.unwrap().success());
    }

    /// Ends the process and returns all that it printed.
    pub async fn stop(mut self) -> Vec<String> {
        let _ = self.child.kill().await;
        self.output.take().unwrap().await.unwrap();
        self.lines.lock().unwrap().clone()
    }

    /// Waits for the process to end by itself, and returns what it printed.
    pub async fn end(mut self) -> (ExitStatus, Vec<String>) {
        let status = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await.expect("it ends").unwrap();
        self.output.take().unwrap().await.unwrap();
        (status, self.lines.lock().unwrap().clone())
    }
}

async fn next(State(api): State<Arc<Api>>) -> (HeaderMap, Vec<u8>) {
    api.ready.notify_one();
    let invocation = api.queue.lock().await.recv().await;
    let Some(invocation) = invocation else { return std::future::pending().await };
    (invocation.headers, invocation.event)
}

async fn response(State(api): State<Arc<Api>>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    let answer = Answer::read(&serde_json::from_slice(&body).unwrap());
    finish(&api, &id, Outcome::Answer(answer))
}

async fn error(State(api): State<Arc<Api>>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    finish(&api, &id, Outcome::Error(text("errorType"), text("errorMessage")))
}

fn finish(api: &Api, id: &str, outcome: Outcome) -> StatusCode {
    let waiting = api.waiting.lock().unwrap().remove(id).expect("an invocation that waits");
    let _ = waiting.send(outcome);
    StatusCode::ACCEPTED
}
