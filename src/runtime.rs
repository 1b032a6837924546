//! The loop between Lambda's Runtime API and the function.
//!
//! It takes the place of `lambda_runtime::Runtime`, which parses every header of an invocation before it hands on the
//! event:
//!
//! - a client context with a value that is not a string, a Cognito identity of `{}` or an unreadable deadline ends its
//!   process, or one of its workers;
//! - a missing deadline or id panics;
//! - with several workers it polls an unreachable Runtime API in a busy loop, forever.
//!
//! This loop reads four headers and accepts any value in each.

use std::error::Error;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::FutureExt as _;
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
#[cfg(unix)]
use tokio::signal::unix;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{error, info};

use crate::error::{chain, sources};
use crate::handler::App;
use crate::invocation::{Invocation, REQUEST_ID, RESPONSE_MARGIN};

/// The version of the Runtime API.
const INVOCATION: &str = "/2018-06-01/runtime/invocation";

/// Sent back with the response, so that Lambda can tell a stale one.
const INVOCATION_ID: &str = "lambda-runtime-invocation-id";

/// The characters of a request id that a path must have encoded. Lambda's ids are UUIDs, but that is not promised.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Calls in a row whose connection may be closed, or whose response may be cut, before a worker gives up. Arbitrary; without
/// a limit, it would call an unreachable Runtime API in a busy loop.
const MAX_FAILURES: u32 = 16;

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
    /// The invocation's deadline came before the response, and the process is to end.
    #[error("the Runtime API does not respond in time")]
    TimedOut,
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

/// Serves invocations from the Runtime API at `endpoint`, `concurrency` at once, until `terminated` is ready or the Runtime
/// API fails. Then no worker polls again, and the invocations at work are responded to before this returns.
///
/// # Errors
///
/// The first error of any worker: without a Runtime API there is nothing left to do.
pub async fn run(
    app: App,
    endpoint: Uri,
    concurrency: usize,
    terminated: impl Future<Output = ()>,
) -> Result<(), RuntimeError> {
    let client = |pool_size| PooledClient::builder().with_endpoint(endpoint.clone()).with_pool_size(pool_size).build();
    let api = Arc::new(RuntimeApi { pooled: client(concurrency), unpooled: client(0) });
    let app = Arc::new(app);
    let (stop, stopping) = watch::channel(false);
    let mut workers = JoinSet::new();
    for _ in 0..concurrency {
        let (api, app, stopping) = (Arc::clone(&api), Arc::clone(&app), stopping.clone());
        workers.spawn(async move { serve(&api, &app, stopping).await });
    }
    let result = tokio::select! {
        worker = workers.join_next() => match worker {
            Some(Ok(result)) => result,
            Some(Err(_)) | None => Err(RuntimeError::Panicked),
        },
        () = terminated => Ok(()),
    };
    stop.send_replace(true);
    // Each ends within the deadline of its invocation.
    while workers.join_next().await.is_some() {}
    result
}

/// Returns a future that is ready when the process receives SIGTERM, which from now on does nothing else.
///
/// # Errors
///
/// The operating system does not allow it.
pub fn sigterm() -> io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    {
        let mut signal = unix::signal(unix::SignalKind::terminate())?;
        Ok(async move {
            signal.recv().await;
            info!("SIGTERM: the function takes no more invocations and ends");
        })
    }
    // Other systems do not have this signal.
    #[cfg(not(unix))]
    Ok(std::future::pending())
}

async fn serve(api: &RuntimeApi, app: &App, mut stopping: watch::Receiver<bool>) -> Result<(), RuntimeError> {
    let mut failures = 0;
    while !*stopping.borrow() {
        let response = tokio::select! {
            // In this order, so that an invocation that has arrived is not given up.
            biased;
            response = api.poll(failures > 0) => response,
            _ = stopping.wait_for(|stopping| *stopping) => break,
        };
        let next = match response {
            Ok(response) => RuntimeApi::next(response).await,
            Err(error) => Err(error),
        };
        match next {
            Ok(next) => {
                failures = 0;
                if let Some((headers, event)) = next {
                    let responding = respond(api, app, &headers, &event, &mut stopping);
                    // A panic has its line, and must fail only its own invocation.
                    let _ = AssertUnwindSafe(responding).catch_unwind().await;
                }
            }
            // A poll can be closed after a long wait, as when the process was frozen. It had no invocation.
            Err(error @ (RuntimeError::Unreadable(_) | RuntimeError::Closed(_))) => {
                failures += 1;
                if failures == MAX_FAILURES {
                    return Err(error);
                }
                if let RuntimeError::Unreadable(_) = error {
                    error!("an invocation was lost: {error}");
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Responds to one invocation, and does what it leaves to be done before the next poll.
async fn respond(api: &RuntimeApi, app: &App, headers: &HeaderMap, event: &[u8], stopping: &mut watch::Receiver<bool>) {
    let Some((id, invocation)) = headers.get(REQUEST_ID).zip(Invocation::from_headers(headers)) else {
        error!("an invocation without {REQUEST_ID} was dropped: there is no way to respond to it");
        return;
    };
    let (outcome, body) = match app.invoke(event, &invocation).await {
        Ok(response) => (Outcome::Response, response),
        // Strings: serialization cannot fail.
        Err(error) => (Outcome::Error, serde_json::to_vec(&Diagnostic::from(error)).unwrap_or_default()),
    };
    // Without a timer, which each request would pay for, unless the process waits for this to end.
    let too_late = async {
        let _ = stopping.wait_for(|stopping| *stopping).await;
        sleep(invocation.time_left(SystemTime::now()) + RESPONSE_MARGIN).await;
    };
    let posted = tokio::select! {
        posted = api.post(id, headers.get(INVOCATION_ID), outcome, body.into()) => posted,
        () = too_late => Err(RuntimeError::TimedOut),
    };
    if let Err(error) = posted {
        error!("the {} could not be delivered: {error}", outcome.name());
    }
    tokio::select! {
        () = app.finish_background_work(&invocation) => {}
        // There is no next request that would need it.
        _ = stopping.wait_for(|stopping| *stopping) => {}
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
    /// Waits for the next invocation, of which the response has the headers. `is_repeated` says that the last poll failed: a
    /// connection that was kept may have been closed, so a new one is made.
    async fn poll(&self, is_repeated: bool) -> Result<Response<Incoming>, RuntimeError> {
        let client = if is_repeated { &self.unpooled } else { &self.pooled };
        let request = build_request().method(Method::GET).uri(format!("{INVOCATION}/next"));
        call(client, request, &Bytes::new()).await
    }

    /// Reads an invocation. Returns `None` for 204, with which local tools end a long poll.
    async fn next(response: Response<Incoming>) -> Result<Option<(HeaderMap, Bytes)>, RuntimeError> {
        let (parts, body) = response.into_parts();
        match parts.status {
            StatusCode::OK => {
                let event = body.collect().await.map_err(|error| RuntimeError::Unreadable(error.into()))?.to_bytes();
                Ok(Some((parts.headers, event)))
            }
            StatusCode::NO_CONTENT => Ok(None),
            status => Err(RuntimeError::Status(status)),
        }
    }

    /// Posts the outcome of an invocation. A connection that was kept may have been closed, and so may the next.
    async fn post(
        &self,
        id: &HeaderValue,
        invocation_id: Option<&HeaderValue>,
        outcome: Outcome,
        body: Bytes,
    ) -> Result<(), RuntimeError> {
        let id = percent_encode(id.as_bytes(), ENCODED);
        let mut failures = 0;
        let response = loop {
            let mut request = build_request().method(Method::POST).uri(format!("{INVOCATION}/{id}/{}", outcome.name()));
            if let Some(invocation_id) = invocation_id {
                request = request.header(INVOCATION_ID, invocation_id);
            }
            if let Outcome::Error = outcome {
                request = request.header("lambda-runtime-function-error-type", "unhandled");
            }
            let client = if failures > 0 { &self.unpooled } else { &self.pooled };
            match call(client, request, &body).await {
                Err(RuntimeError::Closed(_)) if failures + 1 < MAX_FAILURES => failures += 1,
                result => break result?,
            }
        };
        let status = response.status();
        // Read to its end, so that the connection can be used again.
        let _ = response.into_body().collect().await;
        if status.is_success() { Ok(()) } else { Err(RuntimeError::Status(status)) }
    }
}

async fn call(client: &PooledClient, request: Builder, body: &Bytes) -> Result<Response<Incoming>, RuntimeError> {
    let request = request.body(Body::from(body.clone())).map_err(|error| RuntimeError::Unreachable(error.into()))?;
    client.call(request).await.map_err(RuntimeError::of)
}
