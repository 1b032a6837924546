//! A distributor or a problem → the HTTP response, and the form in which a front end reads it.

use lambda_http::Body;
use lambda_http::aws_lambda_events::alb::AlbTargetGroupRequest;
use lambda_http::aws_lambda_events::apigw::{ApiGatewayProxyRequest, ApiGatewayV2httpRequest};
use lambda_http::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use lambda_http::http::{Response, StatusCode};
use lambda_http::request::LambdaRequest;

use crate::distributor::Distributor;
use crate::event::FrontEnd;
use crate::problem::{Problem, entity_tag_header};

/// Returns the 200 with a distributor.
#[must_use]
pub fn success(distributor: &Distributor) -> Response<Body> {
    // Strings and numbers: nothing in it can fail to be written.
    let body = serde_json::to_string(distributor).unwrap_or_default();
    let mut response = response(StatusCode::OK, "application/json", body);
    response.headers_mut().extend(distributor.entity_tag().as_ref().and_then(entity_tag_header));
    response
}

/// Returns the response to a request that failed.
#[must_use]
pub fn failure(problem: &Problem, request_id: &str) -> Response<Body> {
    let status = StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = response(status, "application/problem+json", problem.to_json(request_id));
    response.headers_mut().extend(problem.headers());
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

/// Returns a request of this front end, from which `lambda_http` takes the form of the response. The event has been read
/// already, so that nothing is in it but a path, without which `lambda_http` cannot make a URL.
#[must_use]
pub fn empty_request(front_end: FrontEnd) -> LambdaRequest {
    let path = Some("/".to_owned());
    match front_end {
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
    }
}
