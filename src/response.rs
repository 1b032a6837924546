//! A distributor or a problem → the HTTP response, in the form that its front end reads.

use std::convert::Infallible;
use std::future::ready;

use lambda_http::aws_lambda_events::alb::AlbTargetGroupRequest;
use lambda_http::aws_lambda_events::apigw::{ApiGatewayProxyRequest, ApiGatewayV2httpRequest};
use lambda_http::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use lambda_http::http::{Response, StatusCode};
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, Body, Context, LambdaEvent, Service as _, service_fn};

use crate::distributor::Distributor;
use crate::entity_tag::EntityTag;
use crate::event::FrontEnd;
use crate::problem::Problem;

/// Returns the 200 with a distributor.
#[must_use]
pub fn success(distributor: &Distributor) -> Response<Body> {
    // Strings and numbers: serialization cannot fail.
    let body = serde_json::to_string(distributor).unwrap_or_default();
    let mut response = response(StatusCode::OK, "application/json", body);
    response.headers_mut().extend(distributor.entity_tag().as_ref().map(EntityTag::header));
    response
}

/// Returns the response to a request that failed.
#[must_use]
pub fn failure(problem: &Problem, request_id: &str) -> Response<Body> {
    let body = problem.to_json(request_id);
    let mut response = response(problem.code.status(), "application/problem+json", body);
    response.headers_mut().extend(problem.headers.iter().cloned());
    response
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::Text(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    // `no-transform`, so that no proxy weakens the entity tag.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    response
}

/// Serializes a response in the form that its front end reads. `lambda_http` has these forms, but its `Adapter` hands them
/// out only as the result of a handler: so this is a handler that has its response already. The request that it gets is
/// not read; without a path, no URL can be made of it.
pub async fn for_front_end(front_end: FrontEnd, response: Response<Body>) -> Vec<u8> {
    let path = Some("/".to_owned());
    let request = match front_end {
        FrontEnd::HttpApi => {
            let mut request = ApiGatewayV2httpRequest::default();
            request.raw_path = path;
            LambdaRequest::ApiGatewayV2(request)
        }
        FrontEnd::RestApi => {
            let mut request = ApiGatewayProxyRequest::default();
            request.path = path;
            LambdaRequest::ApiGatewayV1(request)
        }
        FrontEnd::LoadBalancer => {
            let mut request = AlbTargetGroupRequest::default();
            request.path = path;
            LambdaRequest::Alb(request)
        }
    };
    let mut response = Some(response);
    let handler = service_fn(|_| ready(Ok::<_, Infallible>(response.take().unwrap_or_default())));
    let Ok(response) = Adapter::from(handler).call(LambdaEvent::new(request, Context::default())).await;
    // Strings, numbers and booleans: serialization cannot fail.
    serde_json::to_vec(&response).unwrap_or_default()
}
