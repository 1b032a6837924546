//! The providers of `docs/issuers.md`: of each, a token in the shape of its documents is accepted, and one with one
//! thing wrong is refused. The keys are our own. `check-token` says the same of each.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use testing::issuer::key_server::KeyServer;
use testing::issuer::now;
use testing::issuer::reply::Reply;
use testing::issuer::signer::Signer;
use testing::lambda::function::Function;
use testing::lambda::{self, Settings};
use update_distributor::clients::Clients;

use explanation::{Explanation, explain};

#[path = "../../examples/check-token/explanation.rs"]
mod explanation;

#[derive(Deserialize)]
struct Provider {
    #[serde(rename = "provider")]
    name: String,
    /// The path of its issuer.
    path: String,
    /// The algorithm of its signatures.
    signs: String,
    /// The members of its discovery document, besides those that are read. Without it, its keys are not found by
    /// discovery, but at this path.
    metadata: Option<Map<String, Value>>,
    jwks_path: Option<String>,
    /// The key that signs has the `kid` `$signer`.
    keys: Vec<Map<String, Value>>,
    header: Map<String, Value>,
    claims: Map<String, Value>,
    settings: Map<String, Value>,
    refused: Refused,
}

#[derive(Deserialize)]
struct Refused {
    why: String,
    #[serde(default)]
    header: Map<String, Value>,
    #[serde(default)]
    claims: Map<String, Value>,
    signs: Option<String>,
    expected: String,
}

fn providers() -> Vec<Provider> {
    serde_json::from_str(include_str!("../data/issuers.json")).unwrap()
}

/// Puts in what the data leaves open.
fn fill(value: &Value, base: &str, issuer: &str, key: &Value) -> Value {
    match value {
        Value::String(text) => match text.as_str() {
            "$now" => json!(now()),
            "$later" => json!(now() + 600),
            "$past" => json!(now() - 600),
            "$signer" => json!("signer/1+="),
            name if name.len() == 2 && name.starts_with('$') => key[&name[1..]].clone(),
            text => text.replace("{base}", base).replace("{issuer}", issuer).into(),
        },
        Value::Array(values) => values.iter().map(|value| fill(value, base, issuer, key)).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), fill(value, base, issuer, key))).collect()
        }
        other => other.clone(),
    }
}

fn signer(alg: &str) -> Signer {
    if alg == "ES256" { Signer::p256() } else { Signer::rsa(2_048) }
}

#[tokio::test]
async fn tokens_of_every_provider_are_accepted_and_refused_with_one_thing_wrong() {
    // By algorithm, a provider's key and another. RSA keys take long to make, and so all providers have the same.
    let mut signers = HashMap::new();
    for provider in providers() {
        let server = KeyServer::start().await;
        let base = server.url("");
        let issuer = format!("{base}{}", provider.path);
        let alg = &provider.signs;
        let [key, other] = signers.entry(alg.clone()).or_insert_with(|| [signer(alg), signer(alg)]);
        let filled = |object: &Map<String, Value>, jwk: &Value| fill(&object.clone().into(), &base, &issuer, jwk);
        let keys: Vec<_> = provider
            .keys
            .iter()
            .map(|template| filled(template, &if template["kid"] == "$signer" { key.jwk() } else { other.jwk() }))
            .collect();
        let jwks = Reply::Document(json!({ "keys": keys }).to_string());
        if let Some(metadata) = &provider.metadata {
            let mut metadata = filled(metadata, &Value::Null);
            metadata["issuer"] = json!(issuer);
            metadata["jwks_uri"] = json!(server.url("/keys"));
            let path = format!("{}/.well-known/openid-configuration", provider.path.trim_end_matches('/'));
            server.serve(&path, Reply::Document(metadata.to_string()));
            server.serve("/keys", jwks);
        } else {
            server.serve(provider.jwks_path.as_deref().unwrap(), jwks);
        }
        let mut settings = vec![("TOKEN_JWKS".to_owned(), String::new()), ("TOKEN_ISSUER".to_owned(), issuer.clone())];
        for (name, value) in filled(&provider.settings, &Value::Null).as_object().unwrap() {
            settings.retain(|(known, _)| known != name);
            settings.push((name.clone(), value.as_str().unwrap().to_owned()));
        }
        let borrowed: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let function = Function::with_settings(&borrowed).await;

        let call = async |header: &Map<String, Value>, claims: &Map<String, Value>, signer: &Signer, alg: &str| {
            let token = signer.sign(alg, &filled(header, &Value::Null), &filled(claims, &Value::Null));
            let request = function.put("{}").set("authorization", &format!("Bearer {token}"));
            let outcome = function.call(&request).await.outcome();
            assert_eq!(explained(&settings, &token).await, outcome, "{}", provider.name);
            outcome
        };
        let accepted = call(&provider.header, &provider.claims, key, alg).await;
        assert_eq!(accepted, "200", "{}: {}", provider.name, function.last_line());

        let Refused { why, header, claims, signs, expected } = provider.refused;
        let (mut bad_header, mut bad_claims) = (provider.header.clone(), provider.claims.clone());
        bad_header.extend(header);
        bad_claims.extend(claims);
        let refused = match signs.as_deref() {
            // The public key as the secret, as those who confuse algorithms would use it.
            Some(alg) => call(&bad_header, &bad_claims, &Signer::Secret(key.public_der()), alg).await,
            None => call(&bad_header, &bad_claims, key, alg).await,
        };
        assert_eq!(refused, expected, "{}: {why}", provider.name);
        let forged = call(&provider.header, &provider.claims, other, alg).await;
        assert_eq!(forged, "401 invalid_token", "{}", provider.name);
        println!("{:<36} {accepted}, {why}: {refused}", provider.name);
    }
}

/// Returns what `check-token` says of a token, as the outcome of a request.
async fn explained(settings: &[(String, String)], token: &str) -> String {
    let mut all = lambda::settings("");
    all.extend(settings.iter().cloned().collect::<Settings>());
    let config = lambda::config(&all);
    let http = Clients::from_env(&config.aws).await.unpooled;
    let Explanation { text, refused } = explain(config.token_rules, &http, token, false).await;
    println!("{text}");
    assert!(!token.split('.').any(|part| text.contains(part)), "part of the token is printed");
    refused.map_or("200".to_owned(), |code| format!("{} {}", code.status().as_u16(), code.name()))
}

#[test]
fn the_documentation_has_the_settings_of_every_provider() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/issuers.md");
    let text = std::fs::read_to_string(path).unwrap();
    let sections: Vec<_> = text.split("\n## ").skip(1).collect();
    let mut described: Vec<_> = sections.iter().map(|section| section.lines().next().unwrap()).collect();
    described.retain(|title| *title != "Any other issuer");
    assert_eq!(described, providers().iter().map(|provider| provider.name.clone()).collect::<Vec<_>>());
    for provider in providers() {
        let section = sections.iter().find(|section| section.lines().next() == Some(&provider.name)).unwrap();
        for name in provider.settings.keys() {
            assert!(section.contains(&format!("`{name}`")), "{}: {name}", provider.name);
        }
    }
}
