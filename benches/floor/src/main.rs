//! One conditional `UpdateItem` behind `lambda_http`, after the verification of a token where one is sent, and nothing else.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
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
        let keys = Arc::new(keys(&std::env::var("TOKEN_JWKS")?)?);
        let handle = move |request| handle(client.clone(), table.clone(), Arc::clone(&keys), request);
        run_concurrent(service_fn(handle)).await
    })
}

type Keys = HashMap<String, DecodingKey>;

fn keys(jwks: &str) -> Result<Keys, Error> {
    let keys = serde_json::from_str::<JwkSet>(jwks)?.keys.into_iter();
    keys.map(|key| Ok((key.common.key_id.clone().ok_or("a key without kid")?, DecodingKey::from_jwk(&key)?))).collect()
}

fn verify(keys: &Keys, request: &Request) -> Result<(), Error> {
    let Some(value) = request.headers().get("authorization") else { return Ok(()) };
    let token = value.to_str()?.trim_start_matches("Bearer").trim_start();
    if token.is_empty() {
        return Ok(());
    }
    let header = decode_header(token)?;
    let key = header.kid.as_ref().and_then(|kid| keys.get(kid)).ok_or("an unknown key")?;
    let mut validation = Validation::new(header.alg);
    validation.validate_aud = false;
    decode::<Value>(token, key, &validation)?;
    Ok(())
}

async fn handle(client: Client, table: String, keys: Arc<Keys>, request: Request) -> Result<Response<Body>, Error> {
    verify(&keys, &request)?;
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
