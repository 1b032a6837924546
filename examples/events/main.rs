//! Makes the sample events anew, with a key that is thrown away and tokens that are valid until 2099.

// An example that cannot write its files has nothing else to do.
#![allow(clippy::print_stdout, clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use testing::issuer::{AUDIENCE, ISSUER, Issuer};
use testing::lambda::request::{FRONT_ENDS, FrontEnd, READ, REMOVE, Request, SET};
use testing::store::embedded::{AT, NODE, TABLE};

/// 2099-12-31T23:59:59Z
const EXPIRES: u64 = 4_102_444_799;
const ISSUED: u64 = 1_735_689_600;
const SCOPE: &str = "distributors:write";

fn main() {
    let issuer = Issuer::new("events");
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "integration-client", "iat": ISSUED, "exp": EXPIRES, "node_id": NODE,
        "scope": SCOPE,
    });
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("events");
    for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
        fs::remove_file(entry.path()).expect("an old event can be removed");
    }
    let write = |name: &str, value: &Value| {
        let text = serde_json::to_string_pretty(value).expect("JSON can be written") + "\n";
        fs::write(directory.join(name), text).expect("the directory can be written to");
    };
    for (name, front_end, request) in requests(&issuer, &claims) {
        write(&format!("{name}.{}.json", front_end.name()), &request.event(front_end));
    }
    let queue = json!({"Records": [{"messageId": "1", "eventSource": "aws:sqs", "body": READ}]});
    write("error.InvalidEvent.queue.json", &queue);
    // For `sam local invoke --env-vars`; the store is the one of the local example.
    write(
        "env.json",
        &json!({"Function": {
            "TABLE_NAME": TABLE,
            "TOKEN_ISSUER": ISSUER,
            "TOKEN_AUDIENCE": AUDIENCE,
            "TOKEN_JWKS": issuer.jwks(),
            "TOKEN_SCOPE": SCOPE,
            "AWS_ENDPOINT_URL_DYNAMODB": "http://host.docker.internal:8000",
        }}),
    );
    println!("{} has new events and a new key.", directory.display());
}

/// The outcome, the front end and the request that leads to it.
fn requests(issuer: &Issuer, claims: &Value) -> Vec<(&'static str, FrontEnd, Request)> {
    let with = |member: &str, value: Value| {
        let mut claims = claims.clone();
        claims[member] = value;
        Request::put(&issuer.sign(&claims), READ)
    };
    let put = |body: &str| Request::put(&issuer.sign(claims), body);
    let without_node = {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().remove("node_id");
        Request::put(&issuer.sign(&claims), READ)
    };
    let other = "/api/v1/integration/distributors/00000000-0000-4000-8000-000000000000";
    let mut requests = vec![
        ("200.set-if-match", FrontEnd::HttpApi, put(SET).with("if-match", "*")),
        ("400.invalid_event", FrontEnd::HttpApi, put(READ).with("not a name", "x")),
        ("404.route_not_found", FrontEnd::HttpApi, put(READ).path("/api/v1/integration/distributors")),
        ("405.method_not_allowed", FrontEnd::HttpApi, put(READ).method("GET")),
        ("401.invalid_token", FrontEnd::HttpApi, with("exp", json!(ISSUED))),
        ("403.insufficient_scope", FrontEnd::HttpApi, with("scope", json!("distributors:read"))),
        ("403.node_claim_missing", FrontEnd::HttpApi, without_node),
        ("400.wrong_target_server", FrontEnd::HttpApi, put(READ).set("x-target-server", "other")),
        ("400.invalid_id", FrontEnd::HttpApi, put(READ).path("/api/v1/integration/distributors/1")),
        ("400.invalid_if_match", FrontEnd::HttpApi, put(READ).with("if-match", AT)),
        ("415.unsupported_media_type", FrontEnd::HttpApi, put(READ).set("content-type", "text/plain")),
        ("413.body_too_large", FrontEnd::HttpApi, put(&format!("{READ}{}", " ".repeat(16_383)))),
        ("400.malformed_json", FrontEnd::HttpApi, put(r#"{"meta": {"#)),
        (
            "422.invalid_body",
            FrontEnd::HttpApi,
            put(r#"{"meta":{"host":"http://localhost","method":9,"authentication":{"type":1,"username":"user"}}}"#),
        ),
        ("404.distributor_not_found", FrontEnd::HttpApi, put(READ).path(other)),
        (
            "404.distributor_not_found-other-node",
            FrontEnd::HttpApi,
            with("node_id", json!("00000000-0000-4000-8000-000000000000")),
        ),
        (
            "412.precondition_failed",
            FrontEnd::HttpApi,
            put(r#"{"meta":{"host":"https://example.com222","path":"/other"}}"#)
                .with("if-match", "\"2000-01-01T00:00:00.000000Z\""),
        ),
    ];
    for front_end in FRONT_ENDS {
        requests.push(("200.set", front_end, put(SET)));
        requests.push(("200.remove", front_end, put(REMOVE)));
        requests.push(("200.read", front_end, put(READ)));
        requests.push(("401.missing_token", front_end, put(READ).without("authorization")));
    }
    requests
}
