//! One conditional `UpdateItem` behind `lambda_http`, and nothing else.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use lambda_http::{Body, Error, Request, Response, run_concurrent, service_fn};
use serde_json::{Map, Value};
use tokio::runtime::Builder;

fn main() -> Result<(), Error> {
    // Not an attribute of `main`: so all features have the same code, and one set of them is linted.
    let mut runtime =
        if cfg!(feature = "defaults") { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    runtime.enable_all().build()?.block_on(async {
        let client = Client::new(&aws_config::load_from_env().await);
        let table = std::env::var("TABLE_NAME")?;
        run_concurrent(service_fn(move |request: Request| handle(client.clone(), table.clone(), request))).await
    })
}

async fn handle(client: Client, table: String, request: Request) -> Result<Response<Body>, Error> {
    let id = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    let body: Value = serde_json::from_slice(request.body())?;
    let call = client.update_item().table_name(table).key("id", AttributeValue::S(id));
    let call = call.condition_expression("attribute_exists(id)").return_values(ReturnValue::AllNew);
    let now = || AttributeValue::S(chrono::Utc::now().to_rfc3339());
    let call = match body.get("meta") {
        None => call,
        Some(Value::Null) => {
            call.update_expression("SET updated_at = :now REMOVE meta").expression_attribute_values(":now", now())
        }
        Some(meta) => call
            .update_expression("SET meta = :meta, updated_at = :now")
            .expression_attribute_values(":now", now())
            .expression_attribute_values(":meta", attribute(meta)),
    };
    let item = call.send().await?.attributes.unwrap_or_default();
    let body = serde_json::to_string(&object(&item))?;
    Ok(Response::builder().header("content-type", "application/json").body(body.into())?)
}

fn attribute(value: &Value) -> AttributeValue {
    match value {
        Value::Object(members) => {
            AttributeValue::M(members.iter().map(|(name, value)| (name.clone(), attribute(value))).collect())
        }
        Value::String(text) => AttributeValue::S(text.clone()),
        other => AttributeValue::N(other.to_string()),
    }
}

fn object(item: &HashMap<String, AttributeValue>) -> Map<String, Value> {
    item.iter().map(|(name, attribute)| (name.clone(), value(attribute))).collect()
}

fn value(attribute: &AttributeValue) -> Value {
    match attribute {
        AttributeValue::M(members) => Value::Object(object(members)),
        AttributeValue::S(text) => Value::String(text.clone()),
        AttributeValue::N(number) => number.parse().unwrap_or(Value::Null),
        _ => Value::Null,
    }
}
