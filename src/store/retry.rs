//! Failed calls: what each failure says of the write, and whether another attempt may help.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_dynamodb::operation::RequestId as _;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use hyper_util::client::legacy;

use crate::error::sources;

/// A failed attempt, without the text of its error: that may contain the whole request.
#[derive(Debug)]
pub struct Failure {
    /// The code of the store's error, or the kind of failure if the store did not respond.
    pub code: String,
    /// The HTTP status, if the store responded.
    pub status: Option<u16>,
    /// The store's id of the request, if it responded.
    pub aws_request_id: Option<String>,
    /// The effect that the attempt may have had.
    pub effect: Effect,
}

/// The effect of a failed attempt on the item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effect {
    /// The store refused it: nothing was written, and the same request would be refused again.
    Refused,
    /// The store did not get to it: nothing was written, and another attempt may succeed.
    NotAttempted,
    /// It may have been written, or may still be, and another attempt may succeed.
    Unknown,
}

impl Failure {
    /// Classifies an error.
    pub fn of(error: &SdkError<UpdateItemError>) -> Self {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let (code, effect) = match error {
            SdkError::ServiceError(context) => {
                let code = context.err().code().unwrap_or("Unknown");
                (code, status.map_or(Effect::Unknown, |status| effect(status, code)))
            }
            SdkError::TimeoutError(_) => ("TimeoutError", Effect::Unknown),
            // The connection broke or could not be made, or there are no credentials.
            SdkError::DispatchFailure(_) if never_connected(error) => ("DispatchFailure", Effect::NotAttempted),
            SdkError::DispatchFailure(_) => ("DispatchFailure", Effect::Unknown),
            SdkError::ResponseError(_) => ("ResponseError", Effect::Unknown),
            _ => ("Unknown", Effect::Refused),
        };
        let aws_request_id = error.request_id().map(str::to_owned);
        Self { code: code.to_owned(), status, aws_request_id, effect }
    }
}

/// Returns what an error response says of the write.
fn effect(status: u16, code: &str) -> Effect {
    /// Throttling and conflicts, which have status 400.
    const NOT_ATTEMPTED: [&str; 13] = [
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

    match status {
        // A success that could not be read is an error here.
        200..=299 | 500.. => Effect::Unknown,
        429 => Effect::NotAttempted,
        _ if NOT_ATTEMPTED.contains(&code) => Effect::NotAttempted,
        _ => Effect::Refused,
    }
}

/// Returns whether no connection could be made, so that the request cannot have reached the store.
fn never_connected(error: &SdkError<UpdateItemError>) -> bool {
    sources(error).any(|source| source.downcast_ref::<legacy::Error>().is_some_and(legacy::Error::is_connect))
}
