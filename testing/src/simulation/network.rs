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
use super::plan::{Arrival, Fate, Fault, Received};
use super::store::Reply;
use crate::store::embedded::{ID, NODE};

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
        let planned = attempts.fates.get(attempt).copied();
        let outage = attempts.fates.iter().take(attempt).filter_map(|fate| fate.fault).any(Fault::is_outage);
        let fate = if outage {
            Fate { there: 0, back: 0, fault: Some(Fault::RequestLost) }
        } else {
            planned.unwrap_or(Fate { there: 1, back: 1, fault: None })
        };
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
        let (arrival, received) = fate.fault.map_or((Arrival::Now, Received::Response), Fault::effect);
        let reply = match arrival {
            Arrival::Never => None,
            Arrival::Now => Some(self.arrive()),
            Arrival::Late(delay) => {
                self.arrive_after(milliseconds(delay));
                None
            }
            Arrival::Twice(delay) => {
                self.arrive_after(milliseconds(delay));
                Some(self.arrive())
            }
        };
        let message = Message::new(received, reply.as_ref());
        if let Message::Response(..) = message {
            sleep(milliseconds(fate.back)).await;
        }
        message.deliver().await
    }

    /// Reaches the store.
    fn arrive(&self) -> Reply {
        self.world.update_item(self.request, self.attempt, &self.body)
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

/// What comes back to the function for an attempt.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Message {
    /// Status and body of a response.
    Response(u16, String),
    /// The end of the connection.
    Reset,
    /// Nothing, until the function gives up.
    Nothing,
}

impl Message {
    /// Puts together what is received; `reply` is the store's, if the attempt has reached it.
    pub fn new(received: Received, reply: Option<&Reply>) -> Self {
        match (received, reply) {
            (Received::Reset, _) => Self::Reset,
            (Received::Nothing, _) | (Received::Response | Received::Body(_), None) => Self::Nothing,
            (Received::Error(status, code), _) => Self::Response(
                status,
                json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}")}).to_string(),
            ),
            (Received::Body(body), Some(Reply::Done(_))) => Self::Response(200, body.to_owned()),
            (Received::Response, Some(Reply::Done(item))) => {
                Self::Response(200, json!({ "Attributes": item }).to_string())
            }
            (Received::Response | Received::Body(_), Some(Reply::ConditionFailed(item))) => {
                let mut body = json!({"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"});
                if let Some(item) = item {
                    body["Item"] = item.clone().into();
                }
                Self::Response(400, body.to_string())
            }
        }
    }

    /// The condition did not hold for the caller's item, which is at `version`.
    pub fn overtaken(version: &str) -> Self {
        let item = json!({"id": {"S": ID}, "node_id": {"S": NODE}, "updated_at": {"S": version}});
        let Value::Object(item) = item else { unreachable!("an object") };
        Self::new(Received::Response, Some(&Reply::ConditionFailed(Some(item))))
    }

    /// Is what a connector's call comes to.
    pub async fn deliver(self) -> Result<HttpResponse, ConnectorError> {
        match self {
            Self::Response(status, body) => Ok(response(status, body)),
            Self::Reset => Err(ConnectorError::io("the connection broke".into())),
            Self::Nothing => std::future::pending().await,
        }
    }
}

/// A response as a connector returns it.
pub fn response(status: u16, body: String) -> HttpResponse {
    HttpResponse::new(status.try_into().expect("a status"), SdkBody::from(body))
}
