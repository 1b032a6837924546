//! The one conditional `UpdateItem`, and the protocol that makes its responses true.
//!
//! Every write carries a version, `updated_at`, that must be greater than the stored one. So an attempt that arrives
//! late, after the response to its request or without one, finds a version that is not less than its own and changes
//! nothing.
//! Where the stored version is not less than the clock's time, the write is made again as a compare-and-swap on the
//! stored version. See [`Store::update`].

pub mod version;

mod expression;
mod item;
mod retry;

use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{self, StalledStreamProtectionConfig};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemOutput};
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use aws_smithy_runtime_api::client::http::{SharedHttpClient, http_client_fn};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;
use uuid::Uuid;

use crate::clients::Clients;
use crate::clock::Clock;
use crate::distributor::Distributor;
use crate::error::chain;
use crate::problem::{Code, Problem};
use crate::update::{Access, IfMatch, Update};
use expression::{Expected, express};
use item::{Attributes, Edit};
use retry::{Effect, Failure};

/// The limit for one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// Attempts of one call, the first included.
const MAX_ATTEMPTS: u32 = 3;
/// The wait before the second attempt is random and at most this, before the third at most twice this: short enough
/// that an attempt which times out leaves time for another.
const BACKOFF: Duration = Duration::from_millis(50);

/// The table of distributors.
pub struct Store {
    client: Client,
    /// Makes a connection for each attempt.
    unpooled: SharedHttpClient,
    table_name: String,
    clock: Clock,
}

/// The calls of one request, for the log.
#[derive(Debug, Default)]
pub struct Call {
    /// Their duration, retries included.
    pub duration: Duration,
    /// The number of attempts.
    pub attempts: u32,
    /// The code of the error that ended them: the store's own, or the kind of failure.
    pub error_code: Option<String>,
    /// The HTTP status of that error, if the store responded.
    pub error_status: Option<u16>,
    /// The store's id of that request, if it responded.
    pub aws_request_id: Option<String>,
    /// Whether an attempt that failed may have been carried out, or may still be.
    may_have_arrived: bool,
    /// Whether an attempt had no response. Its connection may have died while the process was frozen, as may others that
    /// were kept then.
    lost_response: bool,
}

/// The failure of the priming call.
#[derive(Debug)]
pub struct PrimeError {
    code: String,
    status: Option<u16>,
    cause: String,
}

impl fmt::Display for PrimeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, status, cause } = self;
        match status {
            Some(status) => write!(formatter, "{code}, status {status}: {cause}"),
            None => write!(formatter, "{code}: {cause}"),
        }
    }
}

impl std::error::Error for PrimeError {}

impl Store {
    /// Creates a client for the table. It sets its own timeouts and makes its own attempts; those of the environment
    /// are ignored.
    #[must_use]
    pub fn new(table_name: String, clients: &Clients) -> Self {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build();
        let mut config = config::Builder::from(&clients.sdk);
        // The builder has read AWS_ENDPOINT_URL_DYNAMODB again, and takes an empty one for a URL.
        config.set_endpoint_url(clients.sdk.endpoint_url().map(str::to_owned));
        let config = config
            .timeout_config(timeouts)
            // Retries are made here: what a request may be told depends on how each of its attempts failed. Nor is there
            // a retry quota, which an outage would drain.
            .retry_config(RetryConfig::disabled())
            // The timeout of the attempt also bounds a body that arrives too slowly.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        let unpooled = clients.unpooled.clone();
        Self {
            client: Client::from_conf(config),
            unpooled: http_client_fn(move |_, _| unpooled.clone()),
            table_name,
            clock: clients.clock.clone(),
        }
    }

    /// Opens the connection by a call whose condition can never hold. Its failure is the success.
    ///
    /// # Errors
    ///
    /// Any other failure.
    pub async fn prime(&self) -> Result<(), PrimeError> {
        let request = || {
            let request = self.update_item(Uuid::nil()).return_values(ReturnValue::None);
            request.condition_expression("attribute_exists(id) AND attribute_not_exists(id)")
        };
        match self.attempt(request, &mut Call::default()).await {
            Err(error) if !is_condition_failure(&error) => {
                let Failure { code, status, .. } = Failure::of(&error);
                // Nothing of a caller is in this request, so nothing of one can be in its error.
                Err(PrimeError { code, status, cause: cause(&error) })
            }
            _ => Ok(()),
        }
    }

    /// Carries out an update, unless `deadline` comes first.
    ///
    /// One call does it, except where the stored `updated_at` is not before the clock's time, because the clock is
    /// behind, two writes share a microsecond, or another program wrote something else there. Then the write is made
    /// again on the condition that the item is still at the stored version, with the first version after that or,
    /// where the stored one is not in our form, with the clock's time, until it succeeds or is refused for another
    /// reason. Where that fails because others write at the same time, and the clock is not behind, the write is made
    /// again with the clock's time, so that it does not lose against each of them.
    ///
    /// # Errors
    ///
    /// - `distributor_not_found`: the item does not exist or is another node's.
    /// - `precondition_failed`: the item is at no version that `If-Match` allows, and its `meta` is not what the update
    ///   asks for.
    /// - `store_unavailable`: whether something was written is unknown, or the store could not be asked.
    /// - `internal_error`: the store refused, and nothing was written.
    pub async fn update(&self, update: Update, deadline: Instant, call: &mut Call) -> Result<Distributor, Problem> {
        let started = Instant::now();
        let result =
            if started < deadline { timeout_at(deadline, self.carry_out(update, call)).await.ok() } else { None };
        call.duration = started.elapsed();
        result.unwrap_or_else(|| {
            call.error_code = Some("DeadlineExceeded".to_owned());
            Err(unavailable())
        })
    }

    async fn carry_out(&self, update: Update, call: &mut Call) -> Result<Distributor, Problem> {
        let Update { id, access, if_match, change } = update;
        let edit = Edit::from(change);
        let mut expected = Expected::Requested;
        let mut version = version::at(self.clock.now());
        let mut repetitions = 0;
        loop {
            let request = || express(self.update_item(id), access, &if_match, &edit, &expected, &version);
            let item = match self.attempt(request, call).await {
                Ok(UpdateItemOutput { attributes: Some(item), .. }) if !item.is_empty() => {
                    self.warn_if_far_ahead(id, &expected);
                    return Ok(item::distributor(id, &item));
                }
                // Without an item; every item has a key.
                Ok(_) => return unreturned(id, access, &edit, version),
                Err(error) => old_item(error, call)?,
            };
            let Some(item) = item else {
                return Err(not_found().because("absent"));
            };
            if let Access::Node(node) = access
                && item::string(&item, "node_id") != Some(&node.to_string())
            {
                return Err(not_found().because("other_node"));
            }
            let stored = item::string(&item, "updated_at");
            let is_applied = edit.is_applied_to(&item);
            if !if_match.allows(stored) {
                let distributor = item::distributor(id, &item);
                // RFC 9110, 13.1.1: the change has been made already, by an earlier attempt, by this request when it was
                // sent before, or by another that asked for the same.
                return if is_applied { Ok(distributor) } else { Err(precondition_failed(&distributor)) };
            }
            // The response to an earlier attempt was lost, and this one has found what that has written. (With tags, a
            // version that they allow was there before.)
            if if_match == IfMatch::Any && call.may_have_arrived && is_applied && stored == Some(&version) {
                return Ok(item::distributor(id, &item));
            }
            if matches!(edit, Edit::Nothing) {
                // All of its condition holds for the item that the store returned: a contradiction.
                return Err(unavailable());
            }
            (expected, version) = self.next(stored, repetitions);
            // The first repetition nearly always succeeds. More are needed only where others write at the same time.
            if repetitions > 0 && matches!(expected, Expected::Stored(_)) {
                backoff(1).await;
            }
            repetitions += 1;
        }
    }

    /// Returns the condition and the version with which to write over the stored version, after so many repetitions.
    fn next(&self, stored: Option<&str>, repetitions: u32) -> (Expected, String) {
        let now = version::at(self.clock.now());
        match stored.map(|stored| (stored, version::after(stored))) {
            None => (Expected::Requested, now),
            Some((stored, None)) => (Expected::Stored(stored.to_owned()), now),
            // Others write so often that the stored version has changed again each time. The clock is not behind, so a
            // later time takes precedence over all that were stamped before.
            Some((stored, Some(_))) if repetitions > 0 && *now > *stored => (Expected::Requested, now),
            Some((stored, Some(after))) => (Expected::Stored(stored.to_owned()), after),
        }
    }

    fn warn_if_far_ahead(&self, id: Uuid, expected: &Expected) {
        if let Expected::Stored(stored) = expected
            && version::is_far_ahead(stored, self.clock.now())
        {
            warn!("distributor {id} was written although its updated_at, {stored}, was more than a day in the future");
        }
    }

    /// Makes a call, with up to three attempts. Once one of the request had no response, each makes a connection of its
    /// own, and so does the last attempt.
    async fn attempt(
        &self,
        request: impl Fn() -> UpdateItemFluentBuilder,
        call: &mut Call,
    ) -> Result<UpdateItemOutput, SdkError<UpdateItemError>> {
        let mut attempt = 1;
        loop {
            call.attempts += 1;
            let result = if call.lost_response || attempt == MAX_ATTEMPTS {
                let unpooled = config::Builder::new().http_client(self.unpooled.clone());
                request().customize().config_override(unpooled).send().await
            } else {
                request().send().await
            };
            let Err(error) = &result else { return result };
            if attempt == MAX_ATTEMPTS || is_condition_failure(error) {
                return result;
            }
            let failure = Failure::of(error);
            match failure.effect {
                Effect::Refused => return result,
                Effect::NotAttempted => {}
                Effect::Unknown => call.may_have_arrived = true,
            }
            call.lost_response |= failure.status.is_none();
            backoff(attempt).await;
            attempt += 1;
        }
    }

    fn update_item(&self, id: Uuid) -> UpdateItemFluentBuilder {
        self.client.update_item().table_name(&self.table_name).key("id", AttributeValue::S(id.to_string()))
    }
}

async fn backoff(attempt: u32) {
    sleep(BACKOFF.mul_f64(f64::from(attempt) * fastrand::f64())).await;
}

/// Returns the item, if there is one, for which the condition of a call did not hold.
///
/// # Errors
///
/// The problem of any other error, which is recorded in `call`.
fn old_item(error: SdkError<UpdateItemError>, call: &mut Call) -> Result<Option<Attributes>, Problem> {
    let failure = Failure::of(&error);
    if let SdkError::ServiceError(context) = error
        && let UpdateItemError::ConditionalCheckFailedException(mut failed) = context.into_err()
    {
        return Ok(failed.item.take().filter(|item| !item.is_empty()));
    }
    let may_have_arrived = call.may_have_arrived;
    call.error_code = Some(failure.code);
    call.error_status = failure.status;
    call.aws_request_id = failure.aws_request_id;
    match failure.effect {
        Effect::Refused if !may_have_arrived => {
            Err(Problem::new(Code::InternalError, "the distributor could not be updated"))
        }
        Effect::Refused | Effect::NotAttempted | Effect::Unknown => Err(unavailable()),
    }
}

/// Returns what is known of the distributor after a success whose item the store did not return.
///
/// # Errors
///
/// `store_unavailable` for a read: nothing was seen.
fn unreturned(id: Uuid, access: Access, edit: &Edit, version: String) -> Result<Distributor, Problem> {
    let meta = match edit {
        Edit::Nothing => return Err(unavailable()),
        Edit::Remove => None,
        Edit::Set(meta) => Some(item::meta(meta)),
    };
    let node_id = match access {
        Access::AnyNode => None,
        Access::Node(node) => Some(node.to_string()),
    };
    Ok(Distributor { id, node_id, meta, created_at: None, updated_at: Some(version) })
}

fn not_found() -> Problem {
    Problem::new(Code::DistributorNotFound, "the caller has no such distributor")
}

fn precondition_failed(distributor: &Distributor) -> Problem {
    Problem::precondition_failed(distributor.entity_tag())
}

fn unavailable() -> Problem {
    Problem::new(Code::StoreUnavailable, "the store did not respond in time; repeat the request")
}

fn is_condition_failure(error: &SdkError<UpdateItemError>) -> bool {
    matches!(error.as_service_error(), Some(UpdateItemError::ConditionalCheckFailedException(_)))
}

/// Returns the text of an error whose request has nothing of a caller in it.
fn cause(error: &SdkError<UpdateItemError>) -> String {
    match error {
        SdkError::ServiceError(context) => context.err().message().unwrap_or("no message").to_owned(),
        error => chain(error),
    }
}
