//! The CPU of each kind of refusal, as a ratio to that of a 200: a caller must not be able to make the function work for nothing.

use serde_json::{Value, json};
use testing::issuer::{Issuer, claims, encode};
use testing::lambda::request::{FrontEnd, READ, Request, SET};
use testing::lambda::runtime_api::RuntimeApi;
use testing::store::embedded::{ID, NODE};

use super::{Process, Variant, World, milliseconds};

/// Requests of each kind, and before them, for warmth.
const REQUESTS: usize = 60;
const WARMING: usize = 5;

/// Measures them with the binary of a variant, and prints a table in Markdown.
pub async fn measure(world: &World, variant: &Variant<'_>) {
    let issuer = Issuer::new("ES256");
    let keys: Vec<_> = (0..4).map(rsa_8192).chain([issuer.jwk()]).collect();
    let jwks = json!({ "keys": keys }).to_string();
    let settings = [("TOKEN_JWKS", jwks.as_str()), ("TOKEN_SCOPE", "write")];
    let api = RuntimeApi::start();
    let process = Process::start(world, variant, &api, 1, &settings);
    api.ready().await;

    println!("| request | response | CPU | ratio to a 200 |");
    println!("| --- | --- | --- | --- |");
    let mut of_200 = None;
    for (name, event) in kinds(&issuer) {
        let event = event.to_string();
        let mut outcome = String::new();
        let mut before = process.cpu();
        for number in 0..WARMING + REQUESTS {
            if number == WARMING {
                before = process.cpu();
            }
            outcome = api.invoke(event.as_bytes()).await.response().outcome();
            api.ready().await;
        }
        let cpu = milliseconds(process.cpu().saturating_sub(before)) / REQUESTS as f64;
        let ratio = cpu / *of_200.get_or_insert(cpu);
        println!("| {name} | {outcome} | {cpu:.3} ms | {ratio:.2} |");
    }
}

/// A key that no one has the other half of.
fn rsa_8192(number: u8) -> Value {
    let mut modulus = vec![0xa5 ^ number; 1_024];
    modulus[1_023] |= 1;
    json!({"kty": "RSA", "kid": "RSA", "alg": "RS256", "n": encode(&modulus), "e": "AQAB"})
}

fn kinds(issuer: &Issuer) -> Vec<(&'static str, Value)> {
    let claims = |change: Value| {
        let mut claims = claims(NODE, 36_000);
        claims["scope"] = "write".into();
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        claims
    };
    let token = issuer.sign(&claims(json!({})));
    let with = |token: &str, body: &str| Request::put(token, body);
    let event = |request: &Request| request.event(FrontEnd::HttpApi);
    let signed = |change: Value| event(&with(&issuer.sign(&claims(change)), SET));
    let good = with(&token, SET);
    let large = |length: usize| "a".repeat(length);
    let rsa_header = encode(br#"{"alg":"RS256","kid":"RSA"}"#);
    let rsa_token = format!("{rsa_header}.{}.{}", token.split('.').nth(1).unwrap(), encode(&[0x21; 1_024]));
    let tags: Vec<_> = (0..100).map(|tag| format!("\"{tag}\"")).collect();
    let mut many_headers = good.clone();
    for number in 0..10_000 {
        many_headers = many_headers.with(&format!("x-{number}"), "1");
    }
    let errors: Vec<_> = (0..1_000).map(|number| format!("\"a{number}\":1")).collect();
    let errors = format!("{{{}}}", errors.join(","));
    vec![
        ("set", event(&good)),
        ("a header of 10 KB with a control character", event(&good.clone().with("x-a", &(large(10_000) + "\u{1}")))),
        ("another path", event(&good.clone().path("/x"))),
        ("another method", event(&good.clone().method("GET"))),
        ("no token", event(&good.clone().without("authorization"))),
        ("a token of 16 KB that is none", event(&with(&large(16_384), SET))),
        ("a signature of another key, ES256", event(&with(&Issuer::new("ES256").sign(&claims(json!({}))), SET))),
        ("four candidates of RSA with 8,192 bits", event(&with(&rsa_token, SET))),
        ("an unknown kid", event(&with(&Issuer::new("other").sign(&claims(json!({}))), SET))),
        ("an expired token", signed(json!({"exp": 1}))),
        ("another scope", signed(json!({"scope": "read"}))),
        ("no node", signed(json!({"node_id": null}))),
        ("another target server", event(&good.clone().set("x-target-server", "x"))),
        ("another id", event(&good.clone().path("/api/v1/integration/distributors/x"))),
        ("an If-Match that is none", event(&good.clone().with("if-match", &large(8_000)))),
        ("another media type", event(&good.clone().set("content-type", "text/plain"))),
        ("a body of 6 MB", event(&with(&token, &large(6_000_000)))),
        ("a body of 6 MB without a token", event(&with("", &large(6_000_000)).without("authorization"))),
        ("a body of 16 KB that is no JSON", event(&with(&token, &("[".repeat(16_384))))),
        ("a body of 9 KB with 1,000 errors", event(&with(&token, &errors))),
        ("10,000 headers", event(&many_headers)),
        ("10,000 headers without a token", event(&many_headers.without("authorization"))),
        ("100 tags that do not match", event(&good.clone().with("if-match", &tags.join(", ")).body(r#"{"meta":{}}"#))),
        ("a read", event(&with(&token, READ))),
        (
            "another distributor",
            event(&good.clone().path(&format!("/api/v1/integration/distributors/{}", ID.replace('3', "4")))),
        ),
    ]
}
