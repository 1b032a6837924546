//! Failed calls: the effect that each may have had, and whether another attempt may succeed.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_runtime::retries::classifiers::{THROTTLING_ERRORS, TRANSIENT_ERRORS};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_dynamodb::operation::RequestId as _;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_smithy_runtime_api::client::result::DispatchFailure;
use hyper_util::client::legacy;
use thiserror::Error;

use crate::error::sources;

/// A failed attempt, without the text of its error: that may contain the whole request.
#[derive(Debug, Error)]
#[error("{code}{}", status.map(|status| format!(", status {status}")).unwrap_or_default())]
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
    /// The store did not carry it out: nothing was written, and another attempt may succeed.
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
            SdkError::DispatchFailure(failure) => ("DispatchFailure", dispatch_effect(failure, error)),
            SdkError::ResponseError(_) => ("ResponseError", Effect::Unknown),
            // The request could not be built.
            _ => ("Unknown", Effect::Refused),
        };
        let aws_request_id = error.request_id().map(str::to_owned);
        Self { code: code.to_owned(), status, aws_request_id, effect }
    }
}

/// Returns the effect of an attempt that the store responded to with an error.
fn effect(status: u16, code: &str) -> Effect {
    /// Conflicts with other requests, which the SDK does not retry by itself.
    const CONFLICTS: [&str; 2] = ["ReplicatedWriteConflictException", "TransactionConflictException"];

    match status {
        // A success that could not be read is an error here. A timeout says nothing about what came before it.
        200..=299 | 408 | 500.. => Effect::Unknown,
        _ if TRANSIENT_ERRORS.contains(&code) => Effect::Unknown,
        429 => Effect::NotAttempted,
        _ if THROTTLING_ERRORS.contains(&code) || CONFLICTS.contains(&code) => Effect::NotAttempted,
        _ => Effect::Refused,
    }
}

/// Returns the effect of an attempt without a response.
fn dispatch_effect(failure: &DispatchFailure, error: &SdkError<UpdateItemError>) -> Effect {
    let mut client_errors = sources(error).filter_map(|source| source.downcast_ref::<legacy::Error>());
    match client_errors.next() {
        // No connection could be made, so that the request cannot have reached the store.
        Some(error) if error.is_connect() => Effect::NotAttempted,
        Some(_) => Effect::Unknown,
        None if failure.is_io() || failure.is_timeout() => Effect::Unknown,
        // Without an error of the HTTP client, it was the SDK that failed, before anything was sent.
        None => match sources(error).find_map(<dyn StdError>::downcast_ref) {
            // The endpoint cannot be resolved, or the request cannot be built: another attempt would fail in the same way.
            Some(CredentialsError::InvalidConfiguration(_)) | None => Effect::Refused,
            Some(_) => Effect::NotAttempted,
        },
    }
}
