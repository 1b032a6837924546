//! The one conditional `UpdateItem`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_dynamodb::config::retry::{ClassifyRetry, RetryAction, RetryConfig, RetryPartition, TokenBucket};
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents, StalledStreamProtectionConfig};
use aws_sdk_dynamodb::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::RequestId as _;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemOutput};
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use chrono::{SecondsFormat, Utc};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::body::Change;
use crate::clients::chain;
use crate::distributor::{Attributes, Distributor, EntityTag, StoredMeta, meta_attributes};
use crate::problem::{Code, Problem};
use crate::request::IfMatch;
use crate::token::Scope;

/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// Attempts of one call, the first included.
const MAX_ATTEMPTS: u32 = 3;
/// The wait before the second attempt is random and at most this, before the third at most twice this: short enough
/// that an attempt which hangs leaves time for another.
const BACKOFF: Duration = Duration::from_millis(50);

/// The table of distributors.
pub struct Store {
    client: Client,
    table_name: String,
}

/// One update, as the request asks for it.
pub struct Update {
    /// Which distributor.
    pub id: Uuid,
    /// Whose it must be.
    pub scope: Scope,
    /// At which version it must be.
    pub if_match: IfMatch,
    /// What is done with `meta`.
    pub change: Change,
}

/// What the log says of a call.
#[derive(Debug, Default)]
pub struct Call {
    /// How long it took, retries included.
    pub duration: Duration,
    /// How often the store was asked.
    pub attempts: u32,
    /// Where it failed, the code of the error: the store's own, or the kind of failure.
    pub error_code: Option<String>,
    /// Where it failed and the store had answered, the HTTP status.
    pub error_status: Option<u16>,
    /// Where it failed and the store had answered, its id of the request.
    pub aws_request_id: Option<String>,
}

impl Store {
    /// A client for the table, which says its limits itself: what the environment says of them is not looked at.
    #[must_use]
    pub fn new(table_name: String, sdk: &SdkConfig) -> Self {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build();
        let retries = RetryConfig::standard()
            .with_max_attempts(MAX_ATTEMPTS)
            .with_initial_backoff(BACKOFF)
            .with_max_backoff(BACKOFF * 2);
        let config = aws_sdk_dynamodb::config::Builder::from(sdk)
            .timeout_config(timeouts)
            .retry_config(retries)
            // The timeout of the attempt bounds a body that trickles, too.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // A quota would be used up by an outage and be missing after it.
            .retry_partition(
                RetryPartition::custom("update-distributor").token_bucket(TokenBucket::unlimited()).build(),
            )
            .retry_classifier(RetryUnavailable)
            .build();
        Self { client: Client::from_conf(config), table_name }
    }

    /// Makes the connection ready by a call whose condition can never hold.
    ///
    /// # Errors
    ///
    /// The cause of any failure but that of the condition, which is the success.
    pub async fn prime(&self) -> Result<(), String> {
        let call = self.update_item(Uuid::nil()).return_values(ReturnValue::None);
        let call = call.condition_expression("attribute_exists(id) AND attribute_not_exists(id)");
        match call.send().await {
            Err(error) if !is_condition_failure(&error) => {
                let failure = Failure::of(&error);
                let status = failure.status.map(|status| format!(", status {status}")).unwrap_or_default();
                // Nothing of a caller is in this request, so nothing of one can be in its error.
                Err(format!("{}{status}: {}", failure.code, cause(&error)))
            }
            _ => Ok(()),
        }
    }

    /// Makes the update, unless `deadline` comes first.
    ///
    /// # Errors
    ///
    /// `distributor_not_found`, `precondition_failed`, `store_unavailable`, `internal_error`.
    pub async fn update(&self, update: Update, deadline: Instant, call: &mut Call) -> Result<Distributor, Problem> {
        let started = Instant::now();
        if deadline <= started {
            return Err(out_of_time(call));
        }
        let Update { id, scope, if_match, change } = update;
        let written = Written::new(change);
        let attempts = Arc::new(AtomicU32::new(0));
        let request = self.update_item(id).return_values(ReturnValue::AllNew);
        let request = request.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let request = written.express(condition(request, scope, if_match));
        let sent = request.customize().interceptor(CountAttempts(Arc::clone(&attempts))).send();
        let result = timeout_at(deadline, sent).await;
        call.duration = started.elapsed();
        call.attempts = attempts.load(Ordering::Relaxed);
        match result {
            Ok(Ok(UpdateItemOutput { attributes: Some(item), .. })) => Ok(Distributor::from_item(id, &item)),
            Ok(Ok(_)) => Ok(written.unreturned(id, scope)),
            Ok(Err(error)) if is_condition_failure(&error) => {
                let item = error.into_service_error();
                let UpdateItemError::ConditionalCheckFailedException(failure) = item else { return Err(unavailable()) };
                judge(failure.item(), id, scope, &written, call.attempts)
            }
            Ok(Err(error)) => {
                let failure = Failure::of(&error);
                call.error_code = Some(failure.code.clone());
                call.error_status = failure.status;
                call.aws_request_id = error.request_id().map(str::to_owned);
                if failure.unavailable {
                    Err(unavailable())
                } else {
                    Err(Problem::new(Code::InternalError, "the distributor could not be updated"))
                }
            }
            Err(_) => Err(out_of_time(call)),
        }
    }

    fn update_item(&self, id: Uuid) -> UpdateItemFluentBuilder {
        self.client.update_item().table_name(&self.table_name).key("id", AttributeValue::S(id.to_string()))
    }
}

/// What a call writes, kept to recognise it in an answer.
enum Written {
    Nothing,
    Removed { now: String },
    Set { now: String, meta: Attributes },
}

impl Written {
    fn new(change: Change) -> Self {
        // RFC 3339 in UTC with microseconds: also the version's entity tag.
        let now = || Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
        match change {
            Change::Keep => Self::Nothing,
            Change::Remove => Self::Removed { now: now() },
            Change::Set(meta) => Self::Set { now: now(), meta: meta_attributes(meta) },
        }
    }

    fn express(&self, request: UpdateItemFluentBuilder) -> UpdateItemFluentBuilder {
        match self {
            Self::Nothing => request,
            Self::Removed { now } => request
                .update_expression("SET updated_at = :now REMOVE meta")
                .expression_attribute_values(":now", AttributeValue::S(now.clone())),
            Self::Set { now, meta } => request
                .update_expression("SET meta = :meta, updated_at = :now")
                .expression_attribute_values(":now", AttributeValue::S(now.clone()))
                .expression_attribute_values(":meta", AttributeValue::M(meta.clone())),
        }
    }

    /// Whether this is the item as this call has left it.
    fn made(&self, item: &Attributes) -> bool {
        let is_at = |now: &String| item.get("updated_at").and_then(|at| at.as_s().ok()) == Some(now);
        match self {
            Self::Nothing => false,
            Self::Removed { now } => is_at(now) && !item.contains_key("meta"),
            Self::Set { now, meta } => is_at(now) && item.get("meta").and_then(|meta| meta.as_m().ok()) == Some(meta),
        }
    }

    /// The distributor as far as it is known where the write succeeded and its item was not returned.
    fn unreturned(self, id: Uuid, scope: Scope) -> Distributor {
        let (meta, updated_at) = match self {
            Self::Nothing => (None, None),
            Self::Removed { now } => (None, Some(now)),
            Self::Set { now, meta } => (Some(StoredMeta::from_attributes(&meta)), Some(now)),
        };
        let node_id = match scope {
            Scope::AnyNode => None,
            Scope::Node(node) => Some(node.to_string()),
        };
        Distributor { id, node_id, meta, created_at: None, updated_at }
    }
}

fn condition(mut request: UpdateItemFluentBuilder, scope: Scope, if_match: IfMatch) -> UpdateItemFluentBuilder {
    let mut condition = "attribute_exists(id)".to_owned();
    if let Scope::Node(node) = scope {
        condition.push_str(" AND node_id = :node");
        request = request.expression_attribute_values(":node", AttributeValue::S(node.to_string()));
    }
    match if_match {
        IfMatch::Any => {}
        // Only weak tags: no version matches, and the store has to say whether that is 404 or 412.
        IfMatch::OneOf(tags) if tags.is_empty() => condition.push_str(" AND attribute_not_exists(id)"),
        IfMatch::OneOf(tags) => {
            let names: Vec<_> = (0..tags.len()).map(|index| format!(":tag{index}")).collect();
            condition = format!("{condition} AND updated_at IN ({})", names.join(", "));
            for (name, tag) in names.into_iter().zip(tags) {
                request = request.expression_attribute_values(name, AttributeValue::S(EntityTag::into_opaque(tag)));
            }
        }
    }
    request.condition_expression(condition)
}

/// What it means that the condition failed, told by the item as it was then.
fn judge(
    item: Option<&Attributes>,
    id: Uuid,
    scope: Scope,
    written: &Written,
    attempts: u32,
) -> Result<Distributor, Problem> {
    let not_found = || Problem::new(Code::DistributorNotFound, "the caller has no such distributor");
    let Some(item) = item else {
        return Err(not_found().because("absent"));
    };
    let distributor = Distributor::from_item(id, item);
    if let Scope::Node(node) = scope
        && distributor.node_id != Some(node.to_string())
    {
        return Err(not_found().because("other_node"));
    }
    // The answer to an earlier attempt was lost, and the attempt that was not has found its work. (For a first attempt
    // to find what looks like it, someone else has to have written the same in the same microsecond.)
    if attempts > 1 && written.made(item) {
        return Ok(distributor);
    }
    Err(Problem::precondition_failed(distributor.entity_tag()))
}

fn out_of_time(call: &mut Call) -> Problem {
    call.error_code = Some("DeadlineExceeded".to_owned());
    unavailable()
}

fn unavailable() -> Problem {
    Problem::new(Code::StoreUnavailable, "the store did not answer in time; repeat the request")
}

fn is_condition_failure<R>(error: &SdkError<UpdateItemError, R>) -> bool {
    matches!(error.as_service_error(), Some(UpdateItemError::ConditionalCheckFailedException(_)))
}

/// What kind of failure an error is, with nothing of its text: that may print the whole request.
struct Failure {
    code: String,
    status: Option<u16>,
    unavailable: bool,
}

impl Failure {
    fn of(error: &SdkError<UpdateItemError>) -> Self {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let (code, unavailable) = match error {
            SdkError::ServiceError(error) => {
                let code = error.err().code().unwrap_or("Unknown");
                (code, status.is_some_and(|status| is_unavailable(status, code)))
            }
            SdkError::TimeoutError(_) => ("TimeoutError", true),
            // A connection that broke or could not be made; also credentials that cannot be had.
            SdkError::DispatchFailure(_) => ("DispatchFailure", true),
            SdkError::ResponseError(_) => ("ResponseError", true),
            _ => ("Unknown", false),
        };
        Self { code: code.to_owned(), status, unavailable }
    }
}

fn cause(error: &SdkError<UpdateItemError>) -> String {
    match error {
        SdkError::ServiceError(error) => error.err().message().unwrap_or("no message").to_owned(),
        error => chain(error),
    }
}

/// Whether an answer says that the same request may succeed later.
fn is_unavailable(status: u16, code: &str) -> bool {
    /// Throttling and conflicts that come with status 400.
    const CODES: [&str; 13] = [
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "ReplicatedWriteConflictException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "RequestTimeoutException",
        "Throttling",
        "ThrottledException",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionConflictException",
    ];

    // A success that is an error here is one that could not be read.
    matches!(status, 200..=299 | 429 | 500..) || CODES.contains(&code)
}

/// Retries whatever would otherwise be answered with `store_unavailable`.
#[derive(Debug)]
struct RetryUnavailable;

impl ClassifyRetry for RetryUnavailable {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(Err(error)) = context.output_or_error() else {
            return RetryAction::NoActionIndicated;
        };
        let unavailable = match error.as_operation_error() {
            Some(error) => {
                let code =
                    error.downcast_ref::<UpdateItemError>().and_then(ProvideErrorMetadata::code).unwrap_or_default();
                context.response().is_some_and(|response| is_unavailable(response.status().as_u16(), code))
            }
            // The SDK itself retries timeouts, answers that break off, and connections of which it knows that they broke:
            // here it is every connection that could not be made or used.
            None => error.is_connector_error(),
        };
        if unavailable { RetryAction::transient_error() } else { RetryAction::NoActionIndicated }
    }

    // Read by the SDK's own log only.
    fn name(&self) -> &'static str {
        "unavailable"
    }
}

#[derive(Debug)]
struct CountAttempts(Arc<AtomicU32>);

impl Intercept for CountAttempts {
    // Read by the SDK's own log only.
    fn name(&self) -> &'static str {
        "count attempts"
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
