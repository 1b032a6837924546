//! The request: its checks, in their order, and the responses.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_dynamodb::config::Credentials;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use update_distributor::event::{self, Event};
use update_distributor::handler::{App, InvocationError};
use update_distributor::invocation::Invocation;
use update_distributor::log::{Level, Log, Writer};

use testing::issuer::{self, Issuer, claims};
use testing::lambda::function::{Function, embedded};
use testing::lambda::request::{FRONT_ENDS, FrontEnd, Request, Response, SET};
use testing::store::embedded::{AT, ID, NODE, documented_item};

use testing::model::{self, CODINGS, CONTENT_TYPES, IF_MATCHES, METHODS, PATHS, Row, TARGETS, Tags};

/// A change of a request that makes it fail one check.
type Break = Box<dyn Fn(Request) -> Request>;

/// A change of the event as it is sent, and the outcome.
type Changed<'a> = (&'a str, &'a dyn Fn(&mut Value), &'a str);

/// A change of the event as this front end sends it, and the reason in the log.
type Refused<'a> = (FrontEnd, &'a dyn Fn(&mut Value), &'a str);

async fn check_events(function: &Function, front_end: FrontEnd, rows: &[Changed<'_>]) {
    for (name, change, expected) in rows {
        let mut event = function.put("{}").event(front_end);
        change(&mut event);
        assert_eq!(function.send(&event).await.outcome(), *expected, "{front_end:?}: {name}");
    }
}

#[tokio::test]
async fn every_front_end_gets_the_same_response() {
    let function = Function::new().await;
    let requests = [
        ("200", function.put("{}")),
        ("400 invalid_event", function.put("{}").with("a b", "c")),
        ("404 route_not_found", function.put("{}").path("/")),
        ("405 method_not_allowed", function.put("{}").method("GET")),
        ("401 missing_token", function.put("{}").without("authorization")),
        ("401 invalid_token", function.put("{}").set("authorization", "Bearer x")),
        ("400 wrong_target_server", function.put("{}").without("x-target-server")),
        ("400 invalid_id", function.put("{}").path("/api/v1/integration/distributors/1")),
        ("400 invalid_if_match", function.put("{}").with("if-match", "x")),
        ("415 unsupported_media_type", function.put("{}").set("content-type", "text/plain")),
        ("413 body_too_large", function.put(&" ".repeat(16_385))),
        ("400 malformed_json", function.put("{")),
        ("422 invalid_body", function.put(r#"{"a":1}"#)),
        ("404 distributor_not_found", function.put("{}").path(&format!("/api/v1/integration/distributors/{NODE}"))),
        ("412 precondition_failed", function.put("{}").with("if-match", "\"x\"")),
    ];
    for (expected, request) in requests {
        let first = function.call(&request).await;
        assert_eq!(first.outcome(), expected);
        assert_eq!(first.header("cache-control"), Some("no-store, no-transform"), "{expected}");
        let content_type = if first.status == 200 { "application/json" } else { "application/problem+json" };
        assert_eq!(first.header("content-type"), Some(content_type), "{expected}");
        for front_end in FRONT_ENDS {
            assert_eq!(function.send(&request.event(front_end)).await, first, "{front_end:?}: {expected}");
        }
    }
}

#[tokio::test]
async fn each_front_end_gets_the_form_that_it_reads() {
    let function = Function::new().await;
    for front_end in FRONT_ENDS {
        let invocation = Invocation { request_id: "id".to_owned(), deadline: None, trace_root: None };
        let event = function.put("{}").event(front_end).to_string();
        // A front end that the function gets to know has to be added here, and to `FRONT_ENDS`.
        let (multi_value, described) = match Event::parse(event.as_bytes()).unwrap().front_end {
            event::FrontEnd::HttpApi => (false, false),
            event::FrontEnd::RestApi => (true, false),
            event::FrontEnd::LoadBalancer => (front_end == FrontEnd::LoadBalancerMultiValue, true),
        };
        let response = function.app.invoke(event.as_bytes(), &invocation).await.unwrap();
        let response: Value = serde_json::from_slice(&response).unwrap();
        let headers = if multi_value { &response["multiValueHeaders"] } else { &response["headers"] };
        assert!(!headers["etag"].is_null(), "{front_end:?}: {response}");
        assert_eq!(response["statusDescription"] == "200 OK", described, "{front_end:?}: {response}");
        assert!(response["body"].is_string(), "{front_end:?}: {response}");
    }
}

#[tokio::test]
async fn method_path_and_headers_must_be_valid_in_http() {
    let function = Function::new().await;
    let header = |name: &'static str, value: Value| move |event: &mut Value| event["headers"][name] = value.clone();
    check_events(
        &function,
        FrontEnd::HttpApi,
        &[
            (
                "method of another type",
                &|event| event["requestContext"]["http"]["method"] = json!(7),
                "400 invalid_event",
            ),
            ("no method", &|event| event["requestContext"]["http"] = json!({}), "400 invalid_event"),
            ("method null", &|event| event["requestContext"]["http"] = json!(null), "400 invalid_event"),
            (
                "method with a space",
                &|event| event["requestContext"]["http"]["method"] = json!("PUT "),
                "400 invalid_event",
            ),
            ("empty method", &|event| event["requestContext"]["http"]["method"] = json!(""), "400 invalid_event"),
            ("path of another type", &|event| event["rawPath"] = json!(["/"]), "400 invalid_event"),
            ("no path", &|event| event["rawPath"] = json!(null), "400 invalid_event"),
            ("newline in the path", &|event| event["rawPath"] = json!("/a\n"), "400 invalid_event"),
            ("delete in the path", &|event| event["rawPath"] = json!("/a\u{7f}"), "400 invalid_event"),
            ("tab in the path", &|event| event["rawPath"] = json!("/a\t"), "400 invalid_event"),
            ("headers of another type", &|event| event["headers"] = json!([]), "400 invalid_event"),
            ("header of another type", &header("x", json!(1)), "400 invalid_event"),
            ("header null", &header("x", json!(null)), "200"),
            ("header null of a name that is not one", &header("a b", json!(null)), "400 invalid_event"),
            ("token null", &header("authorization", json!(null)), "401 missing_token"),
            ("header array", &header("x", json!(["a"])), "400 invalid_event"),
            ("name with a space", &header("a b", json!("c")), "400 invalid_event"),
            ("empty name", &header("", json!("c")), "400 invalid_event"),
            ("name with an umlaut", &header("ä", json!("c")), "400 invalid_event"),
            ("newline in a value", &header("x", json!("a\r\nb: c")), "400 invalid_event"),
            ("null in a value", &header("x", json!("\0")), "400 invalid_event"),
            ("delete in a value", &header("x", json!("\u{7f}")), "400 invalid_event"),
            ("tab in a value", &header("x", json!("a\tb")), "200"),
            ("umlaut in a value", &header("x", json!("ä\u{85}")), "200"),
            ("Host that is not a host", &header("host", json!("a b:c/")), "200"),
            ("no headers", &|event| event["headers"] = json!(null), "401 missing_token"),
            (
                "parts that no check reads",
                &|event| {
                    event["pathParameters"] = json!(7);
                    event["cookies"] = json!({"a": []});
                    event["queryStringParameters"] = json!("x");
                    event["rawQueryString"] = json!("a b=\u{0}%zz");
                    event["stageVariables"] = json!([[]]);
                    event["requestContext"]["authorizer"] = json!("x");
                    event["requestContext"]["requestId"] = json!([1]);
                },
                "200",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn lists_of_values_must_be_valid_in_http() {
    let function = Function::new().await;
    check_events(
        &function,
        FrontEnd::RestApi,
        &[
            (
                "multi-value headers of another type",
                &|event| event["multiValueHeaders"] = json!("x"),
                "400 invalid_event",
            ),
            ("values of another type", &|event| event["multiValueHeaders"]["x"] = json!("a"), "400 invalid_event"),
            ("value of another type", &|event| event["multiValueHeaders"]["x"] = json!(["a", 1]), "400 invalid_event"),
            ("values null", &|event| event["multiValueHeaders"]["x"] = json!(null), "200"),
            ("a value null", &|event| event["multiValueHeaders"]["x"] = json!(["a", null]), "200"),
            (
                "no values of a name that is not one",
                &|event| event["multiValueHeaders"]["a b"] = json!([]),
                "400 invalid_event",
            ),
            (
                "null in place of values of a name that is not one",
                &|event| event["multiValueHeaders"]["a b"] = json!(null),
                "400 invalid_event",
            ),
            (
                "null as a value of a name that is not one",
                &|event| event["multiValueHeaders"]["a b"] = json!([null]),
                "400 invalid_event",
            ),
            ("no values", &|event| event["multiValueHeaders"]["x"] = json!([]), "200"),
            ("headers serve beside empty ones", &|event| event["multiValueHeaders"] = json!({}), "200"),
            (
                "a header beside empty ones of a name that is not one",
                &|event| {
                    event["multiValueHeaders"] = json!({});
                    event["headers"] = json!({"a b": null});
                },
                "400 invalid_event",
            ),
            (
                "empty headers beside empty ones",
                &|event| {
                    event["multiValueHeaders"] = json!({});
                    event["headers"] = json!({});
                },
                "401 missing_token",
            ),
            ("headers are not looked at", &|event| event["headers"] = json!({"a b": 7}), "200"),
            ("headers serve where there are no others", &|event| event["multiValueHeaders"] = json!(null), "200"),
            (
                "no headers at all",
                &|event| {
                    event["multiValueHeaders"] = json!(null);
                    event["headers"] = json!(null);
                },
                "401 missing_token",
            ),
            ("method null", &|event| event["httpMethod"] = json!(null), "400 invalid_event"),
        ],
    )
    .await;
    let event = function.put("{}").with("x", "SURROGATE").event(FrontEnd::HttpApi).to_string();
    for surrogate in [r"\ud800", r"\udfff", r"\ude00\ud83d"] {
        let response = function.raw(event.replace("SURROGATE", surrogate).as_bytes()).await.unwrap();
        assert_eq!(response.outcome(), "400 invalid_event", "{surrogate}");
    }
    let response = function.raw(event.replace("SURROGATE", r"\ud83d\ude00").as_bytes()).await.unwrap();
    assert_eq!(response.outcome(), "200");
}

/// The caller and the operator read which part of the event it is, and never its value.
#[tokio::test]
async fn an_invalid_event_is_told_by_its_header_or_member() {
    let function = Function::new().await;
    let header = |name: &'static str, value: Value| move |event: &mut Value| event["headers"][name] = value.clone();
    let lists =
        |name: &'static str, value: Value| move |event: &mut Value| event["multiValueHeaders"][name] = value.clone();
    let long = "a ".repeat(1_000);
    let cut = format!("the header {:?} is not valid HTTP", &long[..256]);
    let long_name = |event: &mut Value| event["headers"][&long] = json!("SECRET");
    let rows: [Refused<'_>; 20] = [
        (
            FrontEnd::HttpApi,
            &|event| event["requestContext"]["http"]["method"] = json!("SECRET "),
            "the event's method (requestContext.http.method) is not valid HTTP",
        ),
        (
            FrontEnd::HttpApi,
            &|event| event["requestContext"]["http"] = json!({}),
            "the event's method (requestContext.http.method) is not valid HTTP",
        ),
        (
            FrontEnd::RestApi,
            &|event| event["httpMethod"] = json!(7),
            "the event's method (httpMethod) is not valid HTTP",
        ),
        (
            FrontEnd::HttpApi,
            &|event| event["rawPath"] = json!("/SECRET\n"),
            "the event's path (rawPath) is not valid HTTP",
        ),
        (FrontEnd::RestApi, &|event| event["path"] = json!("/%ff"), "the event's path (path) is not valid HTTP"),
        (FrontEnd::LoadBalancer, &|event| event["path"] = json!(null), "the event's path (path) is not valid HTTP"),
        (FrontEnd::HttpApi, &|event| event["headers"] = json!("SECRET"), "the event's headers is not valid HTTP"),
        (
            FrontEnd::RestApi,
            &|event| event["multiValueHeaders"] = json!(["SECRET"]),
            "the event's multiValueHeaders is not valid HTTP",
        ),
        (FrontEnd::HttpApi, &header("x-y", json!("SECRET\n")), "the header \"x-y\" is not valid HTTP"),
        (FrontEnd::HttpApi, &header("x-y", json!(["SECRET"])), "the header \"x-y\" is not valid HTTP"),
        (FrontEnd::HttpApi, &header("a b\n", json!("SECRET")), "the header \"a b\\n\" is not valid HTTP"),
        (FrontEnd::HttpApi, &header("", json!(null)), "the header \"\" is not valid HTTP"),
        (FrontEnd::HttpApi, &long_name, &cut),
        (FrontEnd::RestApi, &lists("x-y", json!("SECRET")), "the header \"x-y\" is not valid HTTP"),
        (FrontEnd::RestApi, &lists("x-y", json!(["a", 7])), "the header \"x-y\" is not valid HTTP"),
        (FrontEnd::RestApi, &lists("x y", json!(null)), "the header \"x y\" is not valid HTTP"),
        (FrontEnd::HttpApi, &|event| event["body"] = json!(["SECRET"]), "the event's body is not a string"),
        (
            FrontEnd::HttpApi,
            &|event| event["isBase64Encoded"] = json!("SECRET"),
            "the event's isBase64Encoded is not a boolean",
        ),
        (
            FrontEnd::HttpApi,
            &|event| {
                event["isBase64Encoded"] = json!(true);
                event["body"] = json!("SECRET*");
            },
            "the event's body is not base64, although isBase64Encoded is true",
        ),
        (FrontEnd::HttpApi, &|_| {}, ""),
    ];
    for (front_end, change, reason) in rows {
        let mut event = function.put("{}").event(front_end);
        change(&mut event);
        let (response, line) = (function.send(&event).await, function.last_line());
        if reason.is_empty() {
            assert_eq!((response.status, line.get("reason")), (200, None));
        } else {
            assert_eq!(response.outcome(), "400 invalid_event", "{reason}");
            assert_eq!((&response.body["detail"], &line["reason"]), (&json!(reason), &json!(reason)));
            assert!(!line.to_string().contains("SECRET"), "{line}");
        }
    }
    // A name that is no text at all.
    for (front_end, member) in [
        (FrontEnd::HttpApi, r#""headers":{"\ud800":null,"#),
        (FrontEnd::RestApi, r#""multiValueHeaders":{"\ud800":null,"#),
    ] {
        let event = function.put("{}").event(front_end).to_string();
        let name = member.split_inclusive('{').next().unwrap();
        assert!(event.contains(name), "{event}");
        let response = function.raw(event.replacen(name, member, 1).as_bytes()).await.unwrap();
        assert_eq!(response.outcome(), "400 invalid_event", "{front_end:?}");
        assert!(function.last_line()["reason"].as_str().unwrap().contains('\u{fffd}'), "{front_end:?}");
    }
}

/// Each row of the model's tables, through every front end.
#[tokio::test]
async fn each_part_of_a_request_is_judged_alone() {
    /// How a value gets into a request.
    type Put = fn(Request, &str) -> Request;

    let function = Function::new().await;
    let request = function.put("{}").without("x-target-server").without("content-type");
    let tables: [(&[Row], Put); 5] = [
        (&METHODS, |request, method| request.method(method)),
        (&PATHS, |request, path| request.path(&model::path(path, ID))),
        (&TARGETS, |request, value| request.with("X-Target-Server", value)),
        (&CONTENT_TYPES, |request, value| request.with("Content-Type", value)),
        (&CODINGS, |request, value| request.with("content-encoding", value)),
    ];
    for (table, put) in tables {
        for (values, problem) in table {
            let request = values.iter().fold(request.clone(), |request, value| put(request, value));
            // What is right of the other parts.
            let needs_target = table != TARGETS;
            let request = if needs_target { request.with("x-target-server", "integration") } else { request };
            for front_end in FRONT_ENDS {
                let response = function.send(&request.event(front_end)).await;
                let row = format!("{front_end:?}: {values:?}");
                let expected = problem.map_or("200".to_owned(), |(status, code)| format!("{status} {code}"));
                assert_eq!(response.outcome(), expected, "{row}");
                assert_eq!(response.header("allow"), (response.status == 405).then_some("PUT"), "{row}");
                let of_coding = response.status == 415 && table == CODINGS;
                assert_eq!(response.header("accept-encoding"), of_coding.then_some("identity"), "{row}");
                if *problem == Some((400, "wrong_target_server")) {
                    let detail = response.body["detail"].as_str().unwrap();
                    assert!(detail.contains("X-Target-Server") && detail.contains("integration"), "{detail}");
                }
            }
        }
    }
    for (values, tags) in IF_MATCHES {
        let request = function.put("{}");
        let request =
            values.iter().fold(request, |request, value| request.with("if-match", &model::if_match(value, AT)));
        let (expected, tag) = match tags {
            Tags::Match => ("200", Some(format!("\"{AT}\""))),
            Tags::Differ => ("412 precondition_failed", Some(format!("\"{AT}\""))),
            Tags::Malformed => ("400 invalid_if_match", None),
        };
        for front_end in FRONT_ENDS {
            let response = function.send(&request.event(front_end)).await;
            let found = (response.outcome(), response.header("etag").map(str::to_owned));
            assert_eq!(found, (expected.to_owned(), tag.clone()), "{front_end:?}: {values:?}");
        }
    }
}

/// Sent twice, or joined to one by a gateway: the same response through each front end that does not hide one.
#[tokio::test]
async fn a_header_that_is_sent_twice_has_two_values() {
    let function = Function::new().await;
    let content_type = "Content-Type was sent twice or has two values; it must have one";
    let coding = "Content-Encoding was sent twice or has two values; it must be identity";
    let tag = format!("\"{AT}\"");
    for (name, first, second, expected, detail) in [
        ("x-target-server", "integration", "integration", "400 wrong_target_server", ""),
        ("content-type", "application/json", "application/json", "415 unsupported_media_type", content_type),
        ("content-type", "application/json; charset=utf-8", "text/plain", "415 unsupported_media_type", content_type),
        ("content-encoding", "identity", "identity", "415 unsupported_media_type", coding),
        ("content-encoding", "gzip", "br", "415 unsupported_media_type", coding),
        ("if-match", "\"x\"", &tag, "200", ""),
        ("if-match", "\"a,b\"", &tag, "200", ""),
        ("if-match", "*", "*", "400 invalid_if_match", ""),
        ("if-match", "*", &tag, "400 invalid_if_match", ""),
    ] {
        let request = function.put("{}").set(name, first).with(name, second);
        for front_end in FRONT_ENDS.into_iter().filter(|front_end| *front_end != FrontEnd::LoadBalancer) {
            let response = function.send(&request.event(front_end)).await;
            let row = format!("{front_end:?}, {name}: {first}, {second}");
            assert_eq!(response.outcome(), expected, "{row}");
            assert!(detail.is_empty() || response.body["detail"] == detail, "{row}: {}", response.body);
        }
    }
    // Joined by a gateway it would be one tag.
    let halves = function.put("{}").with("if-match", "\"a").with("if-match", "b\"");
    assert_eq!(function.send(&halves.event(FrontEnd::RestApi)).await.outcome(), "400 invalid_if_match");
}

#[tokio::test]
async fn a_path_is_decoded_once_by_whoever_knows_its_bytes() {
    let function = Function::new().await;
    let encoded = ID.replace('-', "%2d");
    // What is not UTF-8 cannot be decoded; an HTTP API passes it on as it is.
    let bytes = format!("/%ff/api/v1/integration/distributors/{ID}");
    for front_end in FRONT_ENDS {
        let event = function.put("{}").path(&bytes).event(front_end);
        let expected = if front_end == FrontEnd::HttpApi { "200" } else { "400 invalid_event" };
        assert_eq!(function.send(&event).await.outcome(), expected, "{front_end:?}");
    }
    // The path of an HTTP API has been decoded, and is not decoded again.
    let mut event = function.put("{}").event(FrontEnd::HttpApi);
    event["rawPath"] = format!("/api/v1/integration/distributors/{encoded}").into();
    assert_eq!(function.send(&event).await.outcome(), "400 invalid_id");
    event["requestContext"]["domainName"] = json!("x.lambda-url.eu-central-1.on.aws");
    assert_eq!(function.send(&event).await.outcome(), "200");
    event["requestContext"]["domainName"] = json!(["x.lambda-url.eu-central-1.on.aws"]);
    assert_eq!(function.send(&event).await.outcome(), "400 invalid_id");
}

#[tokio::test]
async fn exactly_one_bearer_token_is_required() {
    let function = Function::new().await;
    let token = &function.token;
    let long = format!("Bearer {}", "x".repeat(16_385));
    for (value, expected) in [
        (format!("Bearer {token}"), "200"),
        (format!("bEARER    {token}"), "200"),
        (format!("  Bearer {token}\t"), "200"),
        (String::new(), "401 missing_token"),
        ("Bearer".to_owned(), "401 missing_token"),
        ("Bearer   ".to_owned(), "401 missing_token"),
        ("Basic dTpw".to_owned(), "401 missing_token"),
        (token.clone(), "401 missing_token"),
        (format!("Bearer{token}"), "401 missing_token"),
        (format!("Bearer {token} x"), "401 invalid_token"),
        (format!("Bearer {token},"), "401 invalid_token"),
        (format!("Bearer {token},Bearer {token}"), "401 invalid_token"),
        (format!("Basic dTpw, Bearer {token}"), "401 invalid_token"),
        (long, "401 invalid_token"),
        (format!("Bearer {}", sized_token(&function, 16_384)), "200"),
        (format!("Bearer {}", sized_token(&function, 16_385)), "401 invalid_token"),
    ] {
        let response = function.call(&function.put("{}").set("authorization", &value)).await;
        assert_eq!(response.outcome(), expected, "{value}");
        match response.header("www-authenticate") {
            None => assert_eq!(response.status, 200),
            Some("Bearer") => assert_eq!(expected, "401 missing_token"),
            Some(challenge) => {
                assert!(challenge.starts_with("Bearer error=\"invalid_token\", error_description=\""), "{challenge}");
            }
        }
    }
    let twice = function.put("{}").with("authorization", &format!("Bearer {token}"));
    for front_end in [FrontEnd::HttpApi, FrontEnd::RestApi, FrontEnd::LoadBalancerMultiValue] {
        assert_eq!(function.send(&twice.event(front_end)).await.outcome(), "401 invalid_token", "{front_end:?}");
    }
    let mut event = function.put("{}").event(FrontEnd::HttpApi);
    event["headers"]["AUTHORIZATION"] = format!("Bearer {token}").into();
    assert_eq!(function.send(&event).await.outcome(), "401 invalid_token");
    let mut event = function.put("{}").without("authorization").event(FrontEnd::HttpApi);
    event["headers"]["AuthoriZation"] = format!("Bearer {token}").into();
    assert_eq!(function.send(&event).await.outcome(), "200");
}

/// A token that verifies, of this many bytes.
fn sized_token(function: &Function, size: usize) -> String {
    let padded = |header: usize, claims: usize| {
        let mut content = issuer::claims(NODE, 600);
        content["padding"] = "x".repeat(claims).into();
        let header = json!({"alg": "ES256", "padding": "x".repeat(header)});
        function.issuer.sign_parts(&header.to_string(), &content.to_string())
    };
    let least = size * 3 / 4 - 1_000;
    // Base64 has no text of 4n + 1 characters: the header makes up for what the claims cannot.
    let mut tokens = (0..3).flat_map(|header| (least..size).map(move |claims| (header, claims)));
    let token = tokens.find_map(|(header, claims)| Some(padded(header, claims)).filter(|token| token.len() == size));
    token.expect("some padding fits")
}

#[tokio::test]
async fn the_target_server_is_configured() {
    let function = Function::with_settings(&[("TARGET_SERVER", "Berlin")]).await;
    for (value, expected) in [("bERLIN", "200"), ("integration", "400 wrong_target_server")] {
        let response = function.call(&function.put("{}").set("X-Target-Server", value)).await;
        assert_eq!(response.outcome(), expected, "{value}");
        assert!(response.status == 200 || response.body["detail"].as_str().unwrap().contains("Berlin"));
    }
}

#[tokio::test]
async fn the_log_has_the_id_in_its_canonical_form() {
    let function = Function::new().await;
    for (id, logged) in [(ID.to_uppercase(), Some(ID)), (format!("{ID}0"), None)] {
        function.call(&function.put("{}").path(&format!("/api/v1/integration/distributors/{id}"))).await;
        assert_eq!(function.last_line().get("distributor_id").and_then(Value::as_str), logged, "{id}");
    }
}

#[tokio::test]
async fn if_none_match_is_not_ignored() {
    let function = Function::new().await;
    for value in ["*", "\"x\"", "", "x"] {
        for also in [None, Some("*"), Some("malformed")] {
            let request = function.put(SET).with("If-None-Match", value);
            let request = also.iter().fold(request, |request, value| request.with("if-match", value));
            let response = function.call(&request).await;
            assert_eq!(response.outcome(), "400 invalid_if_match", "{value}");
            assert!(response.body["detail"].as_str().unwrap().contains("If-None-Match"), "{response:?}");
        }
    }
    assert_eq!(function.item().unwrap(), documented_item());
}

/// The type comes first, and its problem does not mention codings.
#[tokio::test]
async fn a_type_is_refused_before_a_coding() {
    let function = Function::new().await;
    let both = function.put("{}").set("content-type", "text/plain").with("content-encoding", "gzip");
    let response = function.call(&both).await;
    assert_eq!((response.outcome().as_str(), response.header("accept-encoding")), ("415 unsupported_media_type", None));
}

#[tokio::test]
async fn the_body_must_be_decodable_and_at_most_16384_bytes() {
    let function = Function::new().await;
    let set = |body: Value, is_base64: Value| {
        move |event: &mut Value| {
            event["body"] = body.clone();
            event["isBase64Encoded"] = is_base64.clone();
        }
    };
    let largest = format!("{{}}{}", " ".repeat(16_382));
    let base64_of = |text: &str| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
    check_events(
        &function,
        FrontEnd::HttpApi,
        &[
            ("text", &set(json!("{}"), json!(false)), "200"),
            ("text, flag null", &set(json!("{}"), json!(null)), "200"),
            (
                "text, no flag",
                &|event| {
                    event.as_object_mut().unwrap().remove("isBase64Encoded");
                },
                "200",
            ),
            ("padded", &set(json!("e30="), json!(true)), "200"),
            ("not padded", &set(json!("e30"), json!(true)), "200"),
            ("not base64", &set(json!("e3*"), json!(true)), "400 invalid_event"),
            ("base64 with a newline", &set(json!("e3\n0="), json!(true)), "400 invalid_event"),
            ("text said to be base64", &set(json!("{}"), json!(true)), "400 invalid_event"),
            ("flag of another type", &set(json!("{}"), json!("false")), "400 invalid_event"),
            ("flag 0", &set(json!("{}"), json!(0)), "400 invalid_event"),
            ("number", &set(json!(7), json!(false)), "400 invalid_event"),
            ("object", &set(json!({}), json!(false)), "400 invalid_event"),
            ("null", &set(json!(null), json!(false)), "400 malformed_json"),
            ("null as base64", &set(json!(null), json!(true)), "400 malformed_json"),
            (
                "no body",
                &|event| {
                    event.as_object_mut().unwrap().remove("body");
                },
                "400 malformed_json",
            ),
            ("the largest", &set(json!(largest), json!(false)), "200"),
            ("one byte more", &set(json!(format!("{largest} ")), json!(false)), "413 body_too_large"),
            ("the largest as base64", &set(json!(base64_of(&largest)), json!(true)), "200"),
            (
                "one byte more as base64",
                &set(json!(base64_of(&format!("{largest} "))), json!(true)),
                "413 body_too_large",
            ),
            ("bytes count, not characters", &set(json!("ä".repeat(8_193)), json!(false)), "413 body_too_large"),
            ("a megabyte", &set(json!("x".repeat(1 << 20)), json!(false)), "413 body_too_large"),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_body_must_be_one_json_object() {
    let function = Function::new().await;
    // What is wrong where is the rule of `json`; a byte order mark is not counted.
    for (body, detail) in [
        (&b"{\"a\":1,\n \"b\":2 \"c\"}"[..], "expected `,` or `}` at line 2, column 8"),
        (b"", "not an object at line 1, column 1"),
        (b"[]", "not an object at line 1, column 1"),
        (b"\"{}\"", "not an object at line 1, column 1"),
        (b"{} {}", "something after the object at line 1, column 4"),
        (b"\xef\xbb\xbf", "not an object at line 1, column 1"),
        (b"\xef\xbb\xbf{x", "key must be a string at line 1, column 2"),
        (b"\xef\xbb\xbf\xef\xbb\xbf{}", "a second byte order mark at line 1, column 1"),
        (b"{}\xef\xbb\xbf", "something after the object at line 1, column 3"),
        (b"{\"id\":\"\xe4\"}", "not UTF-8 at line 1, column 8"),
        (b"\xff\xfe{\0}\0", "not UTF-8 at line 1, column 1"),
        (b"{\"id\":1,\"id\":2}", "a member appears twice at line 1, column 12"),
        (b"{\"id\":{\"a\":1,\"a\":2}}", "a member appears twice at line 1, column 16"),
        (b"{\"id\":\"\\ud800\"}", "a lone surrogate at line 1, column 14"),
        (b"{\"id\":1e999}", "a number too large at line 1, column 11"),
    ] {
        let response = function.call(&function.put("").body(body)).await;
        assert_eq!(response.outcome(), "400 malformed_json", "{}", String::from_utf8_lossy(body));
        assert_eq!(response.body["detail"], format!("the body is malformed: {detail}"));
    }
    // One byte order mark, as .NET and PowerShell send it.
    assert_eq!(function.call(&function.put("\u{feff}{}")).await.outcome(), "200");
    assert_eq!(function.call(&function.put("\u{feff} {}")).await.outcome(), "200");
    // The event itself can have a lone surrogate, too.
    let event = function.put("{\"id\":\"SURROGATE\"}").event(FrontEnd::HttpApi).to_string();
    let response = function.raw(event.replace("SURROGATE", r"\ud800").as_bytes()).await.unwrap();
    assert_eq!(response.outcome(), "400 malformed_json");
    assert_eq!(response.body["detail"], "the body is malformed: a lone surrogate at line 1, column 8");
    let nested = |levels: usize| format!("{{\"id\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    assert_eq!(function.call(&function.put(&nested(127))).await.outcome(), "200");
    assert_eq!(function.call(&function.put(&nested(128))).await.outcome(), "400 malformed_json");
}

#[tokio::test]
async fn the_first_check_that_fails_determines_the_response() {
    let function = Function::new().await;
    // Each request fails this check and all that come after it.
    let other_node = "00000000-0000-4000-8000-000000000000";
    let no_node =
        function.issuer.sign(&json!({"iss": issuer::ISSUER, "aud": issuer::AUDIENCE, "exp": issuer::now() + 60}));
    let token = function.token.clone();
    let steps: Vec<(&str, Break)> = vec![
        ("400 invalid_event", Box::new(|request| request.with("x", "\n"))),
        ("404 route_not_found", Box::new(|request| request.path("/"))),
        ("405 method_not_allowed", Box::new(|request| request.method("GET"))),
        ("401 missing_token", Box::new(|request| request.without("authorization"))),
        ("403 node_claim_missing", Box::new(move |request| request.set("authorization", &format!("Bearer {no_node}")))),
        ("400 wrong_target_server", Box::new(|request| request.without("x-target-server"))),
        ("400 invalid_id", Box::new(|request| request.path("/api/v1/integration/distributors/x"))),
        ("400 invalid_if_match", Box::new(|request| request.with("if-match", "x"))),
        ("415 unsupported_media_type", Box::new(|request| request.set("content-type", "x"))),
        ("413 body_too_large", Box::new(|request| request.body("x".repeat(16_385)))),
        ("400 malformed_json", Box::new(|request| request.body("{"))),
        ("422 invalid_body", Box::new(|request| request.body("{\"a\":1}"))),
        (
            "404 distributor_not_found",
            Box::new(move |request| request.path(&format!("/api/v1/integration/distributors/{other_node}"))),
        ),
    ];
    for (index, (expected, _)) in steps.iter().enumerate() {
        let request = Request::put(&token, "{}").with("if-match", "\"x\"");
        // The last to break wins where two break the same part, so the later checks are broken first.
        let request = steps[index..].iter().rev().fold(request, |request, (_, breaks)| breaks(request));
        assert_eq!(function.call(&request).await.outcome(), *expected);
    }
}

/// Credentials that break once: no input makes the function panic, so that something below it has to.
#[derive(Debug, Default)]
struct Panicking(AtomicBool);

impl ProvideCredentials for Panicking {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        assert!(self.0.swap(true, Ordering::Relaxed), "PANIC-SECRET");
        future::ProvideCredentials::ready(Ok(Credentials::new("any", "any", None, None, "test")))
    }
}

/// A version that another program wrote: every entity tag is a header in each form.
#[tokio::test]
async fn a_version_that_is_not_ascii_reaches_every_front_end() {
    let function = Function::new().await;
    for version in ["\u{e4}", "\u{80}\u{9f}", "\u{1f600}", "\u{ffff}\\,", ""] {
        let mut item = documented_item();
        item.insert("updated_at".to_owned(), AttributeValue::S(version.to_owned()));
        function.store.put(item);
        for front_end in FRONT_ENDS {
            let tag = format!("\"{version}\"");
            for (request, expected) in [
                (function.put("{}"), "200"),
                (function.put("{}").with("if-match", &tag), "200"),
                (function.put("{}").with("if-match", "\"x\""), "412 precondition_failed"),
            ] {
                let response = function.send(&request.event(front_end)).await;
                assert_eq!(response.outcome(), expected, "{front_end:?}: {version:?}");
                assert_eq!(response.header("etag"), Some(&*tag), "{front_end:?}");
            }
        }
    }
}

/// A log that panics at its first line.
struct PanickingLog(AtomicBool);

impl Write for PanickingLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        assert!(self.0.swap(true, Ordering::Relaxed), "a panic outside of the checks");
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_panic_outside_of_the_checks_costs_its_invocation_only() {
    let (store, issuer) = (embedded().await, Issuer::new("first"));
    let clients = testing::store::embedded::clients(&store.endpoint()).await;
    let mut settings = testing::lambda::settings(&issuer.jwks());
    settings.insert("PRIME".to_owned(), "false".to_owned());
    let writer = Writer::new(Level::Info, true, Box::new(PanickingLog(AtomicBool::new(false))));
    let app = App::start(testing::lambda::config(&settings), clients, Log::new(Arc::new(writer), None)).await;
    let request = Request::put(&issuer.sign(&claims(NODE, 60)), "{}");
    let event = request.event(FrontEnd::HttpApi).to_string();
    let invocation = Invocation { request_id: "id".to_owned(), deadline: None, trace_root: None };
    assert_eq!(app.invoke(event.as_bytes(), &invocation).await.err(), Some(InvocationError::Panicked));
    assert!(app.invoke(event.as_bytes(), &invocation).await.is_ok());
    assert!(app.invoke(b"{}", &invocation).await.is_err());
}

#[tokio::test]
async fn a_panic_costs_its_request_only() {
    let function = Function::with_credentials(Panicking::default()).await;
    let response = function.call(&function.put("{}")).await;
    assert_eq!(response.outcome(), "500 internal_error");
    assert!(!response.body.to_string().contains("SECRET"), "{}", response.body);
    assert_eq!(function.last_line()["status"], 500);
    assert_eq!(function.call(&function.put("{}")).await.outcome(), "200");
}

#[tokio::test]
async fn a_problem_has_the_members_of_rfc_9457() {
    let function = Function::new().await;
    let response = function.call(&function.put(r#"{"a":1}"#)).await;
    let expected = json!({
        "type": "about:blank",
        "title": "Unprocessable Content",
        "status": 422,
        "code": "invalid_body",
        "detail": "the body has invalid members; see `errors`",
        "request_id": "invocation-id",
        "errors": [{"pointer": "/a", "detail": "is not a member that can be set"}],
    });
    assert_eq!(response.body, expected);
    let response: Response = function.call(&function.put("{}").method("GET")).await;
    assert!(response.body.get("errors").is_none());
}
