//! The loop between Lambda's Runtime API and the function.
//!
//! It takes the place of `lambda_runtime::Runtime`, which parses every header of an invocation before it hands on the
//! event:
//!
//! - a client context with a value that is not a string, a Cognito identity of `{}` or an unreadable deadline ends its
//!   process, or one of its workers;
//! - a missing deadline or id panics;
//! - with several workers it polls a Runtime API that is gone for ever, in a busy loop.
//!
//! Here the headers that the function does not need are not read, and the others may have any form.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use lambda_http::http::header::{HeaderMap, HeaderValue};
use lambda_http::http::request::Builder;
use lambda_http::http::{Method, Response, StatusCode, Uri};
use lambda_http::lambda_runtime::Diagnostic;
use lambda_runtime_api_client::body::Body;
use lambda_runtime_api_client::{BoxError, PooledClient, build_request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use thiserror::Error;
use tokio::task::JoinSet;
use tracing::error;

use crate::error::{chain, sources};
use crate::handler::App;
use crate::invocation::{Invocation, REQUEST_ID};

/// The version of the Runtime API.
const INVOCATION: &str = "/2018-06-01/runtime/invocation";

/// Sent back with the response, so that Lambda can tell a stale one.
const INVOCATION_ID: &str = "lambda-runtime-invocation-id";

/// The characters of a request id that a path must have encoded. Lambda's ids are UUIDs, but that is not promised.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Polls in a row that may fail before the loop ends, so that it cannot become a busy one. Arbitrary.
const MAX_FAILED_POLLS: u32 = 16;

/// The reason why a call of the Runtime API failed.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// No connection could be made.
    #[error("the Runtime API is out of reach: {}", chain(&**.0))]
    Unreachable(BoxError),
    /// A new connection was closed before the response.
    #[error("the Runtime API does not respond: {}", chain(&**.0))]
    Closed(BoxError),
    /// The response is not HTTP, has more than 100 headers, or is cut.
    #[error("the Runtime API's response cannot be read: {}", chain(&**.0))]
    Unreadable(BoxError),
    /// The response has this status.
    #[error("the Runtime API's response has status {0}")]
    Status(StatusCode),
    /// A worker panicked. The log has the place.
    #[error("a worker panicked")]
    Panicked,
}

impl RuntimeError {
    /// Classifies the error of a call without a response.
    fn of(error: BoxError) -> Self {
        let any = |holds: fn(&(dyn Error + 'static)) -> bool| sources(&*error).any(holds);
        // The response is not one of HTTP, or has too many headers.
        if any(|source| source.downcast_ref().is_some_and(hyper::Error::is_parse)) {
            Self::Unreadable(error)
        } else if any(|source| source.downcast_ref().is_some_and(legacy::Error::is_connect)) {
            Self::Unreachable(error)
        } else {
            Self::Closed(error)
        }
    }
}

/// Serves invocations from the Runtime API at `endpoint`, `concurrency` at once.
///
/// # Errors
///
/// The first error of any worker: without a Runtime API there is nothing left to do.
pub async fn run(app: App, endpoint: Uri, concurrency: usize) -> Result<Infallible, RuntimeError> {
    let client = |pool_size| PooledClient::builder().with_endpoint(endpoint.clone()).with_pool_size(pool_size).build();
    let api = Arc::new(RuntimeApi { pooled: client(concurrency), unpooled: client(0) });
    let app = Arc::new(app);
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

async fn serve(api: &RuntimeApi, app: &App) -> Result<Infallible, RuntimeError> {
    let mut failed_polls = 0;
    loop {
        let next = match api.next().await {
            Err(error @ (RuntimeError::Unreadable(_) | RuntimeError::Closed(_))) if failed_polls < MAX_FAILED_POLLS => {
                // A poll can be closed after a long wait, as when the process was frozen. It had no invocation.
                if let RuntimeError::Unreadable(_) = error {
                    error!("an invocation was lost: {error}");
                }
                failed_polls += 1;
                continue;
            }
            next => next?,
        };
        failed_polls = 0;
        let Some((headers, event)) = next else { continue };
        let Some((id, invocation)) = headers.get(REQUEST_ID).zip(Invocation::from_headers(&headers)) else {
            error!("an invocation without {REQUEST_ID} was dropped: there is no way to respond to it");
            continue;
        };
        let (outcome, body) = match app.invoke(&event, &invocation).await {
            Ok(response) => (Outcome::Response, response),
            // Strings: serialization cannot fail.
            Err(error) => (Outcome::Error, serde_json::to_vec(&Diagnostic::from(error)).unwrap_or_default()),
        };
        if let Err(error) = api.post(id, headers.get(INVOCATION_ID), outcome, body.into()).await {
            error!("the {} could not be delivered: {error}", outcome.name());
        }
        app.finish_background_work(&invocation).await;
    }
}

/// The outcome of an invocation, as reported to the Runtime API.
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

/// The clients of the Runtime API.
struct RuntimeApi {
    pooled: PooledClient,
    /// Makes a connection for each request.
    unpooled: PooledClient,
}

impl RuntimeApi {
    /// Waits for the next invocation. Returns `None` for 204, with which local tools end a long poll.
    async fn next(&self) -> Result<Option<(HeaderMap, Bytes)>, RuntimeError> {
        let request = || build_request().method(Method::GET).uri(format!("{INVOCATION}/next"));
        let (parts, body) = self.call(request, &Bytes::new()).await?.into_parts();
        match parts.status {
            StatusCode::OK => {
                let event = body.collect().await.map_err(|error| RuntimeError::Unreadable(error.into()))?.to_bytes();
                Ok(Some((parts.headers, event)))
            }
            StatusCode::NO_CONTENT => Ok(None),
            status => Err(RuntimeError::Status(status)),
        }
    }

    /// Posts the outcome of an invocation.
    async fn post(
        &self,
        id: &HeaderValue,
        invocation_id: Option<&HeaderValue>,
        outcome: Outcome,
        body: Bytes,
    ) -> Result<(), RuntimeError> {
        let id = percent_encode(id.as_bytes(), ENCODED);
        let request = || {
            let mut request = build_request().method(Method::POST).uri(format!("{INVOCATION}/{id}/{}", outcome.name()));
            if let Some(invocation_id) = invocation_id {
                request = request.header(INVOCATION_ID, invocation_id);
            }
            if let Outcome::Error = outcome {
                request = request.header("lambda-runtime-function-error-type", "unhandled");
            }
            request
        };
        let response = self.call(request, &body).await?;
        let status = response.status();
        // Read to its end, so that the connection can be used again.
        let _ = response.into_body().collect().await;
        if status.is_success() { Ok(()) } else { Err(RuntimeError::Status(status)) }
    }

    /// Sends a request. A connection that was kept may have been closed, so it is sent once more on a new one.
    async fn call(&self, request: impl Fn() -> Builder, body: &Bytes) -> Result<Response<Incoming>, RuntimeError> {
        let request =
            || request().body(Body::from(body.clone())).map_err(|error| RuntimeError::Unreachable(error.into()));
        match self.pooled.call(request()?).await.map_err(RuntimeError::of) {
            Err(RuntimeError::Unreachable(_) | RuntimeError::Closed(_)) => {
                self.unpooled.call(request()?).await.map_err(RuntimeError::of)
            }
            result => result,
        }
    }
}
