//! The real handler in this process, against an embedded store of its own.

use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::config::{ProvideCredentials, SharedCredentialsProvider};
use serde_json::Value;
use tokio::net::TcpListener;
use update_distributor::clients::Clients;
use update_distributor::handler::{App, InvocationError};
use update_distributor::invocation::Invocation;
use update_distributor::log::Level;

use crate::issuer::{self, Issuer};
use crate::lambda::captured_log::CapturedLog;
use crate::lambda::request::{FrontEnd, Request, Response};
use crate::store::embedded::{self, Embedded, ID, Item, NODE};

pub struct Function {
    pub app: App,
    pub store: Embedded,
    pub issuer: Issuer,
    /// A token of the issuer for the documented distributor's node.
    pub token: String,
    log: CapturedLog,
}

impl Function {
    pub async fn new() -> Self {
        Self::with_settings(&[]).await
    }

    /// With settings besides the usual ones; an empty one takes a usual one away.
    pub async fn with_settings(settings: &[(&str, &str)]) -> Self {
        let store = embedded().await;
        let endpoint = store.endpoint();
        Self::at_endpoint(store, &endpoint, settings).await
    }

    /// With a store that the function reaches at another address.
    pub async fn at_endpoint(store: Embedded, endpoint: &str, settings: &[(&str, &str)]) -> Self {
        Self::with_clients(store, embedded::clients(endpoint).await, settings).await
    }

    /// With credentials from elsewhere.
    pub async fn with_credentials(credentials: impl ProvideCredentials + 'static) -> Self {
        let store = embedded().await;
        let clients = embedded::clients(&store.endpoint()).await;
        let credentials = SharedCredentialsProvider::new(credentials);
        let sdk = clients.sdk.into_builder().credentials_provider(credentials).build();
        Self::with_clients(store, Clients { sdk, ..clients }, &[]).await
    }

    pub async fn with_clients(store: Embedded, clients: Clients, settings: &[(&str, &str)]) -> Self {
        let issuer = Issuer::new("first");
        let log = CapturedLog::default();
        let app = super::start(clients, &issuer.jwks(), settings, log.at(Level::Info)).await;
        let token = issuer.sign(&issuer::claims(NODE, 600));
        Self { app, store, issuer, token, log }
    }

    pub fn put(&self, body: &str) -> Request {
        Request::put(&self.token, body)
    }

    pub async fn call(&self, request: &Request) -> Response {
        self.send(&request.event(FrontEnd::HttpApi)).await
    }

    pub async fn send(&self, event: &Value) -> Response {
        self.raw(event.to_string().as_bytes()).await.expect("an HTTP event")
    }

    pub async fn raw(&self, event: &[u8]) -> Result<Response, InvocationError> {
        self.within(event, Duration::from_secs(30)).await
    }

    /// Sends an event with so much time left.
    pub async fn within(&self, event: &[u8], left: Duration) -> Result<Response, InvocationError> {
        self.until(event, Some(SystemTime::now() + left)).await
    }

    /// Sends an event with this deadline.
    pub async fn until(&self, event: &[u8], deadline: Option<SystemTime>) -> Result<Response, InvocationError> {
        let invocation = Invocation { request_id: "invocation-id".to_owned(), deadline, trace_root: None };
        let response = self.app.invoke(event, &invocation).await?;
        Ok(Response::read(&serde_json::from_slice(&response).expect("a response is JSON")))
    }

    /// The lines of the log.
    pub fn lines(&self) -> Vec<Value> {
        let lines = self.log.0.lock().unwrap();
        let lines = std::str::from_utf8(&lines).unwrap().lines();
        lines.map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
    }

    /// The last line of the log.
    pub fn last_line(&self) -> Value {
        let lines = self.log.0.lock().unwrap();
        let line = std::str::from_utf8(&lines).unwrap().lines().next_back().expect("a line was logged");
        serde_json::from_str(line).expect("a line is JSON")
    }

    /// The documented distributor as it is stored.
    pub fn item(&self) -> Option<Item> {
        self.store.item(ID)
    }
}

/// An embedded store with the documented distributor.
pub async fn embedded() -> Embedded {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
    let store = Embedded::serve(listener);
    store.put(embedded::documented_item());
    store
}
