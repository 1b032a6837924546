//! The checks of a request, in their order: the first that fails determines the response.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::join;
use lambda_http::http::Response;
use lambda_http::{Adapter, Body, Context, LambdaEvent, Service as _, service_fn};
use serde::Serialize;
use tokio::time::{Instant, timeout};
use tracing::warn;

use crate::body;
use crate::clients::Clients;
use crate::clock::Clock;
use crate::config::Config;
use crate::distributor::Distributor;
use crate::event::{Event, InvalidEvent};
use crate::log::{Entry, Log};
use crate::problem::{Code, Problem};
use crate::request::{self, Request};
use crate::response;
use crate::store::{Call, Store};
use crate::token::Verifier;
use crate::token::key_store::KeyStore;
use crate::update::{Access, Change, Update};
use crate::webhook::HostPolicy;

// A panic costs only its own request, which needs a build that unwinds.
#[cfg(not(panic = "unwind"))]
compile_error!("the profile needs panic = \"unwind\"");

/// The limit for fetching keys and connecting at the start: a little less than the two seconds that one document or one
/// attempt may take, so that what is cut off here counts as not tried and is left to the first request.
const START_BUDGET: Duration = Duration::from_millis(1_950);

/// Time of the invocation that is reserved for returning the response.
const RESPONSE_MARGIN: Duration = Duration::from_millis(300);

/// The longest duration that Lambda allows an invocation. A deadline that was over longer ago is ignored: local tools
/// send such, `cargo lambda watch` among them.
const LONGEST_INVOCATION: Duration = Duration::from_mins(15);

/// The function, ready to be invoked.
pub struct App {
    verifier: Verifier,
    store: Store,
    target_server: String,
    host_policy: HostPolicy,
    log: Log,
    clock: Clock,
    /// Whether a request has been answered.
    answered: AtomicBool,
}

/// An invocation, apart from its event.
pub struct Invocation {
    /// Its id, which the response and the log line carry.
    pub request_id: String,
    /// When Lambda stops waiting, if it said so.
    pub deadline: Option<SystemTime>,
    /// The value of its tracing header, if it is traced.
    pub trace_id: Option<String>,
}

impl Invocation {
    /// Returns the root of the trace, `1-…`, without the other fields of the tracing header.
    fn trace_root(&self) -> Option<&str> {
        let fields = self.trace_id.as_deref()?.split(';').map(str::trim);
        fields.filter_map(|field| field.strip_prefix("Root=")).find(|root| !root.is_empty())
    }

    /// Returns the time that is left at `now` until the response has to be ready.
    fn time_left(&self, now: SystemTime) -> Duration {
        let left = match self.deadline.map(|deadline| deadline.duration_since(now)) {
            Some(Ok(left)) => left,
            Some(Err(over)) if over.duration() <= LONGEST_INVOCATION => Duration::ZERO,
            Some(Err(_)) | None => LONGEST_INVOCATION,
        };
        left.min(LONGEST_INVOCATION).saturating_sub(RESPONSE_MARGIN)
    }
}

impl App {
    /// Makes the function and gets it ready: keys are fetched and the store is called, so that the first request does
    /// not pay for it. What fails is logged and left to the first request.
    pub async fn new(config: Config, clients: Clients, log: Log) -> Self {
        let app = Self {
            verifier: Verifier::new(
                config.token_rules,
                KeyStore::new(config.key_source, &clients.unpooled, &clients.clock),
                clients.clock.clone(),
            ),
            store: Store::new(config.table_name, &clients),
            target_server: config.target_server,
            host_policy: config.host_policy,
            log,
            clock: clients.clock,
            answered: AtomicBool::new(false),
        };
        let keys = app.verifier.keys().prepare(Instant::now() + START_BUDGET);
        let prime = async { if config.prime { timeout(START_BUDGET, app.store.prime()).await } else { Ok(Ok(())) } };
        let (keys, prime) = join(keys, prime).await;
        for error in keys {
            warn!("the keys could not be fetched: {error}");
        }
        let cause = match prime {
            Ok(result) => result.err().map(|error| error.to_string()),
            Err(_) => Some("not done in time".to_owned()),
        };
        if let Some(cause) = cause {
            warn!("the table could not be reached: {cause}");
        }
        app
    }

    /// Handles an event, and returns the response in the form that its front end reads.
    ///
    /// # Errors
    ///
    /// [`InvalidEvent`] if it is not an HTTP event.
    pub async fn invoke(
        &self,
        raw: &[u8],
        invocation: &Invocation,
    ) -> Result<impl Serialize + Send + use<>, InvalidEvent> {
        let received = Instant::now();
        let event =
            Event::parse(raw).inspect_err(|_| self.log.invalid_event(&invocation.request_id, InvalidEvent::MESSAGE))?;
        let handler = service_fn(|_| self.respond(event, invocation, received));
        let request = LambdaEvent::new(response::empty_request(event.front_end), Context::default());
        let Ok(response) = Adapter::from(handler).call(request).await;
        Ok(response)
    }

    /// Waits for background work of an invocation, at most until its deadline. Lambda may freeze the process at the next
    /// poll.
    pub async fn finish_background_work(&self, invocation: &Invocation) {
        let deadline = Instant::now() + invocation.time_left(self.clock.now());
        self.verifier.keys().finish_background_work(deadline).await;
    }

    async fn respond(
        &self,
        event: Event<'_>,
        invocation: &Invocation,
        received: Instant,
    ) -> Result<Response<Body>, Infallible> {
        let mut entry = Entry {
            request_id: invocation.request_id.clone(),
            gateway_request_id: event.gateway_request_id.and_then(request::string).map(Into::into),
            xray_trace_id: invocation.trace_root().map(str::to_owned),
            ..Entry::default()
        };
        let deadline = received + invocation.time_left(self.clock.now());
        let result = AssertUnwindSafe(self.update(event, deadline, &mut entry)).catch_unwind().await;
        let result =
            result.unwrap_or_else(|_| Err(Problem::new(Code::InternalError, "the request could not be handled")));
        let response = match &result {
            Ok(distributor) => response::success(distributor),
            Err(problem) => response::failure(problem, &invocation.request_id),
        };
        let code = result.err().map(|problem| {
            let code = problem.code;
            entry.reason = problem.into_reason().map(Into::into);
            code
        });
        entry.cold_start = !self.answered.swap(true, Ordering::Relaxed);
        self.log.request(&entry, code, received.elapsed());
        Ok(response)
    }

    /// Makes the checks, and carries out the update.
    async fn update(&self, event: Event<'_>, deadline: Instant, entry: &mut Entry) -> Result<Distributor, Problem> {
        let request = Request::new(event)?;
        let segment = request.route()?;
        let token = request.bearer_token()?;
        let access = self.authenticate(token, deadline, entry).await?;
        request.require_target_server(&self.target_server)?;
        let id = *entry.distributor_id.insert(segment.id()?);
        let if_match = request.if_match()?;
        request.require_json()?;
        let change = body::change(&request.body()?, self.host_policy)?;
        entry.operation = Some(operation(&change));
        let call = entry.call.insert(Call::default());
        self.store.update(Update { id, access, if_match, change }, deadline, call).await
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

fn operation(change: &Change) -> &'static str {
    match change {
        Change::Keep => "read",
        Change::Remove => "remove",
        Change::Set(_) => "set",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invocation(deadline: Option<SystemTime>, trace_id: Option<&str>) -> Invocation {
        Invocation { request_id: String::new(), deadline, trace_id: trace_id.map(str::to_owned) }
    }

    #[test]
    fn a_deadline_that_is_missing_or_was_over_long_ago_is_none() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(24);
        let limit = LONGEST_INVOCATION.saturating_sub(RESPONSE_MARGIN);
        for (deadline, expected) in [
            (None, limit),
            (Some(SystemTime::UNIX_EPOCH), limit),
            (Some(now - Duration::from_secs(901)), limit),
            (Some(now - Duration::from_mins(15)), Duration::ZERO),
            (Some(now - Duration::from_millis(1)), Duration::ZERO),
            (Some(now), Duration::ZERO),
            (Some(now + Duration::from_millis(300)), Duration::ZERO),
            (Some(now + Duration::from_millis(301)), Duration::from_millis(1)),
            (Some(now + Duration::from_secs(3)), Duration::from_millis(2_700)),
            (Some(now + Duration::from_mins(15)), limit),
            (Some(now + Duration::from_hours(24)), limit),
            (SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(i64::MAX.unsigned_abs())), limit),
        ] {
            assert_eq!(invocation(deadline, None).time_left(now), expected, "{deadline:?}");
        }
    }

    #[test]
    fn the_root_of_a_trace_is_one_field_of_its_header() {
        for (header, expected) in [
            (
                Some("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"),
                Some("1-5759e988-bd862e3fe1be46a994272793"),
            ),
            (Some("Self=1-a-b; Root=1-c-d"), Some("1-c-d")),
            (Some("Root=1-c-d"), Some("1-c-d")),
            (Some("Root=;Sampled=0"), None),
            (Some("Sampled=0"), None),
            (Some(""), None),
            (None, None),
        ] {
            assert_eq!(invocation(None, header).trace_root(), expected, "{header:?}");
        }
    }
}
