//! A page on which the operation can be read and tried: Swagger UI with the description of the API, and beside it what the
//! store and the log have now. Nothing of it is loaded from elsewhere.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::types::AttributeValue;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::Html;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use swagger_ui_dist::{ApiDefinition, OpenApiSource, generate_routes};
use testing::store::embedded::{Embedded, ID};

/// Lines of the log that the page shows. Arbitrary.
const LINES: usize = 50;
/// The server that the description names.
const DESCRIBED: &str = "http://127.0.0.1:9000";

/// What the page shows besides the description.
pub struct Page {
    pub store: Embedded,
    pub log: RecentLines,
    pub token: String,
}

impl Page {
    /// The routes of the page, for an operation at `url`.
    pub fn routes(self, url: &str) -> Router {
        let description = include_str!("../../openapi.yaml").replace(DESCRIBED, url);
        let assets = ApiDefinition {
            uri_prefix: "/swagger-ui",
            api_definition: OpenApiSource::Uri("/openapi.yaml"),
            title: None,
        };
        Router::new()
            .route("/", get(Html(include_str!("page.html"))))
            .route("/openapi.yaml", get(([(CONTENT_TYPE, "application/yaml")], description)))
            .route("/state", get(state))
            .with_state(Arc::new(self))
            .merge(generate_routes(assets))
    }
}

async fn state(State(page): State<Arc<Page>>) -> Json<Value> {
    let item = page.store.item(ID).map(|item| attribute(&AttributeValue::M(item))["M"].clone());
    Json(json!({"item": item, "log": page.log.latest_first(), "token": page.token}))
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

/// The last lines of the log, which go on to the standard output.
#[derive(Clone, Default)]
pub struct RecentLines(Arc<Mutex<VecDeque<String>>>);

impl RecentLines {
    fn latest_first(&self) -> Vec<String> {
        let lines = self.0.lock().expect("no writer panics");
        lines.iter().rev().cloned().collect()
    }
}

/// The log writes a line at a time.
impl io::Write for RecentLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        io::stdout().write_all(line)?;
        let mut lines = self.0.lock().expect("no writer panics");
        lines.push_back(String::from_utf8_lossy(line).trim_end().to_owned());
        if lines.len() > LINES {
            lines.pop_front();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}
