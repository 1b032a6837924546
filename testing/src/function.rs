//! The real handler in this process, against an embedded store of its own.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::config::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;
use tokio::net::TcpListener;
use update_distributor::clients::Clients;
use update_distributor::config::Config;
use update_distributor::event::InvalidEvent;
use update_distributor::handler::{App, Invocation};
use update_distributor::log::{Level, Log, Writer};

use crate::embedded::{self, Embedded, ID, Item, NODE, TABLE};
use crate::issuer::{self, AUDIENCE, ISSUER, Issuer};
use crate::lines::Lines;
use crate::request::{FrontEnd, Request, Response};

pub struct Function {
    pub app: App,
    pub store: Embedded,
    pub issuer: Issuer,
    /// A token of the issuer for the documented distributor's node.
    pub token: String,
    log: Lines,
}

impl Function {
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With settings besides the usual ones; an empty one takes a usual one away.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        let store = embedded().await;
        let endpoint = store.endpoint();
        Self::behind(store, &endpoint, settings).await
    }

    /// With a store that the function reaches at another address.
    pub async fn behind(store: Embedded, endpoint: &str, settings: &[(&str, &str)]) -> Self {
        Self::through(store, embedded::clients(endpoint).await, settings).await
    }

    /// With credentials from elsewhere.
    pub async fn with_credentials(credentials: impl ProvideCredentials + 'static) -> Self {
        let store = embedded().await;
        let clients = embedded::clients(&store.endpoint()).await;
        let credentials = SharedCredentialsProvider::new(credentials);
        let sdk = clients.sdk.into_builder().credentials_provider(credentials).build();
        Self::through(store, Clients { sdk, ..clients }, &[]).await
    }

    pub async fn through(store: Embedded, clients: Clients, settings: &[(&str, &str)]) -> Self {
        let issuer = Issuer::new("first");
        let jwks = issuer.jwks();
        let usual = [
            ("TABLE_NAME", TABLE),
            ("TOKEN_ISSUER", ISSUER),
            ("TOKEN_AUDIENCE", AUDIENCE),
            ("TOKEN_JWKS", &jwks),
            ("AWS_REGION", "eu-central-1"),
            ("PRIME", "false"),
        ];
        let config = Config::from_env(|name| {
            let set = settings.iter().chain(&usual).find(|(variable, _)| *variable == name);
            set.map(|(_, value)| OsString::from(value))
        });
        let log = Lines::default();
        let config = config.expect("the settings are right");
        let output = Log::new(Arc::new(Writer::new(Level::Info, true, Box::new(log.clone()))), None);
        let app = App::new(config, clients, output).await;
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

    pub async fn raw(&self, event: &[u8]) -> Result<Response, InvalidEvent> {
        self.within(event, Duration::from_secs(30)).await
    }

    /// Sends an event with so much time left.
    pub async fn within(&self, event: &[u8], left: Duration) -> Result<Response, InvalidEvent> {
        self.until(event, Some(SystemTime::now() + left)).await
    }

    /// Sends an event with this deadline.
    pub async fn until(&self, event: &[u8], deadline: Option<SystemTime>) -> Result<Response, InvalidEvent> {
        let invocation = Invocation { request_id: "invocation-id".to_owned(), deadline, trace_id: None };
        let response = self.app.invoke(event, &invocation).await?;
        Ok(Response::read(&serde_json::to_value(response).expect("a response is JSON")))
    }

    /// The last line of the log.
    pub fn lines(&self) -> Vec<Value> {
        let lines = self.log.0.lock().unwrap();
        let lines = std::str::from_utf8(&lines).unwrap().lines();
        lines.map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
    }

    pub fn last_line(&self) -> Value {
        let lines = self.log.0.lock().unwrap();
        let line = std::str::from_utf8(&lines).unwrap().lines().next_back().expect("a line was logged");
        serde_json::from_str(line).expect("a line is JSON")
    }

    /// The documented distributor as it is stored.
    pub async fn item(&self) -> Option<Item> {
        item(&self.store).await
    }
}

/// The documented distributor as it is stored.
pub async fn item(store: &Embedded) -> Option<Item> {
    let key = AttributeValue::S(ID.to_owned());
    let item = store.client.get_item().table_name(TABLE).key("id", key).consistent_read(true).send().await;
    item.expect("the store responds").item
}

/// An embedded store with the documented distributor.
pub async fn embedded() -> Embedded {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
    let store = Embedded::serve(listener).await;
    store.put(embedded::documented_item()).await;
    store
}
