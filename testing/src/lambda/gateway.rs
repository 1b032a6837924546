//! HTTP in front of the function: what an HTTP API does, payload 2.0.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use update_distributor::handler::App;
use update_distributor::invocation::Invocation;

/// As much as a gateway lets through.
const MAX_BODY: usize = 6 * 1024 * 1024;
/// As long as the deployed function may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Serves the function, and `others` on their own paths.
pub async fn serve(listener: TcpListener, app: Arc<App>, others: Router) {
    let router = others.with_state(()).fallback(forward).method_not_allowed_fallback(forward).with_state(app);
    axum::serve(listener, router).await.expect("the listener listens");
}

async fn forward(State(app): State<Arc<App>>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, MAX_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let request_id = uuid::Builder::from_random_bytes(random()).into_uuid().to_string();
    let mut headers = Map::new();
    for name in parts.headers.keys() {
        // As an HTTP API does: repeated headers are joined.
        let values: Vec<_> =
            parts.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        headers.insert(name.to_string(), values.join(",").into());
    }
    let (body, is_base64) = match std::str::from_utf8(&body) {
        _ if body.is_empty() => (Value::Null, false),
        Ok(text) => (text.into(), false),
        Err(_) => (STANDARD.encode(&body).into(), true),
    };
    // As an HTTP API does: the path is percent-decoded.
    let path = parts.uri.path();
    let path = percent_encoding::percent_decode_str(path).decode_utf8().unwrap_or(path.into());
    let event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": parts.uri.query().unwrap_or_default(),
        "headers": headers,
        "requestContext": {
            "http": {"method": parts.method.as_str(), "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"},
            "requestId": request_id,
            "stage": "$default",
        },
        "body": body,
        "isBase64Encoded": is_base64,
    });
    let invocation = Invocation { request_id, deadline: Some(SystemTime::now() + TIMEOUT), trace_root: None };
    let Ok(result) = app.invoke(event.to_string().as_bytes(), &invocation).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let result = serde_json::from_slice(&result).expect("a response is JSON");
    http_response(&result)
}

fn http_response(result: &Value) -> Response<Body> {
    let status = result["statusCode"].as_u64().and_then(|status| u16::try_from(status).ok()).expect("a status");
    let body = result["body"].as_str().unwrap_or_default().to_owned();
    let mut response = Response::new(Body::from(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    for (name, value) in result["headers"].as_object().into_iter().flatten() {
        let value = value.as_str().and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok());
        response.headers_mut().append(HeaderName::try_from(name).expect("a name"), value.expect("a value"));
    }
    response
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has random numbers");
    bytes
}
