//! What the function itself does for a request, without the store.

// A benchmark that cannot be set up has nothing to measure.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use divan::{Bencher, black_box};
use serde_json::json;
use testing::issuer;
use testing::issuer::signer::Signer;
use testing::lambda::request;
use testing::lambda::request::{FrontEnd, READ, REMOVE, SET};
use testing::store::embedded;
use testing::store::embedded::NODE;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;
use update_distributor::body;
use update_distributor::clock::Clock;
use update_distributor::event::Event;
use update_distributor::token::Verifier;
use update_distributor::token::claims::{ClaimName, ClaimRules};
use update_distributor::token::fetch::Fetcher;
use update_distributor::token::issuer::{Issuer as AcceptedIssuer, Keys};
use update_distributor::token::key_set::KeySet;
use update_distributor::update::{Access, Change};
use update_distributor::webhook::{Host, HostPolicy, Path};

fn main() {
    divan::main();
}

#[divan::bench(args = [FrontEnd::HttpApi, FrontEnd::RestApi, FrontEnd::LoadBalancer])]
fn event(bencher: Bencher<'_, '_>, front_end: FrontEnd) {
    let event = request::Request::put(&"x".repeat(600), SET).event(front_end).to_string();
    bencher.bench(|| {
        let request = update_distributor::request::Request::new(Event::parse(event.as_bytes()).unwrap()).unwrap();
        let id = request.route().unwrap().id().unwrap();
        let token = request.bearer_token().unwrap().len();
        (id, token, request.body().unwrap().len())
    });
}

#[divan::bench(args = [SET, REMOVE, READ])]
fn body_to_change(text: &str) -> Change {
    body::change(black_box(text).as_bytes(), HostPolicy::Public).unwrap()
}

/// Bodies of nearly 16 KB whose members are all ignored: what reading costs by itself.
#[divan::bench(args = ["numbers", "numbers, nested", "arrays, nested", "objects", "names", "strings", "escapes"])]
fn a_long_body(bencher: Bencher<'_, '_>, shape: &str) {
    let fill = |part: &str, size: usize| vec![part; size / (part.len() + 1)].join(",");
    let nested = |inside: String| format!("{}{inside}{}", "[".repeat(124), "]".repeat(124));
    let value = match shape {
        "numbers" => format!("[{}]", fill("0", 16_000)),
        "numbers, nested" => nested(fill("0", 15_700)),
        "arrays, nested" => nested(fill("[]", 15_700)),
        "objects" => format!("[{}]", fill(r#"{"":0}"#, 16_000)),
        "names" => {
            let members: Vec<_> = (0..1_700).map(|number| format!("\"{number:x}\":0")).collect();
            format!("{{{}}}", members.join(","))
        }
        "strings" => format!("[{}]", fill("\"\"", 16_000)),
        _ => format!("[\"{}\"]", "\\u00e4".repeat(2_600)),
    };
    let text = format!("{{\"id\":{value}}}");
    assert!(text.len() <= 16_384, "{shape}: {}", text.len());
    bencher.bench(|| body::change(black_box(&text).as_bytes(), HostPolicy::Public).unwrap());
}

#[divan::bench(args = ["https://example.com222", "https://[2606:4700:4700::1111]:8443/"])]
fn host(text: &str) -> Host {
    Host::new(black_box(text), HostPolicy::Public).unwrap()
}

#[divan::bench]
fn path() -> Path {
    Path::new(black_box("/webhook?a=b")).unwrap()
}

/// A token that the process has not seen before.
#[divan::bench(args = ["ES256", "ES384", "EdDSA", "RS256", "PS256", "HS256"])]
fn new_token(bencher: Bencher<'_, '_>, alg: &str) {
    let issuer = Issuer::new(alg);
    let mut number = 0;
    let token = || {
        number += 1;
        issuer.token(number)
    };
    bencher.with_inputs(token).bench_local_values(|token| issuer.verify(&token));
}

#[divan::bench(args = ["ES256", "RS256"])]
fn the_same_token(bencher: Bencher<'_, '_>, alg: &str) {
    let issuer = Issuer::new(alg);
    let token = issuer.token(0);
    bencher.bench_local(|| issuer.verify(&token));
}

struct Issuer<'a> {
    alg: &'a str,
    signer: Signer,
    verifier: Verifier,
    runtime: Runtime,
}

impl<'a> Issuer<'a> {
    fn new(alg: &'a str) -> Self {
        let signer = match alg {
            "ES256" => Signer::p256(),
            "ES384" => Signer::p384(),
            "EdDSA" => Signer::ed25519(),
            "HS256" => Signer::Secret(vec![7; 32]),
            _ => Signer::rsa(2_048),
        };
        let mut jwk = signer.jwk();
        jwk["alg"] = alg.into();
        let keys = KeySet::inline(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap();
        let rules = ClaimRules {
            issuers: vec![AcceptedIssuer { name: issuer::ISSUER.to_owned(), keys: Keys::Inline(Arc::new(keys)) }],
            audience: [issuer::AUDIENCE.to_owned()].into(),
            scope: None,
            node_claim: ClaimName::parse("node_id"),
        };
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let http = runtime.block_on(embedded::clients("http://127.0.0.1:1")).unpooled;
        let verifier = Verifier::new(rules, Fetcher { http, clock: Clock::system() });
        Self { alg, signer, verifier, runtime }
    }

    fn token(&self, number: usize) -> String {
        let mut claims = issuer::claims(NODE, 3_600);
        claims["jti"] = number.to_string().into();
        self.signer.sign(self.alg, &json!({"alg": self.alg}), &claims)
    }

    fn verify(&self, token: &str) -> Access {
        let deadline = Instant::now() + Duration::from_secs(1);
        self.runtime.block_on(self.verifier.verify(token, deadline)).unwrap().authorize().unwrap()
    }
}
