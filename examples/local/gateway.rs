//! HTTP in front of the function: a request becomes the event of a front end, and what the function makes of it a response.

use std::time::{Duration, SystemTime};

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use axum::response::IntoResponse;
use serde_json::Value;
use testing::lambda::request::{self, FRONT_ENDS, FrontEnd};
use update_distributor::handler::App;
use update_distributor::invocation::Invocation;

/// The header that names the front end. The function does not see it.
const FRONT_END: &str = "x-front-end";
/// As much as a gateway lets through.
const MAX_BODY: usize = 6 * 1024 * 1024;
/// As long as the deployed function may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One invocation: the event of a front end, and the result in the form that it reads.
pub struct Exchange {
    pub request_id: String,
    pub front_end: FrontEnd,
    pub event: Value,
    pub result: Value,
}

/// Sends a request through the front end that it names, else through an HTTP API.
///
/// # Errors
///
/// The response to a request that did not reach the function.
pub async fn forward(app: &App, request: Request<Body>) -> Result<Exchange, Response<Body>> {
    let (mut parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, MAX_BODY).await else {
        return Err(StatusCode::PAYLOAD_TOO_LARGE.into_response());
    };
    let front_end = match parts.headers.remove(FRONT_END) {
        None => FrontEnd::HttpApi,
        Some(name) => named(&name).ok_or_else(|| {
            let names = FRONT_ENDS.map(FrontEnd::name).join(", ");
            (StatusCode::BAD_REQUEST, format!("{FRONT_END} is one of {names}\n")).into_response()
        })?,
    };
    let headers = parts.headers.iter();
    let headers =
        headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let request = request::Request {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        headers: headers.collect(),
        body: (!body.is_empty()).then(|| body.to_vec()),
    };
    let mut event = request.event(front_end);
    let request_id = uuid::Builder::from_random_bytes(random()).into_uuid().to_string();
    if let Some(gateway_request_id) = event.pointer_mut("/requestContext/requestId") {
        *gateway_request_id = request_id.as_str().into();
    }
    let deadline = Some(SystemTime::now() + TIMEOUT);
    let invocation = Invocation { request_id: request_id.clone(), deadline, trace_root: None };
    let result = app.invoke(event.to_string().as_bytes(), &invocation).await;
    let result = result.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())?;
    let result = serde_json::from_slice(&result).expect("a response is JSON");
    Ok(Exchange { request_id, front_end, event, result })
}

fn named(name: &HeaderValue) -> Option<FrontEnd> {
    FRONT_ENDS.into_iter().find(|front_end| front_end.name().as_bytes() == name.as_bytes())
}

/// Returns the response over HTTP.
pub fn http_response(result: &Value) -> Response<Body> {
    let read = request::Response::read(result);
    let mut response = Response::new(Body::from(Bytes::from(read.text)));
    let status = u16::try_from(read.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    *response.status_mut() = status.expect("a status");
    for (name, value) in read.headers {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
        response.headers_mut().append(HeaderName::try_from(name).expect("a name"), value);
    }
    response
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has random numbers");
    bytes
}
