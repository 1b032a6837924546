//! The token: its signature, header and claims, and where the keys come from.

use std::time::{Duration, Instant, SystemTime};

use futures_util::future::join_all;
use serde_json::{Value, json};

use update_distributor::clients::Clients;
use update_distributor::clock::Clock;

use testing::fault::Fault;
use testing::issuer::key_server::KeyServer;
use testing::issuer::reply::Reply;
use testing::issuer::signer::Signer;
use testing::issuer::{AUDIENCE, ISSUER, Issuer, claims, encode, now};
use testing::lambda::function::{Function, embedded};
use testing::lambda::request::Response;
use testing::proxy::Proxy;
use testing::store::embedded::{self, Embedded, NODE};

fn with(mut object: Value, members: Value) -> Value {
    let Value::Object(members) = members else { panic!("members: {members}") };
    object.as_object_mut().unwrap().extend(members);
    object
}

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

async fn call(function: &Function, token: &str) -> Response {
    function.call(&function.put("{}").set("authorization", &format!("Bearer {token}"))).await
}

async fn with_keys(keys: &[Value]) -> Function {
    Function::with_settings(&[("TOKEN_JWKS", &set(keys))]).await
}

/// Algorithms that verify with a key, by what `alg` of the key says.
#[tokio::test]
async fn a_key_verifies_the_algorithms_of_its_type_or_the_one_it_names() {
    let signers = [
        (Signer::rsa(2_048), &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"][..]),
        (Signer::p256(), &["ES256"]),
        (Signer::p384(), &["ES384"]),
        (Signer::p521(), &["ES512"]),
        (Signer::ed25519(), &["EdDSA", "Ed25519"]),
        (Signer::Secret(vec![7; 64]), &["HS256", "HS384", "HS512"]),
    ];
    let every = signers.iter().flat_map(|(_, algorithms)| *algorithms).chain(&["none", "None", "", "ES256K", "es256"]);
    let every: Vec<_> = every.copied().collect();
    for (signer, of_type) in &signers {
        let jwk = with(signer.jwk(), json!({"kid": "a"}));
        let named = of_type.iter().map(|name| (with(jwk.clone(), json!({"alg": name})), vec![*name]));
        for (jwk, allowed) in named.chain([(jwk.clone(), of_type.to_vec())]) {
            let function = with_keys(std::slice::from_ref(&jwk)).await;
            for alg in &every {
                let token = signer.sign(alg, &json!({"alg": alg, "kid": "a"}), &claims(NODE, 60));
                let other_name = ["EdDSA", "Ed25519"].contains(alg) && of_type.contains(alg);
                let expected = if allowed.contains(alg) || other_name { "200" } else { "401 invalid_token" };
                assert_eq!(call(&function, &token).await.outcome(), expected, "{jwk}, token {alg}");
            }
        }
    }
    // As far as it is long enough.
    for (length, allowed) in [(32, &["HS256"][..]), (48, &["HS256", "HS384"]), (63, &["HS256", "HS384"])] {
        let signer = Signer::Secret(vec![7; length]);
        let function = with_keys(&[signer.jwk()]).await;
        for alg in ["HS256", "HS384", "HS512"] {
            let token = signer.sign(alg, &json!({"alg": alg}), &claims(NODE, 60));
            let expected = if allowed.contains(&alg) { "200" } else { "401 invalid_token" };
            assert_eq!(call(&function, &token).await.outcome(), expected, "{length} bytes, {alg}");
        }
    }
}

#[tokio::test]
async fn keys_may_share_a_kid_and_appear_twice() {
    let signers: Vec<_> = (0..6).map(|_| Signer::p256()).collect();
    let jwks = |kid: &str| signers.iter().map(|signer| with(signer.jwk(), json!({"kid": kid}))).collect::<Vec<_>>();
    let (shared, rsa) = (jwks("a"), Signer::rsa(2_048));
    let token = |signer: &Signer, header: Value| {
        signer.sign("ES256", &with(header, json!({"alg": "ES256"})), &claims(NODE, 60))
    };
    // The first four are tried, a fifth never.
    let function = with_keys(&shared).await;
    for (index, signer) in signers.iter().enumerate() {
        let expected = if index < 4 { "200" } else { "401 invalid_token" };
        for header in [json!({"kid": "a"}), json!({})] {
            assert_eq!(call(&function, &token(signer, header.clone())).await.outcome(), expected, "{index}: {header}");
        }
    }
    // A key that is listed twice counts once, and one of another type does not count.
    let twice = [&vec![shared[0].clone(); 5], &vec![with(rsa.jwk(), json!({"kid": "a"})); 5], &shared[1..4].to_vec()]
        .map(Vec::clone);
    let function = with_keys(&twice.concat()).await;
    for signer in &signers[..4] {
        assert_eq!(call(&function, &token(signer, json!({"kid": "a"}))).await.outcome(), "200");
    }
    let by_rsa = rsa.sign("PS384", &json!({"alg": "PS384", "kid": "a"}), &claims(NODE, 60));
    assert_eq!(call(&function, &by_rsa).await.outcome(), "200");
    // A kid whose keys do not fit, and one that no key has.
    let function = with_keys(&[with(rsa.jwk(), json!({"kid": "rsa"})), shared[0].clone()]).await;
    for kid in ["rsa", "b", ""] {
        assert_eq!(call(&function, &token(&signers[0], json!({"kid": kid}))).await.outcome(), "401 invalid_token");
    }
}

#[tokio::test]
async fn signatures_that_do_not_verify() {
    let (key, other, rsa) = (Signer::p256(), Signer::p256(), Signer::rsa(2_048));
    let keys = [with(key.jwk(), json!({"kid": "a"})), with(rsa.jwk(), json!({"kid": "rsa"}))];
    let function = with_keys(&keys).await;
    let (header, claims) = (json!({"alg": "ES256", "kid": "a"}), claims(NODE, 60));
    let good = key.sign("ES256", &header, &claims);
    assert_eq!(call(&function, &good).await.outcome(), "200");
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let raw = key.signature("ES256", signed.as_bytes());
    let rsa_header = json!({"alg": "HS256", "kid": "rsa"});
    let none_header = encode(json!({"alg": "none", "kid": "a"}).to_string().as_bytes());
    let none = encode(claims.to_string().as_bytes());
    let rsa_signed = rsa.sign("RS256", &json!({"alg": "RS256", "kid": "rsa"}), &claims);
    assert_eq!(call(&function, &rsa_signed).await.outcome(), "200");
    for (name, token) in [
        ("another key", other.sign("ES256", &header, &claims)),
        ("public key as secret", Signer::Secret(rsa.public_der()).sign("HS256", &rsa_header, &claims)),
        (
            "modulus as secret",
            Signer::Secret(rsa.jwk()["n"].as_str().unwrap().into()).sign("HS256", &rsa_header, &claims),
        ),
        ("RSA key, other hash", rsa.sign("RS512", &json!({"alg": "RS256", "kid": "rsa"}), &claims)),
        ("RSA key, PSS", rsa.sign("PS256", &json!({"alg": "RS256", "kid": "rsa"}), &claims)),
        ("none", format!("{none_header}.{none}.")),
        ("none, with a signature", format!("{none_header}.{none}.{signature}")),
        ("no signature", format!("{signed}.")),
        ("two parts", signed.to_owned()),
        ("four parts", format!("{good}.")),
        ("five parts", format!("{good}.a.b")),
        ("an empty header", format!(".{none}.{signature}")),
        ("padded", format!("{good}=")),
        ("truncated", good[..good.len() - 2].to_owned()),
        ("longer", format!("{good}AA")),
        ("r and s zero", format!("{signed}.{}", encode(&[0; 64]))),
        ("r zero", format!("{signed}.{}", encode(&[&[0; 32], &raw[32..]].concat()))),
        ("DER", format!("{signed}.{}", encode(&[&[0x30, 0x44, 2, 0x20], &raw[..32], &[2, 0x20], &raw[32..]].concat()))),
        (
            "other claims",
            good.replacen(&none, &encode(with(claims.clone(), json!({"sub": "x"})).to_string().as_bytes()), 1),
        ),
        ("standard base64", {
            let header = encode(br#"{"alg":"ES256","kid":"a","x":"???>>>"}"#).replace('-', "+").replace('_', "/");
            let signed = format!("{header}.{none}");
            format!("{signed}.{}", encode(&key.signature("ES256", signed.as_bytes())))
        }),
        ("garbage", "a.b.c".to_owned()),
        ("umlaut", "ä.ö.ü".to_owned()),
    ] {
        assert_eq!(call(&function, &token).await.outcome(), "401 invalid_token", "{name}");
    }
}

/// Ways to write a signature that some verifier has fallen for.
#[tokio::test]
async fn only_signatures_in_the_form_of_the_rfcs_verify() {
    #[derive(serde::Deserialize)]
    struct Signatures {
        jwks: Value,
        tokens: Vec<(String, bool, String)>,
    }

    let table: Signatures = serde_json::from_str(include_str!("../data/signatures.json")).unwrap();
    let function = Function::with_settings(&[("TOKEN_JWKS", &table.jwks.to_string())]).await;
    for (name, accepted, token) in table.tokens {
        // A line end is nothing that a header can hold.
        let expected = match accepted {
            true => "200",
            false if token.contains('\n') => "400 invalid_event",
            false => "401 invalid_token",
        };
        assert_eq!(call(&function, &token).await.outcome(), expected, "{name}");
    }
}

#[tokio::test]
async fn the_header_must_be_that_of_a_signed_access_token() {
    let function = Function::new().await;
    let claims = claims(NODE, 60).to_string();
    for (header, expected) in [
        (r#"{"alg":"ES256","kid":"first"}"#, true),
        (r#"{"alg":"ES256"}"#, true),
        (r#"{"alg":"ES256","typ":"JWT"}"#, true),
        (r#"{"alg":"ES256","typ":"jwt"}"#, true),
        (r#"{"alg":"ES256","typ":"at+jwt"}"#, true),
        (r#"{"alg":"ES256","typ":"Application/AT+JWT"}"#, true),
        (r#"{"alg":"ES256","jku":null,"jwk":7,"x5u":{"a":1,"a":2},"x5c":[null]}"#, true),
        (r#"{"alg":"ES256","unknown":{"a":null}}"#, true),
        (r#"{"alg":"ES256","unknown":null}"#, true),
        (r#"{"alg":"ES256","zip":"DEF","enc":"A128GCM"}"#, true),
        (r#"{"alg":"ES256","kid":null,"typ":null}"#, true),
        (r#"{"alg":"ES256","typ":"dpop+jwt"}"#, false),
        (r#"{"alg":"ES256","typ":"id+jwt"}"#, false),
        (r#"{"alg":"ES256","typ":""}"#, false),
        (r#"{"alg":"ES256","typ":7}"#, false),
        (r#"{"alg":"ES256","kid":"other"}"#, false),
        (r#"{"alg":"ES256","kid":""}"#, false),
        (r#"{"alg":"ES256","kid":7}"#, false),
        (r#"{"alg":"ES256","kid":"first","kid":"first"}"#, false),
        (r#"{"alg":"ES256","\u0061lg":"ES256"}"#, false),
        (r#"{"alg":"ES256","crit":[]}"#, false),
        (r#"{"alg":"ES256","crit":["exp"]}"#, false),
        (r#"{"alg":"ES256","crit":null}"#, false),
        (r#"{"alg":"ES256","b64":true}"#, false),
        (r#"{"alg":"ES256","b64":null}"#, false),
        (r#"{"alg":null}"#, false),
        (r#"{"alg":["ES256"]}"#, false),
        (r#"{"kid":"first"}"#, false),
        ("{}", false),
        ("[]", false),
        (r#""ES256""#, false),
        (r#"{"alg":"ES256"} x"#, false),
        ("\u{feff}{\"alg\":\"ES256\"}", false),
        ("", false),
    ] {
        let token = function.issuer.sign_parts(header, &claims);
        assert_eq!(
            call(&function, &token).await.outcome(),
            if expected { "200" } else { "401 invalid_token" },
            "{header}"
        );
    }
}

#[tokio::test]
async fn known_claims_of_a_wrong_type_are_refused() {
    let function = Function::new().await;
    for name in ["iss", "aud", "exp", "nbf", "iat", "client_id", "scope", "scp", "token_use"] {
        let is_date = ["exp", "nbf", "iat"].contains(&name);
        let mut wrong = vec![json!(true), json!({}), json!([1]), json!(["x", null])];
        wrong.push(if is_date { json!(now().to_string()) } else { json!(7) });
        if !["aud", "scope", "scp"].contains(&name) {
            wrong.push(json!(["x"]));
        }
        for value in wrong {
            let token = function.issuer.sign(&with(claims(NODE, 60), json!({ name: value })));
            assert_eq!(call(&function, &token).await.outcome(), "401 invalid_token", "{name}: {value}");
        }
        // One that is null counts as absent.
        let token = function.issuer.sign(&with(claims(NODE, 60), json!({ name: null })));
        let expected = if ["iss", "aud", "exp"].contains(&name) { "401 invalid_token" } else { "200" };
        assert_eq!(call(&function, &token).await.outcome(), expected, "{name}: null");
        let twice = claims(NODE, 60).to_string().replacen('{', &format!("{{\"{name}\":1,\"{name}\":1,"), 1);
        let token = function.issuer.sign_parts(r#"{"alg":"ES256"}"#, &twice);
        assert_eq!(call(&function, &token).await.outcome(), "401 invalid_token", "{name} twice");
    }
    // No other member's type matters.
    for name in ["sub", "jti", "auth_time", "azp", "email", "x"] {
        for value in [json!(null), json!(true), json!({}), json!([1]), json!(7), json!("x")] {
            let token = function.issuer.sign(&with(claims(NODE, 60), json!({ name: value })));
            assert_eq!(call(&function, &token).await.outcome(), "200", "{name}: {value}");
            if name == "sub" {
                assert_eq!(function.last_line().get("subject"), Some(&value).filter(|value| value.is_string()));
            }
        }
    }
    for value in [json!(null), json!(true), json!({}), json!([1]), json!(7), json!([])] {
        let token = function.issuer.sign(&with(claims(NODE, 60), json!({ "node_id": value })));
        assert_eq!(call(&function, &token).await.outcome(), "403 node_claim_missing", "{value}");
    }
    for (text, expected) in [(r#""x":null"#, "200"), (r#""x":1,"x":1"#, "401"), (r#""x":{"y":null,"y":1}"#, "200")] {
        let text = claims(NODE, 60).to_string().replacen('{', &format!("{{{text},"), 1);
        let token = function.issuer.sign_parts(r#"{"alg":"ES256"}"#, &text);
        assert_eq!(call(&function, &token).await.status.to_string(), expected, "{text}");
    }
    for claims in ["[]", "\"x\"", "", "{", "{}"] {
        let token = function.issuer.sign_parts(r#"{"alg":"ES256"}"#, claims);
        assert_eq!(call(&function, &token).await.outcome(), "401 invalid_token", "{claims}");
    }
}

#[tokio::test]
async fn claims_must_hold_within_the_leeway() {
    // A clock that does not go on, so that the edges are exact.
    let now = now();
    let store = embedded().await;
    let clock = Clock::new(move || SystemTime::UNIX_EPOCH + Duration::from_secs(now));
    let clients = Clients { clock, ..embedded::clients(&store.endpoint()).await };
    let function = Function::with_clients(store, clients, &[("TOKEN_AUDIENCE", "distributors, other")]).await;
    for (name, change, expected) in [
        ("as they are", json!({}), "200"),
        ("another issuer", json!({"iss": format!("{ISSUER}/")}), "401"),
        ("one of two audiences", json!({"aud": "other"}), "200"),
        ("an array of audiences", json!({"aud": ["x", "other"]}), "200"),
        ("another audience", json!({"aud": "distributor"}), "401"),
        ("no audience of an array", json!({"aud": []}), "401"),
        ("client does not stand in for an audience", json!({"aud": "x", "client_id": AUDIENCE}), "401"),
        ("client stands in for an empty array", json!({"aud": [], "client_id": AUDIENCE}), "200"),
        ("client stands in for an empty string", json!({"aud": "", "client_id": AUDIENCE}), "200"),
        ("another client beside an empty array", json!({"aud": [], "client_id": "x"}), "401"),
        ("node in an array", json!({"node_id": [NODE]}), "200"),
        ("two nodes", json!({"node_id": [NODE, NODE]}), "403"),
        ("just expired, within leeway", json!({"exp": now - 29}), "200"),
        ("expired", json!({"exp": now - 30}), "401"),
        ("a fraction", json!({"exp": format!("{}.5", now - 30).parse::<f64>().unwrap()}), "200"),
        ("an exponent", json!({"exp": 1e300}), "200"),
        ("negative", json!({"exp": -1}), "401"),
        ("not valid yet, within leeway", json!({"nbf": now + 30}), "200"),
        ("not valid yet", json!({"nbf": now + 31}), "401"),
        ("issued in the future, within leeway", json!({"iat": now + 30}), "200"),
        ("issued in the future", json!({"iat": now + 31}), "401"),
        ("an ID token", json!({"token_use": "id"}), "401"),
        ("an access token", json!({"token_use": "access"}), "200"),
        ("another node", json!({"node_id": "00000000-0000-4000-8000-000000000000"}), "404"),
        ("node in upper case", json!({"node_id": NODE.to_uppercase()}), "200"),
        ("no UUID", json!({"node_id": "x"}), "403"),
        ("not hyphenated", json!({"node_id": NODE.replace('-', "")}), "403"),
    ] {
        let token = function.issuer.sign(&with(claims(NODE, 60), change));
        assert_eq!(call(&function, &token).await.status.to_string(), expected, "{name}");
    }
    for (missing, also, expected) in [
        ("iss", json!({}), "401"),
        ("exp", json!({}), "401"),
        ("aud", json!({}), "401"),
        ("aud", json!({"client_id": AUDIENCE}), "200"),
        ("aud", json!({"client_id": "x"}), "401"),
        ("iat", json!({}), "200"),
        ("sub", json!({}), "200"),
        ("node_id", json!({}), "403"),
    ] {
        let mut claims = with(claims(NODE, 60), also);
        claims.as_object_mut().unwrap().remove(missing);
        let token = function.issuer.sign(&claims);
        assert_eq!(call(&function, &token).await.status.to_string(), expected, "without {missing}");
    }
    let huge = claims(NODE, 60).to_string().replace("\"exp\":", "\"exp\":1e400,\"x\":");
    assert_eq!(call(&function, &function.issuer.sign_parts(r#"{"alg":"ES256"}"#, &huge)).await.status, 401);
}

#[tokio::test]
async fn scope_is_judged_before_the_node() {
    let function = Function::with_settings(&[("TOKEN_SCOPE", "distributors:write")]).await;
    for (scope, expected) in [
        (json!({"scope": "distributors:write"}), "200"),
        (json!({"scope": "a distributors:write b"}), "200"),
        (json!({"scp": ["a", "distributors:write"]}), "200"),
        (json!({"scp": "a distributors:write"}), "200"),
        (json!({"scope": ["a", "distributors:write"]}), "200"),
        (json!({"scope": ["a distributors:write"]}), "403 insufficient_scope"),
        (json!({"scope": []}), "403 insufficient_scope"),
        (json!({"scope": null, "scp": null}), "403 insufficient_scope"),
        (json!({"scope": "a", "scp": ["distributors:write"]}), "200"),
        (json!({}), "403 insufficient_scope"),
        (json!({"scope": ""}), "403 insufficient_scope"),
        (json!({"scope": "distributors:writer"}), "403 insufficient_scope"),
        (json!({"scope": "Distributors:write"}), "403 insufficient_scope"),
        (json!({"scp": ["a distributors:write"]}), "403 insufficient_scope"),
        (json!({"scp": [], "node_id": "x"}), "403 insufficient_scope"),
        (json!({"scope": "distributors:write", "node_id": "x"}), "403 node_claim_missing"),
    ] {
        let response = call(&function, &function.issuer.sign(&with(claims(NODE, 60), scope.clone()))).await;
        assert_eq!(response.outcome(), expected, "{scope}");
        let challenge = response.header("www-authenticate").unwrap_or_default();
        assert_eq!(
            challenge.starts_with("Bearer error=\"insufficient_scope\", error_description=\""),
            response.status == 403
        );
        assert_eq!(challenge.ends_with(", scope=\"distributors:write\""), expected.ends_with("insufficient_scope"));
        assert_eq!(function.last_line()["subject"], "integration-client");
    }
}

#[tokio::test]
async fn the_node_claim_can_have_another_name_or_none() {
    let function = Function::with_settings(&[("TOKEN_NODE_CLAIM", "https://x.example/node")]).await;
    let token = function.issuer.sign(&with(claims("x", 60), json!({"https://x.example/node": NODE})));
    assert_eq!(call(&function, &token).await.outcome(), "200");
    let function = Function::with_settings(&[("TOKEN_NODE_CLAIM", "/ext/node_id")]).await;
    let token = function.issuer.sign(&with(claims("x", 60), json!({"ext": {"node_id": NODE}})));
    assert_eq!(call(&function, &token).await.outcome(), "200");
    let token = function.issuer.sign(&with(claims(NODE, 60), json!({"ext": {"node": NODE}})));
    assert_eq!(call(&function, &token).await.outcome(), "403 node_claim_missing");
    let function = Function::with_settings(&[("TOKEN_NODE_CLAIM", "")]).await;
    let token = function.issuer.sign(&with(claims("x", 60), json!({"node_id": 7})));
    assert_eq!(call(&function, &token).await.outcome(), "200");
    assert!(function.last_line().get("node_id").is_none());
}

/// A function whose keys are fetched; the issuer is taken away from its own.
struct Fetching {
    function: Function,
    server: KeyServer,
    issuer: Issuer,
}

impl Fetching {
    async fn jwks(server: KeyServer) -> Self {
        let uri = server.url("/jwks");
        Self::with(server, &[("TOKEN_JWKS", ""), ("TOKEN_JWKS_URI", &uri)]).await
    }

    async fn with(server: KeyServer, settings: &[(&str, &str)]) -> Self {
        let store: Embedded = embedded().await;
        let endpoint = store.endpoint();
        let function = Function::at_endpoint(store, &endpoint, settings).await;
        Self { function, server, issuer: Issuer::new("first") }
    }

    async fn outcome(&self, issuer: &Issuer) -> String {
        call(&self.function, &issuer.sign(&claims(NODE, 60))).await.outcome()
    }
}

/// The connection to the issuer dies without a word while the process is frozen, and then the issuer has a new key, which
/// so many invocations at once need.
#[tokio::test]
async fn an_old_connection_to_the_issuer_is_not_used_again() {
    for count in [1, 8, 16] {
        let (server, first, second) = (KeyServer::start().await, Issuer::new("a"), Issuer::new("b"));
        server.serve("/jwks", Reply::Document(first.jwks()));
        let proxy = Proxy::start(server.address).await;
        let uri = format!("{}/jwks", proxy.endpoint());
        let fetching = Fetching::with(server, &[("TOKEN_JWKS", ""), ("TOKEN_JWKS_URI", &uri)]).await;
        proxy.break_connections(Fault::HANG);
        fetching.server.serve("/jwks", Reply::Document(set(&[first.jwk(), second.jwk()])));
        fetching.server.take_requests();
        let started = Instant::now();
        let outcomes = join_all((0..count).map(|_| fetching.outcome(&second))).await;
        let row = format!(
            "{count} at once: {:?} after {} ms, {} fetches",
            outcomes.iter().collect::<std::collections::BTreeSet<_>>(),
            started.elapsed().as_millis(),
            fetching.server.take_requests().len()
        );
        println!("{row}");
        assert!(outcomes.iter().all(|outcome| outcome == "200"), "{row}");
    }
}

#[tokio::test]
async fn without_keys_from_the_start_tokens_are_503() {
    let (server, issuer) = (KeyServer::start().await, Issuer::new("a"));
    server.serve("/jwks", Reply::Status(500));
    let fetching = Fetching::jwks(server).await;
    let response = call(&fetching.function, &issuer.sign(&claims(NODE, 60))).await;
    assert_eq!((response.outcome().as_str(), response.header("retry-after")), ("503 keys_unavailable", Some("5")));
    let reason = fetching.function.last_line()["reason"].as_str().unwrap().to_owned();
    assert!(reason.ends_with("/jwks: status 500"), "{reason}");
    // Twice at the start, and then not again at once.
    assert_eq!(fetching.server.take_requests(), ["/jwks", "/jwks"]);
    fetching.server.serve("/jwks", Reply::Document(issuer.jwks()));
    assert_eq!(fetching.outcome(&issuer).await, "503 keys_unavailable");
    assert_eq!(fetching.server.take_requests(), [""; 0]);
    // What needs no key gets its usual response.
    assert_eq!(call(&fetching.function, "x").await.outcome(), "401 invalid_token");
}

#[tokio::test]
async fn the_last_good_set_serves_while_the_issuer_is_down() {
    let (server, issuer) = (KeyServer::start().await, Issuer::new("a"));
    server.serve("/jwks", Reply::Document(issuer.jwks()));
    let fetching = Fetching::jwks(server).await;
    fetching.server.take_requests();
    fetching.server.serve("/jwks", Reply::Status(500));
    for _ in 0..2 {
        assert_eq!(fetching.outcome(&issuer).await, "200");
        // The set that is there may lack a new key, and that is for the operator to see.
        assert_eq!(fetching.outcome(&fetching.issuer).await, "401 invalid_token");
        let reason = fetching.function.last_line()["reason"].as_str().unwrap().to_owned();
        assert!(reason.ends_with("/jwks: status 500"), "{reason}");
    }
    assert_eq!(fetching.server.take_requests(), ["/jwks"]);
}

#[tokio::test]
async fn a_fetched_document_must_be_a_key_set_of_an_allowed_place() {
    let issuer = Issuer::new("a");
    let jwks = Reply::Document(issuer.jwks());
    let secret = json!({"kty": "oct", "k": encode(&[1; 64]), "kid": "secret"});
    let padded = |length: usize| {
        let jwks = issuer.jwks();
        format!("{jwks}{}", " ".repeat(length - jwks.len()))
    };
    for (name, replies, expected) in [
        ("one redirect", vec![Reply::Redirect("/other".to_owned()), jwks.clone()], "200"),
        ("two redirects", vec![Reply::Redirect("/a".to_owned()), Reply::Redirect("/b".to_owned())], "503"),
        ("redirect to plain http", vec![Reply::Redirect("http://issuer.example/".to_owned())], "503"),
        ("redirect to a file", vec![Reply::Redirect("file:///etc/passwd".to_owned())], "503"),
        ("another success", vec![Reply::Status(204)], "503"),
        ("the end of the connection", vec![Reply::Reset], "503"),
        ("no JSON", vec![Reply::Document("x".to_owned())], "503"),
        ("no set", vec![Reply::Document("{}".to_owned())], "503 not a JWK set: keys is missing"),
        (
            "a set of another type",
            vec![Reply::Document(r#"{"keys":{}}"#.to_owned())],
            "503 not a JWK set: keys is not an array",
        ),
        (
            "compressed",
            vec![Reply::Encoded("GZIP", "x".to_owned())],
            "503 the content coding \"GZIP\" is not supported",
        ),
        (
            "compressed once more",
            vec![Reply::Encoded("identity, br", issuer.jwks())],
            "503 the content coding \"br\" is not supported",
        ),
        ("said not to be compressed", vec![Reply::Encoded("Identity", issuer.jwks())], "200"),
        ("empty set", vec![Reply::Document(set(&[]))], "503"),
        ("a key twice", vec![Reply::Document(set(&[issuer.jwk(), issuer.jwk()]))], "200"),
        ("a byte order mark", vec![Reply::Document(format!("\u{feff}{}", issuer.jwks()))], "200"),
        ("two byte order marks", vec![Reply::Document(format!("\u{feff}\u{feff}{}", issuer.jwks()))], "503"),
        ("only a secret", vec![Reply::Document(set(std::slice::from_ref(&secret)))], "503"),
        ("a secret besides", vec![Reply::Document(set(&[issuer.jwk(), secret.clone()]))], "200"),
        ("the largest", vec![Reply::Document(padded(150_000))], "200"),
        ("too large", vec![Reply::Document(padded(150_001))], "503"),
    ] {
        let server = KeyServer::start().await;
        // The start tries a second time.
        for reply in replies.iter().chain(&replies) {
            server.next(reply.clone());
        }
        let fetching = Fetching::jwks(server).await;
        let (outcome, line) = (fetching.outcome(&issuer).await, fetching.function.last_line());
        let (status, reason) = expected.split_once(' ').unwrap_or((expected, ""));
        assert_eq!(outcome.split(' ').next(), Some(status), "{name}: {line}");
        assert!(line["reason"].as_str().unwrap_or_default().ends_with(reason), "{name}: {line}");
    }
    let server = KeyServer::start().await;
    server.serve("/jwks", Reply::Document(set(&[issuer.jwk(), secret])));
    let fetching = Fetching::jwks(server).await;
    let forged =
        Signer::Secret(vec![1; 64]).sign("HS256", &json!({"alg": "HS256", "kid": "secret"}), &claims(NODE, 60));
    assert_eq!(call(&fetching.function, &forged).await.outcome(), "401 invalid_token");
}

#[tokio::test]
async fn metadata_must_be_of_its_issuer_and_lead_to_https() {
    let issuer = Issuer::new("a");
    for (path, metadata_path) in
        [("", "/.well-known/openid-configuration"), ("/tenant/", "/tenant/.well-known/openid-configuration")]
    {
        for (name, change, expected) in [
            ("as it should be", json!({}), "200"),
            ("another issuer", json!({"issuer": "https://issuer.example"}), "503"),
            ("no issuer", json!({"issuer": null}), "503 not issuer metadata: issuer is missing or not a string"),
            (
                "keys in the clear",
                json!({"jwks_uri": "http://issuer.example/jwks"}),
                "503 the metadata's jwks_uri is not allowed",
            ),
            ("no keys", json!({"jwks_uri": null}), "503 not issuer metadata: jwks_uri is missing or not a string"),
            (
                "keys that are no URL",
                json!({"jwks_uri": 7}),
                "503 not issuer metadata: jwks_uri is missing or not a string",
            ),
            (
                "keys with user information",
                json!({"jwks_uri": "https://u@issuer.example/jwks"}),
                "503 the metadata's jwks_uri is not allowed",
            ),
        ] {
            let server = KeyServer::start().await;
            let url = server.url(path);
            let metadata = with(json!({"issuer": url, "jwks_uri": server.url("/keys"), "x": 1}), change);
            server.serve(metadata_path, Reply::Document(metadata.to_string()));
            server.serve("/keys", Reply::Document(issuer.jwks()));
            let fetching = Fetching::with(server, &[("TOKEN_JWKS", ""), ("TOKEN_ISSUER", &url)]).await;
            let token = issuer.sign(&with(claims(NODE, 60), json!({"iss": url})));
            let (response, line) = (call(&fetching.function, &token).await, fetching.function.last_line());
            let (status, reason) = expected.split_once(' ').unwrap_or((expected, ""));
            assert_eq!(response.status.to_string(), status, "{name}: {line}");
            assert!(line["reason"].as_str().unwrap_or_default().ends_with(reason), "{name}: {line}");
        }
    }
}

#[tokio::test]
async fn metadata_of_another_issuer_is_named_in_the_log() {
    let (server, issuer) = (KeyServer::start().await, Issuer::new("a"));
    let url = server.url("");
    let metadata = json!({"issuer": "https://u:SECRET@other.example/?key=SECRET", "jwks_uri": server.url("/keys")});
    server.serve("/.well-known/openid-configuration", Reply::Document(metadata.to_string()));
    server.serve("/keys", Reply::Document(issuer.jwks()));
    let fetching = Fetching::with(server, &[("TOKEN_JWKS", ""), ("TOKEN_ISSUER", &url)]).await;
    let token = issuer.sign(&with(claims(NODE, 60), json!({"iss": url})));
    assert_eq!(call(&fetching.function, &token).await.outcome(), "503 keys_unavailable");
    let reason = fetching.function.last_line()["reason"].as_str().unwrap().to_owned();
    assert!(
        reason.contains(&url) && reason.contains("https://other.example/") && !reason.contains("SECRET"),
        "{reason}"
    );
}

#[tokio::test]
async fn requests_to_an_issuer_say_who_asks() {
    let (server, issuer) = (KeyServer::start().await, Issuer::new("a"));
    server.serve("/jwks", Reply::Document(issuer.jwks()));
    let fetching = Fetching::jwks(server).await;
    let headers = fetching.server.last_headers();
    assert_eq!(headers["user-agent"], concat!("update-distributor/", env!("CARGO_PKG_VERSION")));
    assert_eq!(headers["accept"], "application/json, application/jwk-set+json");
    assert_eq!(headers["accept-encoding"], "identity");
}

/// Serves the discovery documents of an issuer whose keys are these.
fn serve(server: &KeyServer, keys: &str) -> String {
    let url = server.url("");
    let metadata = json!({"issuer": url, "jwks_uri": server.url("/keys")});
    server.serve("/.well-known/openid-configuration", Reply::Document(metadata.to_string()));
    server.serve("/keys", Reply::Document(keys.to_owned()));
    url
}

#[tokio::test]
async fn issuers_have_keys_of_their_own_and_fail_apart() {
    let (a, b, down) = (KeyServer::start().await, KeyServer::start().await, KeyServer::start().await);
    let (key_a, key_b) = (Issuer::new("same"), Issuer::new("same"));
    let (url_a, url_b, url_down) = (serve(&a, &key_a.jwks()), serve(&b, &key_b.jwks()), down.url(""));
    // One that is listed twice has one set.
    let settings = [("TOKEN_JWKS", ""), ("TOKEN_ISSUER", &*format!("{url_a}, {url_down} ,{url_b},{url_a}"))];
    let function = Function::with_settings(&settings).await;
    assert_eq!(a.take_requests(), ["/.well-known/openid-configuration", "/keys"]);
    let down_asked = down.take_requests().len();
    for (name, signer, issuer, expected) in [
        ("a", &key_a, &url_a, "200"),
        ("b", &key_b, &url_b, "200"),
        ("a's key for b", &key_a, &url_b, "401 invalid_token"),
        ("b's key for a", &key_b, &url_a, "401 invalid_token"),
        ("one that is down", &key_a, &url_down, "503 keys_unavailable"),
        ("one that is not accepted", &key_a, &"https://other.example".to_owned(), "401 invalid_token"),
    ] {
        let token = signer.sign(&with(claims(NODE, 60), json!({"iss": issuer})));
        assert_eq!(call(&function, &token).await.outcome(), expected, "{name}");
    }
    // One that is not in the list fetches nothing; neither does a token of which nothing else is right.
    a.take_requests();
    b.take_requests();
    for iss in [json!("https://other.example"), json!(null), json!(7), json!([url_a])] {
        let token = Issuer::new("unknown").sign(&with(claims(NODE, 60), json!({ "iss": iss })));
        assert_eq!(call(&function, &token).await.outcome(), "401 invalid_token");
    }
    assert_eq!((a.take_requests(), b.take_requests()), (vec![], vec![]));
    assert!(down_asked > 0 && down.take_requests().is_empty(), "it was asked at the start, and not again at once");
    // With one set for all, every issuer of the list is accepted with it.
    let function = Function::with_settings(&[("TOKEN_ISSUER", "one,two")]).await;
    for (issuer, expected) in
        [("one", "200"), ("two", "200"), ("three", "401 invalid_token"), ("one,two", "401 invalid_token")]
    {
        let token = function.issuer.sign(&with(claims(NODE, 60), json!({"iss": issuer})));
        assert_eq!(call(&function, &token).await.outcome(), expected, "{issuer}");
    }
}

#[tokio::test]
async fn the_log_has_the_reason_of_a_401() {
    let function = Function::new().await;
    let signed = |change: Value| function.issuer.sign(&with(claims(NODE, 60), change));
    let parts = |header: &str, claims: &str| function.issuer.sign_parts(header, claims);
    let padded = |part: usize| {
        let token = signed(json!({}));
        let mut parts: Vec<_> = token.split('.').map(str::to_owned).collect();
        parts[part].push('=');
        parts.join(".")
    };
    for (token, reason) in [
        ("x".to_owned(), "the token is not a signed JWT"),
        (function.issuer.sign(&with(claims(NODE, 60), json!({"exp": 1}))), "the token has expired (exp)"),
        (signed(json!({"exp": null})), "the token has no expiry time (exp)"),
        (signed(json!({"nbf": now() + 99})), "the token is not valid yet (nbf)"),
        (signed(json!({"iat": now() + 99})), "the token is not valid yet (iat)"),
        (signed(json!({"nbf": now() + 99, "iat": now() + 99})), "the token is not valid yet (nbf)"),
        (signed(json!({"iss": "x"})), "the token is from another issuer (iss)"),
        (signed(json!({"iss": 7})), "the token's claim iss has the wrong JSON type"),
        (signed(json!({"aud": "x"})), "the token is for another audience (aud)"),
        (signed(json!({"aud": null})), "the token is for another audience (aud)"),
        (signed(json!({"aud": null, "client_id": "x"})), "the token is for another audience (client_id)"),
        (signed(json!({"scp": 7})), "the token's claim scp has the wrong JSON type"),
        (signed(json!({"token_use": "id"})), "ID tokens are not accepted (token_use)"),
        (parts(r#"{"alg":"ES256"}"#, "[]"), "the token's payload is not a JSON object"),
        (parts(r#"{"alg":"ES256"}"#, r#"{"exp":1,"exp":1}"#), "the token's payload has the member exp twice"),
        (
            parts(r#"{"alg":"ES256"}"#, r#"{"\"\n\u00e4":1,"\"\n\u00e4":1}"#),
            "the token's payload has the member ??? twice",
        ),
        (parts("x", "{}"), "the token's header is not a JSON object"),
        (parts(r#"{"kid":"a","kid":"a"}"#, "{}"), "the token's header has the member kid twice"),
        (parts(r#"{"kid":"a"}"#, "{}"), "the token's header has no string as alg"),
        (parts(r#"{"alg":"ES256","kid":7}"#, "{}"), "the token's header has no string as kid"),
        (parts(r#"{"alg":"ES256","typ":"x"}"#, "{}"), "the token's typ is not that of an access token"),
        (parts(r#"{"alg":"none"}"#, "{}"), "the token's alg is not that of its key"),
        // Padding is the usual cause.
        (padded(0), "the token's header is not base64url without padding"),
        (padded(1), "the token's payload is not base64url without padding"),
        (padded(2), "the token's signature is not base64url without padding"),
        (Issuer::new("first").sign(&claims(NODE, 60)), "the token's signature does not verify"),
        (Issuer::new("other").sign(&claims(NODE, 60)), "the token's kid names no key"),
    ] {
        let response = call(&function, &token).await;
        assert_eq!(response.outcome(), "401 invalid_token");
        assert_eq!((&response.body["detail"], &function.last_line()["reason"]), (&json!(reason), &json!(reason)));
    }
    let response = function.call(&function.put("{}").without("authorization")).await;
    assert_eq!(response.body["detail"], function.last_line()["reason"]);
}
