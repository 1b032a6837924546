//! The network under the SDK: a connector that does to each attempt what is planned for it. There are no sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::World;
use super::plan::{Fate, Fault};
use super::store::Reply;

tokio::task_local! {
    /// The request that a task works on.
    pub static REQUEST: Arc<Attempts>;
}

/// The attempts of a request.
pub struct Attempts {
    /// The number of the request.
    pub request: usize,
    /// What happens to them.
    pub fates: Vec<Fate>,
    /// How many there have been.
    pub count: AtomicUsize,
}

/// The connector of an instance.
#[derive(Debug)]
pub struct Network(pub Arc<World>);

impl HttpConnector for Network {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let attempts = REQUEST.with(Arc::clone);
        let attempt = attempts.count.fetch_add(1, Ordering::Relaxed);
        let fate = attempts.fates.get(attempt).copied().unwrap_or(Fate { there: 1, back: 1, fault: None });
        let call = Call {
            world: Arc::clone(&self.0),
            request: attempts.request,
            attempt: attempt + 1,
            body: serde_json::from_slice(request.body().bytes().expect("a body in memory")).expect("JSON"),
        };
        HttpConnectorFuture::new(call.meet(fate))
    }
}

#[derive(Clone)]
struct Call {
    world: Arc<World>,
    request: usize,
    attempt: usize,
    body: Value,
}

impl Call {
    async fn meet(self, fate: Fate) -> Result<HttpResponse, ConnectorError> {
        let milliseconds = Duration::from_millis;
        if let Some(fault) = fate.fault {
            self.world.fault(format!("request {} attempt {}: {fault:?}", self.request, self.attempt));
        }
        sleep(milliseconds(fate.there)).await;
        let response = match fate.fault {
            None => self.arrive(),
            Some(Fault::RequestLost) => return std::future::pending().await,
            Some(Fault::ResponseLost) => {
                self.arrive();
                return std::future::pending().await;
            }
            Some(Fault::Late(delay)) => {
                self.arrive_after(milliseconds(delay));
                return std::future::pending().await;
            }
            Some(Fault::Duplicate(delay)) => {
                self.arrive_after(milliseconds(delay));
                self.arrive()
            }
            Some(Fault::ResetBefore) => return Err(broken()),
            Some(Fault::ResetAfter) => {
                self.arrive();
                return Err(broken());
            }
            Some(Fault::Throttled) => error(400, "ThrottlingException"),
            Some(Fault::Denied) => error(400, "AccessDeniedException"),
            Some(Fault::ErrorBefore) => error(500, "InternalServerError"),
            Some(Fault::ErrorAfter) => {
                self.arrive();
                error(500, "InternalServerError")
            }
            Some(Fault::Garbage) => {
                self.arrive();
                (200, "garbage".to_owned())
            }
            // Only a success can be empty.
            Some(Fault::Empty) => match self.arrive() {
                (200, _) => (200, "{}".to_owned()),
                failure => failure,
            },
        };
        sleep(milliseconds(fate.back)).await;
        let (status, body) = response;
        Ok(HttpResponse::new(status.try_into().expect("a status"), SdkBody::from(body)))
    }

    /// Reaches the store.
    fn arrive(&self) -> (u16, String) {
        match self.world.update_item(self.request, self.attempt, &self.body) {
            Reply::Done(item) => (200, json!({ "Attributes": item }).to_string()),
            Reply::ConditionFailed(item) => {
                let mut body = json!({"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"});
                if let Some(item) = item {
                    body["Item"] = item.into();
                }
                (400, body.to_string())
            }
        }
    }

    /// Reaches the store later, whoever waits for it.
    fn arrive_after(&self, delay: Duration) {
        let call = self.clone();
        tokio::spawn(async move {
            sleep(delay).await;
            call.arrive();
        });
    }
}

fn broken() -> ConnectorError {
    ConnectorError::io("the connection broke".into())
}

fn error(status: u16, code: &str) -> (u16, String) {
    (status, json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}")}).to_string())
}
