//! The function: its start, and the checks of a request in their order. The first that fails determines the response.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join;
use lambda_http::lambda_runtime::Diagnostic;
use thiserror::Error;
use tokio::time::Instant;
use tracing::warn;

use crate::body;
use crate::clients::Clients;
use crate::clock::Clock;
use crate::config::Config;
use crate::distributor::Distributor;
use crate::event::{Event, InvalidEvent};
use crate::invocation::Invocation;
use crate::log::{Entry, Log};
use crate::problem::{Code, Problem};
use crate::request::Request;
use crate::response;
use crate::store::{Store, StoreCalls};
use crate::token::Verifier;
use crate::token::fetch::Fetcher;
use crate::update::{Access, Update};
use crate::webhook::HostPolicy;

// A panic must fail only its own request; that requires unwinding.
#[cfg(not(panic = "unwind"))]
compile_error!("the profile needs panic = \"unwind\"");

/// The limit for fetching keys and connecting at the start. Slightly less than the 2 s limit of a document or an attempt,
/// so that running out of it is not recorded as their failure.
const START_BUDGET: Duration = Duration::from_millis(1_950);

/// The reason why an invocation has no response.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum InvocationError {
    /// The event was not sent by an HTTP front end.
    #[error(transparent)]
    InvalidEvent(#[from] InvalidEvent),
    /// The log has the place of the panic.
    #[error("the function panicked")]
    Panicked,
}

impl From<InvocationError> for Diagnostic {
    fn from(error: InvocationError) -> Self {
        let error_type = match error {
            InvocationError::InvalidEvent(_) => "InvalidEvent",
            InvocationError::Panicked => "Panicked",
        };
        Self { error_type: error_type.to_owned(), error_message: error.to_string() }
    }
}

/// The function, ready to be invoked.
pub struct App {
    verifier: Verifier,
    store: Store,
    target_server: String,
    host_policy: HostPolicy,
    log: Log,
    clock: Clock,
    /// Whether the next response is the first of an instance that was made for its request.
    is_cold: AtomicBool,
}

impl App {
    /// Creates the function, fetches the keys and opens the connection to the store. Failures are logged; the first request
    /// tries again.
    pub async fn start(config: Config, clients: Clients, log: Log) -> Self {
        let app = Self {
            verifier: Verifier::new(
                config.token_rules,
                Fetcher { http: clients.unpooled.clone(), clock: clients.clock.clone() },
            ),
            store: Store::new(config.table_name, &clients),
            target_server: config.target_server,
            host_policy: config.host_policy,
            log,
            clock: clients.clock,
            is_cold: AtomicBool::new(config.is_on_demand),
        };
        let deadline = Instant::now() + START_BUDGET;
        let prime = async { if config.prime { app.store.prime(deadline).await } else { Ok(()) } };
        let (keys, prime) = join(app.verifier.prepare(deadline), prime).await;
        for error in keys {
            warn!("the keys could not be fetched: {error}");
        }
        if let Err(error) = prime {
            warn!("the table could not be reached: {error}");
        }
        app
    }

    /// Handles an event, and returns the response as its front end reads it, in JSON.
    ///
    /// # Errors
    ///
    /// [`InvocationError`] if it is not an HTTP event, or if there is no response because of a panic.
    pub async fn invoke(&self, raw: &[u8], invocation: &Invocation) -> Result<Vec<u8>, InvocationError> {
        let response = AssertUnwindSafe(self.respond(raw, invocation)).catch_unwind().await;
        Ok(response.map_err(|_| InvocationError::Panicked)??)
    }

    async fn respond(&self, raw: &[u8], invocation: &Invocation) -> Result<Vec<u8>, InvalidEvent> {
        let received = Instant::now();
        let event = Event::parse(raw).inspect_err(|error| self.log.invalid_event(&invocation.request_id, error))?;
        let mut entry = Entry {
            request_id: invocation.request_id.clone(),
            gateway_request_id: event.gateway_request_id().map(Into::into),
            xray_trace_id: invocation.trace_root.clone(),
            ..Entry::default()
        };
        let deadline = received + invocation.time_left(self.clock.now());
        // Here too, so that a panic in a check has its problem and its line.
        let result = AssertUnwindSafe(self.handle(event, deadline, &mut entry)).catch_unwind().await;
        let result =
            result.unwrap_or_else(|_| Err(Problem::new(Code::InternalError, "the request could not be handled")));
        let (response, code) = match result {
            Ok(distributor) => (response::success(&distributor), None),
            Err(problem) => {
                let response = response::failure(&problem, &invocation.request_id);
                entry.reason = problem.reason.map(Into::into);
                (response, Some(problem.code))
            }
        };
        let response = response::for_front_end(event.front_end, response).await;
        entry.cold_start = self.is_cold.swap(false, Ordering::Relaxed);
        self.log.request(&entry, code, received.elapsed());
        Ok(response)
    }

    /// Waits for background work of an invocation, at most until its deadline. Lambda may freeze the process at the next
    /// poll.
    pub async fn finish_background_work(&self, invocation: &Invocation) {
        let deadline = Instant::now() + invocation.time_left(self.clock.now());
        self.verifier.finish_background_work(deadline).await;
    }

    /// Makes the checks, and carries out the update.
    async fn handle(&self, event: Event<'_>, deadline: Instant, entry: &mut Entry) -> Result<Distributor, Problem> {
        let request = Request::new(event)?;
        let segment = request.route()?;
        let token = request.bearer_token()?;
        let access = self.authenticate(token, deadline, entry).await?;
        request.require_target_server(&self.target_server)?;
        let id = *entry.distributor_id.insert(segment.id()?);
        let if_match = request.if_match()?;
        request.require_json()?;
        let change = body::change(&request.body()?, self.host_policy)?;
        entry.operation = Some(change.name());
        let calls = entry.store_calls.insert(StoreCalls::default());
        self.store.update(Update { id, access, if_match, change }, deadline, calls).await
    }

    async fn authenticate(&self, token: &str, deadline: Instant, entry: &mut Entry) -> Result<Access, Problem> {
        let caller = self.verifier.verify(token, deadline).await?;
        entry.subject = caller.subject().map(str::to_owned);
        let access = caller.authorize()?;
        if let Access::Node(node) = access {
            entry.node_id = Some(node);
        }
        Ok(access)
    }
}
