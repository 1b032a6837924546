//! The one conditional `UpdateItem`, and the protocol that makes its responses true.
//!
//! Every write carries a version, `updated_at`, that must be greater than the stored one. An attempt that arrives late
//! therefore finds an equal or newer version, and its condition fails. `decision` is pure and decides from the returned
//! item; this module makes the calls.

pub mod version;

mod decision;
mod expression;
pub mod failure;
mod item;

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
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;
use uuid::Uuid;

use crate::clients::Clients;
use crate::clock::Clock;
use crate::distributor::Distributor;
use crate::error::chain;
use crate::excerpt::excerpt;
use crate::problem::{Code, Problem};
use crate::update::{Access, Change, Update};
use decision::{Decision, Proposal, decide, unavailable};
use expression::{Expected, with_expressions};
use failure::{Effect, Failure};
use item::Attributes;

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
pub struct StoreCalls {
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
}

/// What is known of the attempts of one request so far.
#[derive(Debug, Default)]
struct Uncertainty {
    /// Whether one that failed may have been carried out, or may still be.
    may_have_arrived: bool,
    /// Whether one had no response. Its connection may have died while the process was frozen, as may others that were
    /// kept then.
    lost_response: bool,
}

/// The failure of the priming call.
#[derive(Debug, Error)]
pub enum PrimeError {
    /// The call failed in another way than by its condition. The second is the text of the error.
    #[error("{0}: {1}")]
    Failed(Failure, String),
    /// The deadline came first.
    #[error("not done in time")]
    TimedOut,
}

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

    /// Opens the connection with a call whose condition never holds; the failed condition is the expected result.
    ///
    /// # Errors
    ///
    /// Any other result, and `deadline`.
    pub async fn prime(&self, deadline: Instant) -> Result<(), PrimeError> {
        let request = || {
            let request = self.update_item(Uuid::nil()).return_values(ReturnValue::None);
            request.condition_expression("attribute_exists(id) AND attribute_not_exists(id)")
        };
        let (mut uncertainty, mut calls) = (Uncertainty::default(), StoreCalls::default());
        match timeout_at(deadline, self.call(request, &mut uncertainty, &mut calls)).await {
            Ok(Err(error)) if !is_condition_failure(&error) => {
                // Nothing of a caller is in this request, so nothing of one can be in its error.
                Err(PrimeError::Failed(Failure::of(&error), excerpt(&cause(&error)).to_owned()))
            }
            Ok(_) => Ok(()),
            Err(_) => Err(PrimeError::TimedOut),
        }
    }

    /// Carries out an update, unless `deadline` comes first. One call does it, except where the stored `updated_at` is not
    /// before the clock's time.
    ///
    /// # Errors
    ///
    /// - `distributor_not_found`: the item does not exist or is another node's.
    /// - `precondition_failed`: `If-Match` does not list the item's version, and its `meta` is not what the update
    ///   asks for.
    /// - `store_unavailable`: whether something was written is unknown, or the store could not be asked.
    /// - `internal_error`: the store refused, and nothing was written.
    pub async fn update(
        &self,
        update: Update,
        deadline: Instant,
        calls: &mut StoreCalls,
    ) -> Result<Distributor, Problem> {
        let started = Instant::now();
        let result =
            if started < deadline { timeout_at(deadline, self.carry_out(update, calls)).await.ok() } else { None };
        calls.duration = started.elapsed();
        result.unwrap_or_else(|| {
            calls.error_code = Some("DeadlineExceeded".to_owned());
            Err(unavailable())
        })
    }

    async fn carry_out(&self, update: Update, calls: &mut StoreCalls) -> Result<Distributor, Problem> {
        let update = update.map(item::meta_attributes);
        let mut proposal = Proposal::first(self.clock.now());
        let mut uncertainty = Uncertainty::default();
        loop {
            let Proposal { expected, version, .. } = &proposal;
            let request = || with_expressions(self.update_item(update.id), &update, expected, version);
            let item = match self.call(request, &mut uncertainty, calls).await {
                Ok(UpdateItemOutput { attributes: Some(item), .. }) if !item.is_empty() => {
                    self.warn_if_far_ahead(update.id, expected);
                    return Ok(item::distributor(update.id, &item));
                }
                // Without an item; every item has a key.
                Ok(_) => return unreturned(&update, proposal.version),
                Err(error) => old_item(&error, &uncertainty, calls)?,
            };
            proposal = match decide(&update, &proposal, uncertainty.may_have_arrived, item.as_ref(), self.clock.now()) {
                Decision::Respond(distributor) => return Ok(distributor),
                Decision::Refuse(problem) => return Err(problem),
                Decision::Retry(proposal) => proposal,
            };
            // The first repetition nearly always succeeds. More are needed only where others write at the same time.
            if proposal.repetitions > 1 && matches!(proposal.expected, Expected::Stored(_)) {
                backoff(1).await;
            }
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
    async fn call(
        &self,
        request: impl Fn() -> UpdateItemFluentBuilder,
        uncertainty: &mut Uncertainty,
        calls: &mut StoreCalls,
    ) -> Result<UpdateItemOutput, SdkError<UpdateItemError>> {
        let mut attempt = 1;
        loop {
            calls.attempts += 1;
            let result = if uncertainty.lost_response || attempt == MAX_ATTEMPTS {
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
                Effect::Unknown => uncertainty.may_have_arrived = true,
            }
            uncertainty.lost_response |= failure.status.is_none();
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
/// The problem of any other error, which is recorded in `calls`.
fn old_item(
    error: &SdkError<UpdateItemError>,
    uncertainty: &Uncertainty,
    calls: &mut StoreCalls,
) -> Result<Option<Attributes>, Problem> {
    if let Some(UpdateItemError::ConditionalCheckFailedException(failed)) = error.as_service_error() {
        return Ok(failed.item().filter(|item| !item.is_empty()).cloned());
    }
    let failure = Failure::of(error);
    calls.error_code = Some(failure.code);
    calls.error_status = failure.status;
    calls.aws_request_id = failure.aws_request_id;
    match failure.effect {
        Effect::Refused if !uncertainty.may_have_arrived => {
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
fn unreturned(update: &Update<Attributes>, version: String) -> Result<Distributor, Problem> {
    let meta = match &update.change {
        Change::Keep => return Err(unavailable()),
        Change::Remove => None,
        Change::Set(meta) => Some(item::meta(meta)),
    };
    let node_id = match update.access {
        Access::AnyNode => None,
        Access::Node(node) => Some(node.to_string()),
    };
    Ok(Distributor { id: update.id, node_id, meta, created_at: None, updated_at: Some(version) })
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
