//! The loop between Lambda's Runtime API and the function.
//!
//! It takes the place of `lambda_runtime::Runtime`, which reads every header of an invocation before it hands on the
//! event: a client context with a value that is not a string, a Cognito identity of `{}` or an unreadable deadline end
//! its process (or, with several invocations at once, one of its workers), a missing deadline or id panics, and with
//! several at once it polls a Runtime API that is gone for ever, in a busy loop. Here the headers that the function does
//! not need are not read, and the others may have any form.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use lambda_http::http::header::{HeaderMap, HeaderValue};
use lambda_http::http::{Method, Request, StatusCode, Uri};
use lambda_http::lambda_runtime::Diagnostic;
use lambda_runtime_api_client::body::Body;
use lambda_runtime_api_client::{BoxError, PooledClient, build_request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use tokio::task::JoinSet;
use tracing::error;

use crate::error::chain;
use crate::handler::{App, Invocation};

/// The version of the Runtime API.
const INVOCATION: &str = "/2018-06-01/runtime/invocation";

const REQUEST_ID: &str = "lambda-runtime-aws-request-id";
const DEADLINE_MS: &str = "lambda-runtime-deadline-ms";
const TRACE_ID: &str = "lambda-runtime-trace-id";
/// Sent back with the response, so that Lambda can tell a stale one.
const INVOCATION_ID: &str = "lambda-runtime-invocation-id";

/// The characters of a request id that a path must have encoded. Lambda's ids are UUIDs, but that is not promised.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The reason for the end of the loop.
#[derive(Debug)]
pub enum RuntimeError {
    /// No connection could be made, or it broke while waiting for an invocation.
    Unreachable(BoxError),
    /// The response to the request for an invocation has this status.
    Status(StatusCode),
    /// A worker panicked. The log has the place.
    Panicked,
}

impl fmt::Display for RuntimeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => write!(formatter, "the Runtime API is out of reach: {}", chain(&**error)),
            Self::Status(status) => write!(formatter, "the Runtime API has no next invocation: status {status}"),
            Self::Panicked => formatter.write_str("a worker panicked"),
        }
    }
}

impl std::error::Error for RuntimeError {}

/// Serves invocations from the Runtime API at `endpoint`, `concurrency` at once.
///
/// # Errors
///
/// The first error of any worker: without a Runtime API there is nothing left to do.
pub async fn run(app: App, endpoint: Uri, concurrency: usize) -> Result<Infallible, RuntimeError> {
    let api = PooledClient::builder().with_endpoint(endpoint).with_pool_size(concurrency).build();
    let (api, app) = (Arc::new(api), Arc::new(app));
    let mut workers = JoinSet::new();
    for _ in 0..concurrency {
        let (api, app) = (Arc::clone(&api), Arc::clone(&app));
        workers.spawn(async move { serve(&api, &app).await });
    }
    match workers.join_next().await {
        Some(Ok(result)) => result,
        Some(Err(_)) | None => Err(RuntimeError::Panicked),
    }
}

async fn serve(api: &PooledClient, app: &App) -> Result<Infallible, RuntimeError> {
    loop {
        let Some((headers, event)) = next(api).await? else { continue };
        let Some(id) = headers.get(REQUEST_ID) else {
            error!("an invocation without {REQUEST_ID} was dropped: there is no way to respond to it");
            continue;
        };
        let invocation = invocation(id, &headers);
        let result = app.invoke(&event, &invocation).await;
        let (outcome, body) = match &result {
            Ok(response) => (Outcome::Response, serde_json::to_vec(response)),
            Err(invalid) => (Outcome::Error, serde_json::to_vec(&Diagnostic::from(*invalid))),
        };
        // Strings, numbers and booleans: serialization cannot fail.
        let body = body.unwrap_or_default();
        if let Err(error) = post(api, id, headers.get(INVOCATION_ID), outcome, body).await {
            error!("the {} could not be delivered: {error}", outcome.name());
        }
        app.finish_background_work(&invocation).await;
    }
}

/// Waits for the next invocation. `None` is the response of local tools to a poll that took too long.
async fn next(api: &PooledClient) -> Result<Option<(HeaderMap, Bytes)>, RuntimeError> {
    let request = build_request()
        .method(Method::GET)
        .uri(format!("{INVOCATION}/next"))
        .body(Body::empty())
        .map_err(|error| RuntimeError::Unreachable(error.into()))?;
    let (parts, body) = api.call(request).await.map_err(RuntimeError::Unreachable)?.into_parts();
    match parts.status {
        StatusCode::OK => {
            let event = body.collect().await.map_err(|error| RuntimeError::Unreachable(error.into()))?.to_bytes();
            Ok(Some((parts.headers, event)))
        }
        StatusCode::NO_CONTENT => Ok(None),
        status => Err(RuntimeError::Status(status)),
    }
}

fn invocation(id: &HeaderValue, headers: &HeaderMap) -> Invocation {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let milliseconds = headers.get(DEADLINE_MS).and_then(|value| value.to_str().ok()?.parse().ok());
    let deadline =
        milliseconds.and_then(|milliseconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds)));
    Invocation { request_id: text(id), deadline, trace_id: headers.get(TRACE_ID).map(text) }
}

/// What has come of an invocation.
#[derive(Clone, Copy)]
enum Outcome {
    Response,
    Error,
}

impl Outcome {
    /// Returns its name in the paths of the Runtime API.
    fn name(self) -> &'static str {
        match self {
            Self::Response => "response",
            Self::Error => "error",
        }
    }
}

/// The reason why an outcome could not be delivered.
#[derive(Debug)]
enum DeliveryError {
    /// The request could not be made, or there was no response to it.
    Failed(BoxError),
    /// The response has this status.
    Status(StatusCode),
}

impl fmt::Display for DeliveryError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => formatter.write_str(&chain(&**error)),
            Self::Status(status) => write!(formatter, "status {status}"),
        }
    }
}

impl std::error::Error for DeliveryError {}

/// Posts the outcome of an invocation.
async fn post(
    api: &PooledClient,
    id: &HeaderValue,
    invocation_id: Option<&HeaderValue>,
    outcome: Outcome,
    body: Vec<u8>,
) -> Result<(), DeliveryError> {
    let id = percent_encode(id.as_bytes(), ENCODED);
    let mut request = build_request().method(Method::POST).uri(format!("{INVOCATION}/{id}/{}", outcome.name()));
    if let Some(invocation_id) = invocation_id {
        request = request.header(INVOCATION_ID, invocation_id);
    }
    if let Outcome::Error = outcome {
        request = request.header("lambda-runtime-function-error-type", "unhandled");
    }
    let request: Request<Body> = request.body(Body::from(body)).map_err(|error| DeliveryError::Failed(error.into()))?;
    let response = api.call(request).await.map_err(DeliveryError::Failed)?;
    let status = response.status();
    // Read to its end, so that the connection can be used again. What it says besides its status is not needed.
    let _ = response.into_body().collect().await;
    if status.is_success() { Ok(()) } else { Err(DeliveryError::Status(status)) }
}
