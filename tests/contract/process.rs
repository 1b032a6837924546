//! The real binary behind a Runtime API: start, log, metrics, and what must never end it or leave it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::join_all;
use futures_util::stream::StreamExt as _;
use serde_json::{Value, json};

use crate::BOOTSTRAP;
use testing::fault::Fault;
use testing::issuer::key_server::KeyServer;
use testing::issuer::reply::Reply;
use testing::issuer::{self, Issuer, claims};
use testing::lambda::Settings;
use testing::lambda::function::{Function, embedded};
use testing::lambda::process::{Process, environment};
use testing::lambda::request::{FRONT_ENDS, FrontEnd, Request};
use testing::lambda::runtime_api::{DEADLINE, Outcome, REQUEST_ID};
use testing::proxy::Proxy;
use testing::store::embedded::{Embedded, ID, NODE, documented_item};
use testing::store::tls::Tls;
use update_distributor::config::Config;

const SET: &str = r#"{"meta":{"host":"https://example.com","authentication":{"type":1,"username":"user","password":"PASSWORD-SECRET","token":"TOKEN-SECRET"}}}"#;

struct Deployment {
    process: Process,
    store: Embedded,
    issuer: Issuer,
}

impl Deployment {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let (store, issuer) = (embedded().await, Issuer::new("first"));
        let process = Process::start(BOOTSTRAP, &store, &issuer, settings);
        Self { process, store, issuer }
    }

    fn put(&self, body: &str) -> Request {
        Request::put(&self.issuer.sign(&claims(NODE, 600)), body)
    }

    async fn call(&self, request: &Request) -> String {
        self.process.send(&request.event(FrontEnd::HttpApi)).await.outcome()
    }
}

/// The environment of a deployment that fetches its keys.
fn with_fetched_keys(endpoint: &str, keys: String) -> Settings {
    let mut environment = environment(endpoint, "");
    environment.remove("TOKEN_JWKS");
    environment.insert("TOKEN_JWKS_URI".to_owned(), keys);
    environment
}

fn read(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[tokio::test]
async fn the_process_serves_every_front_end() {
    let deployment = Deployment::start(&[]).await;
    for front_end in FRONT_ENDS {
        let response = deployment.process.send(&deployment.put(SET).event(front_end)).await;
        assert_eq!((response.outcome().as_str(), &response.body["id"]), ("200", &json!(ID)), "{front_end:?}");
        let response = deployment.process.send(&deployment.put("{").event(front_end)).await;
        assert_eq!(response.outcome(), "400 malformed_json", "{front_end:?}");
        assert!(response.body["request_id"].as_str().unwrap().starts_with("invocation-"));
    }
}

#[tokio::test]
async fn no_event_ends_the_process() {
    let deployment = Deployment::start(&[]).await;
    let huge = format!(r#"{{"Records":["{}"]}}"#, "x".repeat(1 << 20));
    let deep = "[".repeat(100_000);
    let events: [&[u8]; 13] = [
        b"",
        b"not JSON",
        b"{}",
        b"[]",
        b"null",
        b"7",
        b"\"x\"",
        b"{\"a\":",
        b"\xff\xfe",
        br#"{"Records":[{"messageId":"1","body":"{}","eventSource":"aws:sqs"}]}"#,
        br#"{"requestContext":{"connectionId":"x","eventType":"MESSAGE"},"body":"x"}"#,
        huge.as_bytes(),
        deep.as_bytes(),
    ];
    for event in events {
        match deployment.process.invoke(event).await {
            Outcome::Error(kind, message) => {
                assert_eq!(kind, "InvalidEvent");
                assert!(message.contains("the event was not sent by"), "{message}");
            }
            Outcome::Response(response) => panic!("{response:?}"),
        }
    }
    let mut wrong = deployment.put("{}").event(FrontEnd::HttpApi);
    wrong["headers"]["x"] = json!({"a": 1});
    assert_eq!(deployment.process.send(&wrong).await.outcome(), "400 invalid_event");
    let mut wrong = deployment.put("{}").event(FrontEnd::HttpApi);
    wrong["isBase64Encoded"] = json!(true);
    assert_eq!(deployment.process.send(&wrong).await.outcome(), "400 invalid_event");
    let megabyte = deployment.put(&"x".repeat(1 << 20));
    assert_eq!(deployment.call(&megabyte).await, "413 body_too_large");
    assert_eq!(deployment.call(&deployment.put("{}")).await, "200");
    let lines = deployment.process.stop().await;
    assert_eq!(lines.len(), 17, "{lines:#?}");
    for line in &lines[..13] {
        let line = read(line);
        assert!(line["request_id"].is_string() && line["message"].is_string(), "{line}");
        assert!(line.get("status").is_none() && line.get("_aws").is_none(), "{line}");
    }
}

/// Lambda passes on what the invoker sent, and local tools leave things out.
#[tokio::test]
async fn no_header_of_an_invocation_ends_the_process() {
    for concurrency in ["1", "4"] {
        let deployment = Deployment::start(&[("AWS_LAMBDA_MAX_CONCURRENCY", concurrency)]).await;
        let event = deployment.put("{}").event(FrontEnd::HttpApi).to_string();
        for (name, value) in [
            ("lambda-runtime-client-context", Some(&br#"{"custom":{"a":1}}"#[..])),
            ("lambda-runtime-client-context", Some(b"{")),
            ("lambda-runtime-client-context", Some(b"\xff")),
            ("lambda-runtime-cognito-identity", Some(b"{}")),
            ("lambda-runtime-cognito-identity", Some(b"x")),
            (DEADLINE, None),
            (DEADLINE, Some(b"")),
            (DEADLINE, Some(b"soon")),
            (DEADLINE, Some(b"-1")),
            (DEADLINE, Some(b"1.5")),
            (DEADLINE, Some(b"\xff")),
            (DEADLINE, Some(b"18446744073709551615")),
            (DEADLINE, Some(b"99999999999999999999")),
            (DEADLINE, Some(b"0")),
            ("lambda-runtime-invoked-function-arn", None),
            ("lambda-runtime-invoked-function-arn", Some(b"\xff")),
            ("lambda-runtime-trace-id", Some(b"\xff")),
            ("lambda-runtime-aws-tenant-id", Some(b"\xff")),
            ("lambda-runtime-invocation-id", Some(b"\xff")),
            (REQUEST_ID, Some(b"a b/../?#%ff")),
            (REQUEST_ID, Some("\u{e4}".as_bytes())),
        ] {
            // More than there are workers, so that each of them meets it; but an id names one invocation.
            let times = if name == REQUEST_ID { 1 } else { 8 };
            let headers = [(name, value)];
            let responses = (0..times).map(|_| deployment.process.invoke_with(event.as_bytes(), &headers));
            for response in join_all(responses).await {
                assert_eq!(response.response().outcome(), "200", "{name}: {:?}", value.map(String::from_utf8_lossy));
            }
        }
        // Without an id there is nothing to respond to, and a line that says so.
        deployment.process.drop_one(event.as_bytes());
        assert_eq!(deployment.call(&deployment.put("{}")).await, "200");
        let lines = deployment.process.stop().await;
        let errors: Vec<_> = lines.iter().map(|line| read(line)).filter(|line| line["level"] == "ERROR").collect();
        assert_eq!(errors.len(), 1, "{errors:#?}");
        assert!(errors[0]["message"].as_str().unwrap().contains(REQUEST_ID), "{errors:#?}");
    }
}

#[tokio::test]
async fn without_a_runtime_api_the_process_ends_and_says_so() {
    for concurrency in ["1", "8"] {
        let mut deployment = Deployment::start(&[("AWS_LAMBDA_MAX_CONCURRENCY", concurrency)]).await;
        assert_eq!(deployment.call(&deployment.put("{}")).await, "200");
        deployment.process.close();
        let (status, lines) = deployment.process.end().await;
        assert!(!status.success(), "{concurrency}");
        let last = read(lines.last().unwrap());
        assert_eq!(last["level"], "FATAL", "{lines:#?}");
        assert!(last["message"].as_str().unwrap().starts_with("the Runtime API is out of reach"), "{last}");
        // The line of the request, and this one.
        assert_eq!(lines.len(), 2, "{lines:#?}");
    }
}

/// A first event that is not HTTP, as one that keeps an instance warm.
#[tokio::test]
async fn the_first_request_is_the_cold_start() {
    let deployment = Deployment::start(&[]).await;
    assert!(matches!(deployment.process.invoke(br#"{"warm":true}"#).await, Outcome::Error(..)));
    for _ in 0..2 {
        assert_eq!(deployment.call(&deployment.put("{}")).await, "200");
    }
    let lines: Vec<_> = deployment.process.stop().await.iter().map(|line| read(line)).collect();
    let cold: Vec<_> = lines.iter().map(|line| (&line["cold_start"], &line["ColdStart"])).collect();
    assert_eq!(cold, [(&Value::Null, &Value::Null), (&json!(true), &json!(1)), (&json!(false), &json!(0))]);
}

#[tokio::test]
async fn an_instance_that_was_made_ahead_of_its_first_request_has_no_cold_start() {
    for (kind, expected) in [
        ("", true),
        ("on-demand", true),
        ("provisioned-concurrency", false),
        ("snap-start", false),
        ("lambda-managed-instances", false),
    ] {
        let function = Function::with_settings(&[("AWS_LAMBDA_INITIALIZATION_TYPE", kind)]).await;
        for expected in [expected, false] {
            assert_eq!(function.call(&function.put("{}")).await.outcome(), "200");
            assert_eq!(function.last_line()["cold_start"], expected, "{kind}");
        }
    }
}

#[tokio::test]
async fn a_far_future_version_is_written_with_a_warning() {
    for (stored, warnings) in [("2099-01-01T00:00:00.000000Z", 1), ("2020-01-01T00:00:00.000000Z", 0)] {
        let deployment = Deployment::start(&[]).await;
        let mut item = documented_item();
        item.insert("updated_at".to_owned(), AttributeValue::S(stored.to_owned()));
        deployment.store.put(item);
        let response = deployment.process.send(&deployment.put(SET).event(FrontEnd::HttpApi)).await;
        assert_eq!(response.outcome(), "200");
        let lines = deployment.process.stop().await;
        let found: Vec<_> = lines.iter().map(|line| read(line)).filter(|line| line["level"] == "WARN").collect();
        assert_eq!(found.len(), warnings, "{lines:#?}");
        if let [warning] = &found[..] {
            assert_eq!(response.body["updated_at"], "2099-01-01T00:00:00.000001Z");
            let message = warning["message"].as_str().unwrap();
            assert!(message.contains(ID) && message.contains(stored), "{message}");
        }
    }
}

#[tokio::test]
async fn each_request_writes_one_line() {
    let deployment = Deployment::start(&[]).await;
    let anonymous = deployment.put(SET).without("authorization").event(FrontEnd::LoadBalancer);
    deployment.process.send(&anonymous).await;
    deployment.call(&deployment.put(SET)).await;
    deployment.call(&deployment.put(r#"{"meta":null}"#)).await;
    deployment.call(&deployment.put("{}").with("if-match", "\"x\"")).await;
    let lines = deployment.process.stop().await;
    assert_eq!(lines.len(), 4, "{lines:#?}");
    let lines: Vec<_> = lines.iter().map(|line| read(line)).collect();
    let names: Vec<_> = lines[0].as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "ColdStart",
        "Duration",
        "Requests",
        "_aws",
        "code",
        "cold_start",
        "duration_ms",
        "level",
        "reason",
        "request_id",
        "status",
        "timestamp",
        "xray_trace_id",
    ];
    assert_eq!(names, expected);
    assert_eq!((&lines[0]["cold_start"], &lines[1]["cold_start"]), (&json!(true), &json!(false)));
    let set = &lines[1];
    assert!(chrono::DateTime::parse_from_rfc3339(set["timestamp"].as_str().unwrap()).is_ok());
    for (name, value) in [
        ("level", json!("INFO")),
        ("request_id", json!("invocation-1")),
        ("gateway_request_id", json!("gateway-id")),
        ("xray_trace_id", json!("1-5759e988-bd862e3fe1be46a994272793")),
        ("status", json!(200)),
        ("code", json!("ok")),
        ("operation", json!("set")),
        ("distributor_id", json!(ID)),
        ("node_id", json!(NODE)),
        ("subject", json!("integration-client")),
        ("store_attempts", json!(1)),
        ("Requests", json!(1)),
        ("ColdStart", json!(0)),
    ] {
        assert_eq!(set[name], value, "{name}");
    }
    assert!(set["duration_ms"].as_f64().unwrap() >= set["store_ms"].as_f64().unwrap());
    assert_eq!((&set["Duration"], &set["StoreDuration"]), (&set["duration_ms"], &set["store_ms"]));
    let metrics = &set["_aws"]["CloudWatchMetrics"];
    let expected = json!([
        {"Namespace": "UpdateDistributor", "Dimensions": [["code"]], "Metrics": [{"Name": "Requests", "Unit": "Count"}]},
        {"Namespace": "UpdateDistributor", "Dimensions": [[]], "Metrics": [
            {"Name": "Duration", "Unit": "Milliseconds"},
            {"Name": "ColdStart", "Unit": "Count"},
            {"Name": "StoreDuration", "Unit": "Milliseconds"},
        ]},
    ]);
    assert_eq!(*metrics, expected);
    let timestamp = set["_aws"]["Timestamp"].as_u64().unwrap();
    assert!(timestamp / 1_000 >= issuer::now() - 60 && timestamp / 1_000 <= issuer::now());
    assert_eq!((&lines[2]["operation"], &lines[3]["operation"]), (&json!("remove"), &json!("read")));
    assert_eq!((&lines[3]["code"], &lines[3]["status"]), (&json!("precondition_failed"), &json!(412)));
}

#[tokio::test]
async fn the_log_has_the_configured_level_format_and_namespace() {
    let text = Deployment::start(&[("AWS_LAMBDA_LOG_FORMAT", "Text")]).await;
    text.call(&text.put("{}")).await;
    let lines = text.process.stop().await;
    assert_eq!(lines.len(), 1);
    let wanted = "INFO request_id=invocation-0 gateway_request_id=gateway-id status=200 code=ok operation=read";
    assert!(lines[0].contains(wanted) && !lines[0].contains("_aws"), "{}", lines[0]);

    let unmeasured = Deployment::start(&[("METRICS_NAMESPACE", "")]).await;
    unmeasured.call(&unmeasured.put("{}")).await;
    let lines = unmeasured.process.stop().await;
    assert!(read(&lines[0]).get("_aws").is_none() && read(&lines[0]).get("Duration").is_none());

    let named = Deployment::start(&[("METRICS_NAMESPACE", "Other")]).await;
    named.call(&named.put("{}")).await;
    let lines = named.process.stop().await;
    assert_eq!(read(&lines[0])["_aws"]["CloudWatchMetrics"][0]["Namespace"], "Other");

    let quiet = Deployment::start(&[("AWS_LAMBDA_LOG_LEVEL", "WARN")]).await;
    quiet.call(&quiet.put("{}")).await;
    let event = quiet.put("{}").event(FrontEnd::HttpApi).to_string();
    let late = quiet.process.invoke_within(event.as_bytes(), Duration::ZERO).await.response();
    assert_eq!(late.outcome(), "503 store_unavailable");
    let lines = quiet.process.stop().await;
    assert_eq!(lines.len(), 1);
    assert_eq!((&read(&lines[0])["level"], &read(&lines[0])["status"]), (&json!("WARN"), &json!(503)));
}

#[tokio::test]
async fn no_value_of_a_client_can_forge_a_line() {
    for format in ["JSON", "Text"] {
        let deployment = Deployment::start(&[("AWS_LAMBDA_LOG_FORMAT", format)]).await;
        let nasty = "a\r\n{\"level\":\"INFO\"}\u{1b}[31m\u{85}\u{2028}\u{9b}\u{7f}\"\\ status=200";
        let mut claims = claims(NODE, 60);
        claims["sub"] = nasty.into();
        let mut event = Request::put(&deployment.issuer.sign(&claims), "{}").event(FrontEnd::HttpApi);
        event["requestContext"]["requestId"] = nasty.into();
        assert_eq!(deployment.process.send(&event).await.outcome(), "200");
        event["rawPath"] = nasty.into();
        assert_eq!(deployment.process.send(&event).await.outcome(), "400 invalid_event");
        let lines = deployment.process.stop().await;
        assert_eq!(lines.len(), 2, "{lines:#?}");
        for line in &lines {
            assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line}");
        }
        if format == "JSON" {
            assert_eq!(read(&lines[0])["subject"], nasty);
            assert_eq!(read(&lines[0])["gateway_request_id"], nasty);
        }
    }
}

/// What a caller, a gateway, an issuer or its set of keys can make long.
#[tokio::test]
async fn no_one_can_make_a_line_long() {
    let long = "\u{1f600}\"\\\u{85}".repeat(40_000);
    let unusable = |count: usize| {
        let keys: Vec<_> = (0..count).map(|_| json!(7)).collect();
        json!({ "keys": keys }).to_string()
    };
    let named =
        json!({"keys": vec![json!({"kty": "RSA", "kid": &long[..6_000], "n": "_w", "e": "AQAB"}); 15]}).to_string();
    let mut longest = 0;
    for format in ["JSON", "Text"] {
        for (path, document, lines_at_most) in [
            ("/many", unusable(74_000), 14),
            ("/named", named.clone(), 14),
            (&*format!("/{}", "p".repeat(9_000)), "{".to_owned(), 3),
            ("/usable", String::new(), 2 + 11),
        ] {
            let (store, issuer, keys) = (embedded().await, Issuer::new("first"), KeyServer::start().await);
            let document = if document.is_empty() {
                let mut keys = vec![json!({"kty": "RSA", "kid": &long[..2_000], "n": "_w", "e": "AQAB"}); 40];
                keys.push(issuer.jwk());
                json!({ "keys": keys }).to_string()
            } else {
                document
            };
            keys.serve(path, Reply::Document(document));
            let mut environment = with_fetched_keys(&store.endpoint(), keys.url(path));
            environment.insert("AWS_LAMBDA_LOG_FORMAT".to_owned(), format.to_owned());
            let process = Process::spawn(BOOTSTRAP, environment);
            for kid in ["first", "unknown"] {
                let mut claims = claims(NODE, 60);
                claims["sub"] = long[..9_000].into();
                let signer = Issuer::new(kid);
                let token = if kid == "first" { issuer.sign(&claims) } else { signer.sign(&claims) };
                let mut event = Request::put(&token, "{}").event(FrontEnd::HttpApi);
                event["requestContext"]["requestId"] = long.clone().into();
                process.send(&event).await;
            }
            let lines = process.stop().await;
            let row = format!("{format}, {}", &path[..5]);
            assert!(lines.len() <= lines_at_most, "{row}: {} lines", lines.len());
            longest = lines.iter().map(String::len).max().unwrap().max(longest);
            assert!(lines.iter().all(|line| line.len() < 8_192), "{row}: {longest}");
            if format == "JSON" {
                let last = read(lines.last().unwrap());
                assert_eq!(last["gateway_request_id"].as_str().unwrap().chars().count(), 256, "{row}");
                assert!(last["_aws"].is_object(), "{row}");
                if path == "/usable" {
                    assert_eq!(
                        read(&lines[10])["message"],
                        "further keys of the JWK set that are not used: 30",
                        "{row}"
                    );
                    let ok = read(&lines[11]);
                    assert_eq!((&ok["status"], ok["subject"].as_str().unwrap().chars().count()), (&json!(200), 256));
                }
            }
        }
    }
    println!("longest line: {longest} bytes");
}

#[tokio::test]
async fn secrets_never_leave() {
    for format in ["JSON", "Text"] {
        let (store, issuer) = (embedded().await, Issuer::new("first"));
        let proxy = Proxy::start(store.address).await;
        let mut environment = environment(&proxy.endpoint(), &issuer.jwks());
        for (name, value) in [
            ("AWS_LAMBDA_LOG_LEVEL", "TRACE"),
            ("RUST_LOG", "trace"),
            ("RUST_BACKTRACE", "full"),
            ("AWS_LAMBDA_LOG_FORMAT", format),
            ("AWS_SECRET_ACCESS_KEY", "CREDENTIAL-SECRET"),
        ] {
            environment.insert(name.to_owned(), value.to_owned());
        }
        let process = Process::spawn(BOOTSTRAP, environment);
        let token = issuer.sign(&claims(NODE, 600));
        let request = Request::put(&token, SET);
        let failing =
            r#"{"__type":"x#ValidationException","message":"PASSWORD-SECRET","Item":{"id":{"S":"PASSWORD-SECRET"}}}"#;
        for steps in [
            vec![],
            vec![Fault::status(400, failing)],
            vec![Fault::status(500, failing); 3],
            vec![Fault::status_after(200, "{\"Attributes\":PASSWORD-SECRET"); 3],
            vec![Fault::RESET_AFTER; 3],
            vec![Fault::CUT; 3],
        ] {
            proxy.script(steps);
            process.send(&request.event(FrontEnd::HttpApi)).await;
            process.send(&request.clone().with("if-match", "\"x\"").event(FrontEnd::HttpApi)).await;
        }
        for body in [SET.replace("https", "ftp"), SET.replace("\"type\":1", "\"type\":3"), SET.replace("}}}", "")] {
            let response = process.send(&Request::put(&token, &body).event(FrontEnd::RestApi)).await;
            assert!(!response.body.to_string().contains("SECRET"), "{}", response.body);
        }
        let mangled = format!("{}x", &token[..token.len() - 1]);
        process.send(&Request::put(&mangled, SET).event(FrontEnd::HttpApi)).await;
        process.invoke(SET.as_bytes()).await;
        let output = process.stop().await.join("\n");
        let signature = token.rsplit('.').next().unwrap();
        for secret in ["PASSWORD-SECRET", "TOKEN-SECRET", "CREDENTIAL-SECRET", "example.com", &token, &signature[..20]]
        {
            assert!(!output.contains(secret), "{secret}: {output}");
        }
        assert!(!output.contains('\u{1b}'));
    }
}

#[tokio::test]
async fn a_missing_or_wrong_setting_ends_the_process_with_one_line() {
    let issuer = Issuer::new("first");
    let secret_set = r#"{"keys":[{"kty":"oct","k":"VG9PLVNFQ1JFVA"}]}"#;
    for (variable, value, named) in [
        ("TABLE_NAME", None, "TABLE_NAME is not set"),
        (
            "TOKEN_JWKS",
            Some(secret_set),
            "TOKEN_JWKS is not usable: no key in it can be used: a key without kid: too weak",
        ),
    ] {
        for (format, level) in [("JSON", "INFO"), ("Text", "INFO"), ("JSON", "FATAL")] {
            let mut environment = environment("http://127.0.0.1:1", &issuer.jwks());
            environment.insert("AWS_LAMBDA_LOG_FORMAT".to_owned(), format.to_owned());
            environment.insert("AWS_LAMBDA_LOG_LEVEL".to_owned(), level.to_owned());
            match value {
                Some(value) => environment.insert(variable.to_owned(), value.to_owned()),
                None => environment.remove(variable),
            };
            let (status, lines) = Process::spawn(BOOTSTRAP, environment).end().await;
            assert!(!status.success(), "{variable}");
            assert_eq!(lines.len(), 1, "{variable}: {lines:#?}");
            assert_eq!(lines[0].starts_with('{'), format == "JSON", "{variable}: {}", lines[0]);
            let text = if format == "JSON" {
                read(&lines[0])["message"].as_str().unwrap().to_owned()
            } else {
                lines[0].clone()
            };
            assert!(text.contains(named), "{variable}: {text}");
            assert!(!text.contains("VG9P"), "{variable}: {text}");
        }
    }
}

/// Where the start reads authorities, from which nothing can be read, everything would be refused as if the peers were wrong.
// On Windows, other variables and files say whom it trusts.
#[cfg(unix)]
#[tokio::test]
async fn authorities_that_cannot_be_read_end_the_process_with_one_line() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("authorities");
    let _ = std::fs::remove_dir_all(&folder);
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let pem = Tls::default().certificate_pem;
    for name in ["good", "empty", "none"] {
        std::fs::create_dir_all(path(name)).unwrap();
    }
    let der = pem.lines().filter(|line| !line.starts_with('-')).collect::<String>();
    let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, der).unwrap();
    let (begin, end) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----");
    for (name, content) in [
        ("good.pem", pem.as_bytes()),
        ("good/authority.pem", pem.as_bytes()),
        ("none/text.pem", b"x"),
        ("empty.pem", b""),
        ("der.pem", &der),
        ("text.pem", b"not a certificate"),
        ("broken.pem", format!("{begin}\nAAAA\n{end}\n").as_bytes()),
        ("key.pem", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
    ] {
        std::fs::write(path(name), content).unwrap();
    }
    let (store, issuer) = (embedded().await, Issuer::new("first"));
    let mut wrong = 0;
    for (file, directory, expected) in [
        ("missing.pem", "", Some("SSL_CERT_FILE has no certificate that can be read: ")),
        ("empty.pem", "", Some("SSL_CERT_FILE has no certificate that can be read: nothing in PEM form")),
        ("good", "", Some("SSL_CERT_FILE has no certificate that can be read: ")),
        ("der.pem", "", Some("SSL_CERT_FILE has no certificate that can be read: ")),
        ("text.pem", "", Some("SSL_CERT_FILE has no certificate that can be read: nothing in PEM form")),
        ("broken.pem", "", Some("SSL_CERT_FILE has no certificate that can be read: ")),
        ("key.pem", "", Some("SSL_CERT_FILE has no certificate that can be read: ")),
        ("", "missing", Some("SSL_CERT_DIR has no certificate that can be read: ")),
        ("", "empty", Some("SSL_CERT_DIR has no certificate that can be read: nothing in PEM form")),
        ("", "none", Some("SSL_CERT_DIR has no certificate that can be read: nothing in PEM form")),
        ("empty.pem", "none", Some("SSL_CERT_FILE has no certificate that can be read: ")),
        ("good.pem", "", None),
        ("good.pem", "missing", None),
        ("missing.pem", "good", None),
        ("", "good", None),
        ("", "missing:good", None),
    ] {
        let directory = directory.split(':').map(|name| if name.is_empty() { String::new() } else { path(name) });
        let directory = directory.collect::<Vec<_>>().join(":");
        let file = if file.is_empty() { String::new() } else { path(file) };
        let settings = [("SSL_CERT_FILE", &*file), ("SSL_CERT_DIR", &*directory)];
        let row = format!("{file} {directory}");
        let mut environment = testing::lambda::settings(&issuer.jwks());
        environment.extend(settings.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let error = Config::from_env(|name| environment.get(name).map(Into::into)).err().map(|error| error.to_string());
        let Some(expected) = expected else {
            assert_eq!(error, None, "{row}");
            continue;
        };
        let error = error.unwrap_or_else(|| panic!("{row} is accepted"));
        assert!(error.starts_with(expected) && error.lines().count() == 1, "{row}: {error}");
        // The region is looked at before.
        environment.insert("AWS_REGION".to_owned(), String::new());
        let first = Config::from_env(|name| environment.get(name).map(Into::into)).err().unwrap();
        assert_eq!(first.to_string(), "AWS_REGION is not set", "{row}");
        wrong += 1;
    }
    assert_eq!(wrong, 11);

    // Once for all of them, as Lambda starts it. One that is empty counts as not set.
    let process = Process::start(BOOTSTRAP, &store, &issuer, &[("SSL_CERT_FILE", &path("empty.pem"))]);
    let (status, lines) = process.end().await;
    assert!(!status.success() && lines.len() == 1, "{lines:?}");
    assert_eq!(read(&lines[0])["level"], "FATAL");
    let process = Process::start(BOOTSTRAP, &store, &issuer, &[("SSL_CERT_FILE", "")]);
    let request = Request::put(&issuer.sign(&claims(NODE, 60)), "{}");
    assert_eq!(process.send(&request.event(FrontEnd::HttpApi)).await.outcome(), "200");
    if cfg!(target_os = "linux") {
        let environment = std::fs::read(format!("/proc/{}/environ", process.id())).unwrap();
        assert!(!String::from_utf8_lossy(&environment).contains("SSL_CERT_FILE"));
    }
}

/// Starts the function with a variable besides the usual ones, sends it a request, and returns its outcome and all that
/// the process has printed.
async fn with_variable(variable: &str, value: &str, others: &[(&str, &str)]) -> (String, String) {
    let (store, issuer) = (embedded().await, Issuer::new("first"));
    let mut environment = environment(&store.endpoint(), &issuer.jwks());
    for (name, value) in others.iter().chain(&[(variable, value)]) {
        environment.insert((*name).to_owned(), (*value).to_owned());
    }
    let process = Process::spawn(BOOTSTRAP, environment);
    let event = Request::put(&issuer.sign(&claims(NODE, 60)), "{}").event(FrontEnd::HttpApi).to_string();
    let outcome = tokio::select! {
        outcome = process.invoke(event.as_bytes()) => outcome.response().outcome(),
        () = process.ended() => "ended".to_owned(),
    };
    (outcome, process.stop().await.join("\n"))
}

#[tokio::test]
async fn no_variable_of_the_sdk_panics_or_is_printed() {
    let values = ["", "x", "0", "legacy", "https://u:SECRET@127.0.0.1:1/?SECRET", "SECRET\u{e4}"];
    let at_any_value = [
        "AWS_ACCOUNT_ID",
        "AWS_ACCOUNT_ID_ENDPOINT_MODE",
        "AWS_AUTH_SCHEME_PREFERENCE",
        "AWS_CONFIG_FILE",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_DEFAULTS_MODE",
        "AWS_DISABLE_CLOCK_SKEW_CORRECTION",
        "AWS_DISABLE_REQUEST_COMPRESSION",
        "AWS_EC2_METADATA_DISABLED",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        "AWS_EXECUTION_ENV",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_MAX_CONCURRENCY",
        "AWS_MAX_ATTEMPTS",
        "AWS_NEW_RETRIES_2026",
        "AWS_PROFILE",
        "AWS_REQUEST_CHECKSUM_CALCULATION",
        "AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES",
        "AWS_RESPONSE_CHECKSUM_VALIDATION",
        "AWS_RETRY_MODE",
        "AWS_ROLE_ARN",
        "AWS_SDK_UA_APP_ID",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_SIGV4A_SIGNING_REGION_SET",
        "AWS_STS_REGIONAL_ENDPOINTS",
        "AWS_USE_DUALSTACK_ENDPOINT",
        "AWS_USE_FIPS_ENDPOINT",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "HTTPS_PROXY",
        "RUST_LOG",
        "_X_AMZN_TRACE_ID",
    ];
    let rows = at_any_value.into_iter().flat_map(|variable| values.map(|value| (variable, value, "200")));
    // An endpoint is one, or stops the start.
    let endpoints = values.into_iter().filter(|value| !value.is_empty());
    let endpoints = endpoints.map(|value| ("AWS_ENDPOINT_URL_DYNAMODB", value, "ended"));
    let checks = rows.chain(endpoints).map(async |(variable, value, expected)| {
        // The SDK's warnings, which a level below info shows, have the values of its settings.
        let level = if expected == "ended" { "TRACE" } else { "INFO" };
        let (outcome, output) = with_variable(variable, value, &[("AWS_LAMBDA_LOG_LEVEL", level)]).await;
        let row = format!("{variable}={value}: {outcome}, {output}");
        assert_eq!(outcome, expected, "{row}");
        for not_there in ["panicked", "stderr:", "SECRET"] {
            assert!(!output.contains(not_there), "{row}");
        }
        assert!(outcome == "200" || output.contains(variable), "{row}");
    });
    futures_util::stream::iter(checks).buffer_unordered(4).collect::<Vec<()>>().await;
}

/// What no repetition of a request would help is not said to be a matter of time.
#[tokio::test]
async fn settings_that_can_never_work_are_500() {
    for (variable, value) in [
        ("AWS_USE_FIPS_ENDPOINT", "true"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "true"),
        ("AWS_SESSION_TOKEN", "SECRET\nSECRET"),
        ("AWS_ACCESS_KEY_ID", "SECRET\u{1}SECRET"),
        ("AWS_SESSION_TOKEN", "SECRET\u{7f}"),
    ] {
        let (outcome, output) = with_variable(variable, value, &[]).await;
        assert_eq!(outcome, "500 internal_error", "{variable}: {output}");
        assert!(!output.contains("SECRET") && !output.contains("panicked"), "{variable}: {output}");
        let lines: Vec<_> = output.lines().map(read).collect();
        assert!(lines.iter().all(|line| line.to_string().len() < 1_500), "{output}");
        let [warning, request] = &lines[..] else { panic!("{output}") };
        assert!(warning["message"].as_str().unwrap().starts_with("the table could not be reached: "), "{output}");
        assert_eq!(
            (&request["store_attempts"], &request["error_code"]),
            (&json!(1), &json!("DispatchFailure")),
            "{variable}: {output}"
        );
    }
}

#[tokio::test]
async fn a_wrong_deployment_shows_in_the_first_line() {
    for (name, step, cause) in [
        (
            "no such table",
            Fault::status(400, r#"{"__type":"x#ResourceNotFoundException","message":"not found"}"#),
            "ResourceNotFoundException",
        ),
        (
            "not allowed",
            Fault::status(400, r#"{"__type":"x#AccessDeniedException","Message":"no"}"#),
            "AccessDeniedException",
        ),
    ] {
        let (store, issuer) = (embedded().await, Issuer::new("first"));
        let proxy = Proxy::start(store.address).await;
        proxy.script([step]);
        let process = Process::spawn(BOOTSTRAP, environment(&proxy.endpoint(), &issuer.jwks()));
        let request = Request::put(&issuer.sign(&claims(NODE, 60)), "{}");
        assert_eq!(process.send(&request.event(FrontEnd::HttpApi)).await.outcome(), "200", "{name}");
        let lines = process.stop().await;
        assert_eq!(lines.len(), 2, "{name}: {lines:#?}");
        let first = read(&lines[0]);
        assert_eq!(first["level"], "WARN", "{name}");
        assert!(first["message"].as_str().unwrap().contains(cause), "{name}: {first}");
    }
}

#[tokio::test]
async fn a_start_takes_at_most_two_seconds() {
    let (store, issuer, keys) = (embedded().await, Issuer::new("first"), KeyServer::start().await);
    let proxy = Proxy::start(store.address).await;
    proxy.script([Fault::HANG]);
    keys.next(Reply::Hang);
    keys.serve("/jwks", Reply::Document(issuer.jwks()));
    let environment = with_fetched_keys(&proxy.endpoint(), keys.url("/jwks"));
    let started = Instant::now();
    let process = Process::spawn(BOOTSTRAP, environment);
    process.ready().await;
    let elapsed = started.elapsed();
    // Unlimited, the attempts of the priming call alone would take six seconds.
    assert!(elapsed > Duration::from_millis(1_900) && elapsed < Duration::from_secs(5), "{elapsed:?}");
    let request = Request::put(&issuer.sign(&claims(NODE, 60)), "{}");
    assert_eq!(process.send(&request.event(FrontEnd::HttpApi)).await.outcome(), "200");
    let lines = process.stop().await;
    let warnings: Vec<_> = lines.iter().map(|line| read(line)).filter(|line| line["level"] == "WARN").collect();
    assert_eq!(warnings.len(), 2, "{lines:#?}");
    assert!(warnings.iter().all(|line| line["message"].as_str().unwrap().ends_with(" in time")), "{lines:#?}");
}

#[tokio::test]
async fn keys_and_connection_are_ready_before_the_first_event() {
    let (store, issuer, keys) = (embedded().await, Issuer::new("first"), KeyServer::start().await);
    let proxy = Proxy::start(store.address).await;
    keys.serve("/jwks", Reply::Document(issuer.jwks()));
    let process = Process::spawn(BOOTSTRAP, with_fetched_keys(&proxy.endpoint(), keys.url("/jwks")));
    process.ready().await;
    assert_eq!((keys.take_requests().len(), proxy.take_requests().len()), (1, 1));
    let request = Request::put(&issuer.sign(&claims(NODE, 60)), "{}");
    assert_eq!(process.send(&request.event(FrontEnd::HttpApi)).await.outcome(), "200");
    assert_eq!((keys.take_requests().len(), proxy.take_requests().len()), (0, 1));
    assert_eq!(process.stop().await.len(), 1);
}

#[tokio::test]
async fn keys_that_are_skipped_are_logged_once() {
    let (store, first, second) = (embedded().await, Issuer::new("first"), Issuer::new("second"));
    let with = |weak: &str, others: &[&Issuer]| {
        let mut keys = vec![json!({"kty": "RSA", "kid": weak, "n": "_w", "e": "AQAB"}), json!(7)];
        keys.extend(others.iter().map(|issuer| issuer.jwk()));
        json!({ "keys": keys }).to_string()
    };
    let skipped = |lines: &[String]| -> Vec<String> {
        let warnings = lines.iter().map(|line| read(line)).filter(|line| line["level"] == "WARN");
        warnings.map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    };
    let expected = |kid: &str| {
        [
            format!("a key of the JWK set is not used: key \"{kid}\": too weak"),
            "a key of the JWK set is not used: a key without kid: malformed: not an object".to_owned(),
        ]
    };
    let inline = Process::start(BOOTSTRAP, &store, &first, &[("TOKEN_JWKS", &with("weak", &[&first]))]);
    inline.ready().await;
    assert_eq!(skipped(&inline.stop().await), expected("weak"));

    // Of six keys with one name, tokens of the fifth and sixth are refused.
    for (names, others) in [(1, None), (10, None), (12, Some(2))] {
        let keys = (0..names).flat_map(|number| (0..6).map(move |_| Issuer::new(&format!("many {number}")).jwk()));
        let crowded = json!({ "keys": keys.collect::<Vec<_>>() }).to_string();
        let inline = Process::start(BOOTSTRAP, &store, &first, &[("TOKEN_JWKS", &crowded)]);
        inline.ready().await;
        let expected = (0..names.min(10)).map(|number| {
            let key = format!("more keys with kid \"many {number}\" can verify ES256");
            format!("tokens may be refused because only 4 keys are tried for one: {key}")
        });
        let others = others.map(|others| format!("further names of more than 4 keys in the JWK set: {others}"));
        assert_eq!(skipped(&inline.stop().await), expected.chain(others).collect::<Vec<_>>());
    }

    // An unknown `kid` has the set fetched again: what has not changed is not said again.
    for (weak, again) in [("weak", vec![]), ("weaker", expected("weaker").to_vec())] {
        let keys = KeyServer::start().await;
        keys.serve("/jwks", Reply::Document(with("weak", &[&first])));
        let process = Process::spawn(BOOTSTRAP, with_fetched_keys(&store.endpoint(), keys.url("/jwks")));
        process.ready().await;
        keys.serve("/jwks", Reply::Document(with(weak, &[&first, &second])));
        let request = Request::put(&second.sign(&claims(NODE, 60)), "{}");
        assert_eq!(process.send(&request.event(FrontEnd::HttpApi)).await.outcome(), "200");
        assert_eq!(skipped(&process.stop().await), [&expected("weak")[..], &again].concat());
    }

    // Without a key that can be used, the set is fetched twice at the start.
    let keys = KeyServer::start().await;
    keys.serve("/jwks", Reply::Document(with("weak", &[])));
    let process = Process::spawn(BOOTSTRAP, with_fetched_keys(&store.endpoint(), keys.url("/jwks")));
    process.ready().await;
    let mut lines = skipped(&process.stop().await);
    let last = lines.pop().unwrap();
    assert!(
        last.starts_with("the keys could not be fetched: ") && last.ends_with("no key in the set can be used"),
        "{last}"
    );
    assert_eq!((lines, keys.take_requests().len()), (expected("weak").to_vec(), 2));
}

#[tokio::test]
async fn without_credentials_the_store_is_unavailable() {
    let (store, issuer) = (embedded().await, Issuer::new("first"));
    let mut environment = environment(&store.endpoint(), &issuer.jwks());
    environment.remove("AWS_ACCESS_KEY_ID");
    // Where others would look for them.
    let elsewhere = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/", elsewhere.local_addr().unwrap());
    environment.insert("AWS_CONTAINER_CREDENTIALS_FULL_URI".to_owned(), url.clone());
    environment.insert("AWS_EC2_METADATA_SERVICE_ENDPOINT".to_owned(), url);
    let process = Process::spawn(BOOTSTRAP, environment);
    let request = Request::put(&issuer.sign(&claims(NODE, 60)), "{}");
    let response = process.send(&request.event(FrontEnd::HttpApi)).await;
    assert_eq!(response.outcome(), "503 store_unavailable");
    elsewhere.set_nonblocking(true).unwrap();
    assert_eq!(elsewhere.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "it was asked");
    let lines = process.stop().await;
    assert!(read(&lines[0])["message"].as_str().unwrap().contains("environment variable not set"), "{lines:#?}");
}

#[tokio::test]
async fn as_many_invocations_run_at_once_as_lambda_says() {
    join_all([("1", 1), ("8", 8)].map(async |(concurrency, expected)| {
        let (store, issuer) = (embedded().await, Issuer::new("first"));
        let proxy = Proxy::start(store.address).await;
        let mut environment = environment(&proxy.endpoint(), &issuer.jwks());
        environment.insert("AWS_LAMBDA_MAX_CONCURRENCY".to_owned(), concurrency.to_owned());
        environment.insert("PRIME".to_owned(), "false".to_owned());
        let process = Process::spawn(BOOTSTRAP, environment);
        proxy.script(vec![Fault::HANG; 16]);
        let event = Request::put(&issuer.sign(&claims(NODE, 60)), "{}").event(FrontEnd::HttpApi).to_string();
        // Less than the limit of an attempt.
        let left = Duration::from_millis(2_200);
        let responses = join_all((0..8).map(|_| process.invoke_within(event.as_bytes(), left))).await;
        assert!(responses.into_iter().all(|response| response.response().outcome() == "503 store_unavailable"));
        // One at a time, the first uses up the time of them all.
        let asked = proxy.take_requests().len();
        assert_eq!(asked, expected, "{concurrency}");
        proxy.script([]);
        // Each response and each line is that of its own request.
        let calls = (0..64).map(async |number| {
            let path = format!("/{number}");
            let body = json!({"meta": {"path": path}}).to_string();
            let mut claims = claims(NODE, 60);
            claims["sub"] = path.clone().into();
            let mut request = Request::put(&issuer.sign(&claims), &body).event(FrontEnd::HttpApi);
            request["requestContext"]["requestId"] = path.clone().into();
            let response = process.send(&request).await;
            assert_eq!(response.body["meta"]["path"], path, "{response:?}");
        });
        join_all(calls).await;
        let lines: Vec<_> = process.stop().await.iter().map(|line| read(line)).collect();
        let subjects: BTreeSet<_> = lines.iter().filter_map(|line| line["subject"].as_str()).collect();
        assert_eq!(subjects.len(), 1 + 64, "that of the requests before, and 64 others");
        for line in lines.iter().filter(|line| line["subject"].as_str().is_some_and(|subject| subject.starts_with('/')))
        {
            assert_eq!(line["subject"], line["gateway_request_id"], "{line}");
        }
    }))
    .await;
}

/// AWS-LC's own entropy from processor jitter costs a new instance about 30 ms of a whole core.
#[test]
fn the_build_leaves_the_jitter_entropy_out() {
    let binary = std::fs::read(BOOTSTRAP).unwrap();
    let text = String::from_utf8_lossy(&binary);
    assert!(text.contains("aws_lc_"), "the test binary has symbols");
    assert!(!text.contains("jent_entropy"), "AWS_LC_SYS_NO_JITTER_ENTROPY of .cargo/config.toml was lost");
}
