//! A page on which the operation can be read and tried: Swagger UI with the description of the API, and beside it what the
//! function made of each request. Nothing of it is loaded from elsewhere.

use std::collections::VecDeque;
use std::io;
use std::slice;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::types::AttributeValue;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Request, Response};
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use swagger_ui_dist::{ApiDefinition, OpenApiSource, generate_routes};
use testing::issuer::Issuer;
use testing::lambda::request::{FRONT_ENDS, FrontEnd};
use testing::store::embedded::{Embedded, ID};
use update_distributor::handler::App;

use crate::gateway::{self, Exchange};

/// Requests, and lines of the log, that the page shows. Arbitrary.
const SHOWN: usize = 50;
/// The server that the description names.
const DESCRIBED: &str = "http://127.0.0.1:9000";

/// The function behind HTTP, with what the page shows of it.
pub struct Page {
    pub app: App,
    pub store: Embedded,
    /// Signs the tokens, unless they are a provider's.
    pub issuer: Option<Issuer>,
    /// The token that was printed; empty where tokens are a provider's.
    pub token: String,
    pub log: Recent<String>,
    pub exchanges: Recent<Value>,
}

impl Page {
    /// The routes of the page, and on every other path the function, for an operation at `url`.
    pub fn routes(self, url: &str) -> Router {
        let description = include_str!("../../openapi.yaml").replace(DESCRIBED, url);
        let assets = ApiDefinition {
            uri_prefix: "/swagger-ui",
            api_definition: OpenApiSource::Uri("/openapi.yaml"),
            title: None,
        };
        Router::new()
            .route("/", get(Html(include_str!("page.html"))))
            .route("/page.js", get(([(CONTENT_TYPE, "text/javascript")], include_str!("page.js"))))
            .route("/openapi.yaml", get(([(CONTENT_TYPE, "application/yaml")], description)))
            .route("/state", get(state))
            .route("/token", post(token))
            .fallback(invoke)
            .method_not_allowed_fallback(invoke)
            .with_state(Arc::new(self))
            .merge(generate_routes(assets))
    }
}

async fn invoke(State(page): State<Arc<Page>>, request: Request<Body>) -> Response<Body> {
    match gateway::forward(&page.app, request).await {
        Ok(exchange) => {
            page.exchanges.push(shown(&exchange));
            gateway::http_response(&exchange.result)
        }
        Err(response) => response,
    }
}

/// Returns what the page shows of an exchange: the token has no signature there, since others could use it.
fn shown(exchange: &Exchange) -> Value {
    let mut event = exchange.event.clone();
    for headers in ["headers", "multiValueHeaders"] {
        let tokens = match event.get_mut(headers).and_then(|headers| headers.get_mut("authorization")) {
            Some(Value::Array(tokens)) => tokens,
            Some(token) => slice::from_mut(token),
            None => &mut [],
        };
        tokens.iter_mut().for_each(shorten);
    }
    json!({
        "request_id": exchange.request_id, "front_end": exchange.front_end.name(), "event": event,
        "result": exchange.result,
    })
}

fn shorten(token: &mut Value) {
    if let Some((signed, _)) = token.as_str().and_then(|token| token.rsplit_once('.')) {
        *token = format!("{signed}.…").into();
    }
}

async fn state(State(page): State<Arc<Page>>) -> Json<Value> {
    let item = page.store.item(ID).map(|item| attribute(&AttributeValue::M(item))["M"].clone());
    Json(json!({
        "item": item, "token": page.token, "front_ends": FRONT_ENDS.map(FrontEnd::name),
        "log": page.log.latest_first(), "exchanges": page.exchanges.latest_first(),
    }))
}

/// Signs claims, whatever they are.
async fn token(State(page): State<Arc<Page>>, Json(claims): Json<Value>) -> String {
    page.issuer.as_ref().map(|issuer| issuer.sign(&claims)).unwrap_or_default()
}

/// Returns a value of the types that an item of the function has, in DynamoDB's JSON.
fn attribute(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(number) => json!({ "N": number }),
        AttributeValue::M(members) => {
            json!({"M": members.iter().map(|(name, value)| (name.clone(), attribute(value))).collect::<Value>()})
        }
        other => json!(format!("{other:?}")),
    }
}

/// The last of what was pushed.
pub struct Recent<T>(Arc<Mutex<VecDeque<T>>>);

impl<T: Clone> Recent<T> {
    pub fn new() -> Self {
        Self(Arc::default())
    }

    fn push(&self, value: T) {
        let mut values = self.0.lock().expect("no holder panics");
        values.push_front(value);
        values.truncate(SHOWN);
    }

    fn latest_first(&self) -> Vec<T> {
        self.0.lock().expect("no holder panics").iter().cloned().collect()
    }
}

impl<T> Clone for Recent<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// The log writes a line at a time, which goes on to the standard output.
impl io::Write for Recent<String> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        io::stdout().write_all(line)?;
        self.push(String::from_utf8_lossy(line).trim_end().to_owned());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}
