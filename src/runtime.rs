//! The loop between Lambda's Runtime API and the function.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use lambda_http::lambda_runtime::{LambdaInvocation, Runtime};
use lambda_http::tower::layer::layer_fn;
use lambda_http::{Error, LambdaEvent, Service, service_fn};
use tokio::task::futures::TaskLocalFuture;
use tokio::task_local;

use crate::handler::{App, Invocation};

task_local! {
    /// The event of the invocation that a task is working on, as it came.
    static EVENT: Bytes;
}

/// Answers invocations, one at a time or as many at once as `AWS_LAMBDA_MAX_CONCURRENCY` says, until the process ends.
///
/// # Errors
///
/// Where the Runtime API cannot be talked to.
pub async fn run(app: App) -> Result<(), Error> {
    let app = Arc::new(app);
    let handler = service_fn(move |invocation: LambdaEvent<()>| {
        let app = Arc::clone(&app);
        async move {
            let event = EVENT.with(Bytes::clone);
            app.invoke(&event, &Invocation::from(&invocation.context)).await
        }
    });
    Runtime::new(handler).layer(layer_fn(AroundDeserializer)).run_concurrent().await
}

/// Carries the event past the runtime's deserializer, which would answer what is no JSON in words of its own, and gives
/// that one `null` to read.
#[derive(Clone)]
struct AroundDeserializer<S>(S);

impl<S: Service<LambdaInvocation>> Service<LambdaInvocation> for AroundDeserializer<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = TaskLocalFuture<Bytes, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut invocation: LambdaInvocation) -> Self::Future {
        let event = std::mem::replace(&mut invocation.body, Bytes::from_static(b"null"));
        EVENT.scope(event, self.0.call(invocation))
    }
}
