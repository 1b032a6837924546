//! A request, and the event that each front end makes of it; a response, and the form in which each front end reads it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::store::embedded::ID;

/// The body of the documented request.
pub const SET: &str = r#"{"meta":{"host":"https://example.com222","path":"/webhook","method":1,"authentication":{"type":1,"username":"user","password":"pass"}}}"#;
pub const REMOVE: &str = r#"{"meta":null}"#;
pub const READ: &str = "{}";
/// A body with every member that can be set.
pub const EVERY_MEMBER: &str = r#"{"meta":{"host":"https://example.com","path":"/a","method":5,"authentication":{"type":2,"username":"u","password":"p","token":"t"}}}"#;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FrontEnd {
    HttpApi,
    FunctionUrl,
    RestApi,
    LoadBalancer,
    LoadBalancerMultiValue,
}

pub const FRONT_ENDS: [FrontEnd; 5] = [
    FrontEnd::HttpApi,
    FrontEnd::FunctionUrl,
    FrontEnd::RestApi,
    FrontEnd::LoadBalancer,
    FrontEnd::LoadBalancerMultiValue,
];

impl FrontEnd {
    pub fn name(self) -> &'static str {
        match self {
            Self::HttpApi => "http-api",
            Self::FunctionUrl => "function-url",
            Self::RestApi => "rest-api",
            Self::LoadBalancer => "load-balancer",
            Self::LoadBalancerMultiValue => "load-balancer-multi-value",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
}

impl Request {
    /// A `PUT` of `body` to the documented distributor.
    pub fn put(token: &str, body: &str) -> Self {
        Self {
            method: "PUT".to_owned(),
            path: format!("/api/v1/integration/distributors/{ID}"),
            headers: Vec::new(),
            body: Some(body.as_bytes().to_vec()),
        }
        .with("authorization", &format!("Bearer {token}"))
        .with("x-target-server", "integration")
        .with("content-type", "application/json")
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(header, _)| !header.eq_ignore_ascii_case(name));
        self
    }

    pub fn set(self, name: &str, value: &str) -> Self {
        self.without(name).with(name, value)
    }

    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    pub fn method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Returns the event that a front end makes of the request.
    pub fn event(&self, front_end: FrontEnd) -> Value {
        let (body, is_base64) = match self.body.as_ref().map(|body| (std::str::from_utf8(body), body)) {
            None => (Value::Null, false),
            Some((Ok(text), _)) => (text.into(), false),
            Some((Err(_), bytes)) => (STANDARD.encode(bytes).into(), true),
        };
        let mut multi = Map::new();
        let mut joined = Map::new();
        let mut last = Map::new();
        for (name, value) in &self.headers {
            multi.entry(name).or_insert(json!([])).as_array_mut().unwrap().push(value.as_str().into());
            last.insert(name.clone(), value.as_str().into());
            let join = |before: &Value| format!("{},{value}", before.as_str().unwrap());
            let value = joined.get(name).map_or_else(|| value.clone(), join);
            joined.insert(name.clone(), value.into());
        }
        let (method, path) = (&self.method, &self.path);
        let mut event = match front_end {
            FrontEnd::HttpApi | FrontEnd::FunctionUrl => {
                let (domain, path) = if front_end == FrontEnd::HttpApi {
                    // It percent-decodes the path, where that is UTF-8.
                    let path = percent_encoding::percent_decode_str(path).decode_utf8().unwrap_or(path.into());
                    ("a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com", path)
                } else {
                    ("a1b2c3d4e5.lambda-url.eu-central-1.on.aws", path.into())
                };
                json!({
                    "version": "2.0", "rawPath": path, "rawQueryString": "", "headers": joined,
                    "requestContext": {
                        "domainName": domain,
                        "http": {"method": method, "path": path},
                        "requestId": "gateway-id",
                    },
                })
            }
            FrontEnd::RestApi => json!({
                "resource": "/{proxy+}", "path": path, "httpMethod": method, "headers": last, "multiValueHeaders": multi,
                "requestContext": {"requestId": "gateway-id", "httpMethod": method},
            }),
            FrontEnd::LoadBalancer => json!({
                "requestContext": {"elb": {"targetGroupArn": "arn"}}, "httpMethod": method, "path": path,
                "queryStringParameters": {}, "headers": last,
            }),
            FrontEnd::LoadBalancerMultiValue => json!({
                "requestContext": {"elb": {"targetGroupArn": "arn"}}, "httpMethod": method, "path": path,
                "multiValueQueryStringParameters": {}, "multiValueHeaders": multi,
            }),
        };
        event["body"] = body;
        event["isBase64Encoded"] = is_base64.into();
        event
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    pub status: u64,
    pub headers: BTreeMap<String, String>,
    /// The body as it is written, and as it is read.
    pub text: String,
    pub body: Value,
}

impl Response {
    /// Reads the form that any front end reads.
    pub fn read(response: &Value) -> Self {
        let single = response["headers"].as_object().into_iter().flatten();
        let multi = response["multiValueHeaders"].as_object().into_iter().flatten();
        let headers: BTreeMap<_, _> = single
            .map(|(name, value)| (name.to_lowercase(), value.as_str().unwrap().to_owned()))
            .chain(multi.map(|(name, values)| {
                let values: Vec<_> = values.as_array().unwrap().iter().map(|value| value.as_str().unwrap()).collect();
                (name.to_lowercase(), values.join(", "))
            }))
            .collect();
        assert_eq!(response["isBase64Encoded"], false, "{response}");
        let text = response["body"].as_str().unwrap().to_owned();
        let body = serde_json::from_str(&text).unwrap();
        Self { status: response["statusCode"].as_u64().unwrap(), headers, text, body }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// `200`, or status and code.
    pub fn outcome(&self) -> String {
        match self.body["code"].as_str() {
            Some(code) => format!("{} {code}", self.status),
            None => self.status.to_string(),
        }
    }
}
