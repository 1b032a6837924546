//! What must hold for any input: each function takes one and panics where it does not.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::SystemTime;

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use serde_json::{Map, Value, json};
use tokio::runtime::{Builder, Runtime};
use update_distributor::body;
use update_distributor::clock::Clock;
use update_distributor::event::Event;
use update_distributor::handler::App;
use update_distributor::invocation::Invocation;
use update_distributor::json::{self, Json};
use update_distributor::log::Level;
use update_distributor::problem::Code;
use update_distributor::request::Request;
use update_distributor::token::key::Algorithm;
use update_distributor::token::key_set::KeySet;
use update_distributor::update::IfMatch;
use update_distributor::webhook::{Host, HostPolicy};
use url::Url;

use crate::issuer::signer::Signer;
use crate::issuer::{AUDIENCE, ISSUER};
use crate::lambda;
use crate::lambda::captured_log::CapturedLog;
use crate::store::embedded::NODE;
use crate::{simulation, store};

/// Stands in an event for a token that verifies.
const TOKEN: &str = "TOKEN";
/// In 2100.
const NEVER: u64 = 4_102_444_800;

/// The response to an HTTP event is well-formed, any other event is an error of the invocation, and the log has one line.
pub fn event(input: &[u8]) {
    with_function(|function| {
        let text = String::from_utf8_lossy(input);
        let event = if text.contains(TOKEN) {
            text.replace(TOKEN, &token_that_verifies()).into_bytes()
        } else {
            input.to_vec()
        };
        match function.invoke(&event) {
            Some(response) => well_formed(&response),
            None => assert!(!is_http_event(&event), "an HTTP event was refused"),
        }
        let log = function.take_log();
        let [line] = log.lines().collect::<Vec<_>>()[..] else { panic!("not one line: {log}") };
        assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line}");
        assert!(serde_json::from_str::<Value>(line).unwrap().is_object());
    });
}

fn is_http_event(event: &[u8]) -> bool {
    // What this cannot read, as a lone surrogate, is not judged here.
    let Ok(event) = serde_json::from_slice::<Value>(event) else { return false };
    event.get("httpMethod").is_some()
        || event.get("rawPath").is_some()
        || event.pointer("/requestContext/http").is_some()
}

fn well_formed(response: &Value) {
    let status = response["statusCode"].as_u64().unwrap();
    assert_ne!(status, 500, "{response}");
    let body: Value = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
    assert_eq!(response["isBase64Encoded"], false);
    let header =
        |name: &str| response["headers"].get(name).or(response["multiValueHeaders"].get(name).map(|values| &values[0]));
    assert_eq!(header("cache-control").unwrap(), "no-store, no-transform");
    if status == 200 {
        assert_eq!(header("content-type").unwrap(), "application/json");
        assert_eq!(body.as_object().unwrap().len(), 5);
    } else {
        assert_eq!(header("content-type").unwrap(), "application/problem+json");
        assert_eq!(body["status"], status);
        assert!(body["code"].is_string() && body["detail"].is_string() && body["request_id"].is_string(), "{body}");
        assert_eq!(body["errors"].is_array(), status == 422);
    }
}

/// What is read is JSON, can be printed and read again, and errors point at what is there.
pub fn body(input: &[u8]) {
    let Ok(tree) = json::parse(input) else { return };
    let printed = print(&tree);
    assert_eq!(json::parse(printed.as_bytes()).map(|tree| print(&tree)).as_ref(), Ok(&printed));
    let Err(problem) = body::change(input, HostPolicy::Public) else { return };
    let Json::Object(_) = &tree else { return assert_eq!(problem.code, Code::MalformedJson) };
    let (errors, value) = (&problem.errors, plain(&tree));
    let pointers: BTreeSet<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
    assert!(!pointers.is_empty() && pointers.len() == errors.len(), "an error twice, or none: {errors:?}");
    for pointer in pointers {
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer into an object");
        let parent = value.pointer(parent).and_then(Value::as_object).expect("an object");
        let name = name.replace("~1", "/").replace("~0", "~");
        // What is missing is one of these.
        assert!(parent.contains_key(&name) || ["username", "password"].contains(&name.as_str()), "{pointer}");
    }
}

fn print(tree: &Json<'_>) -> String {
    match tree {
        Json::Null => "null".to_owned(),
        Json::Bool => "true".to_owned(),
        // `serde_json` may be off in the last digit of the others.
        Json::Number(number) if number.fract() == 0.0 && number.abs() < 1e15 => number.to_string(),
        Json::Number(_) => "0.5".to_owned(),
        Json::String(text) => json!(text).to_string(),
        Json::Array => "[]".to_owned(),
        Json::Object(members) => {
            let members = members.iter().map(|(name, value)| format!("{}:{}", json!(name), print(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
    }
}

fn plain(tree: &Json<'_>) -> Value {
    match tree {
        Json::Object(members) => {
            Value::Object(members.iter().map(|(name, value)| (name.to_string(), plain(value))).collect::<Map<_, _>>())
        }
        _ => Value::Null,
    }
}

/// A token is accepted only where it is, to the letter, what the issuer signed.
pub fn token(input: &[u8]) {
    let Ok(token) = std::str::from_utf8(input) else { return };
    // Other characters than a header can carry do not come here.
    if token.is_empty() || token.chars().any(|char| char.is_control() || matches!(char, ' ' | ',')) {
        return;
    }
    if accepted(token) {
        assert_eq!(token, token_that_verifies());
    }
}

/// Signed by the issuer, whatever header and claims are: accepted only where they say what they must. The input is the
/// header up to a line end, and the claims after it.
pub fn claims(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (header, claims) = (&input[..end], input.get(end + 1..).unwrap_or_default());
    if (header.len() + claims.len()) > 5_000 || !accepted(&sign(header, claims)) {
        return;
    }
    let header: Map<String, Value> = serde_json::from_slice(header).expect("an accepted header is an object");
    let claims: Map<String, Value> = serde_json::from_slice(claims).expect("accepted claims are an object");
    assert!(["EdDSA", "Ed25519"].contains(&header["alg"].as_str().unwrap()));
    // One that is null counts as absent.
    let present = |name: &str| claims.get(name).filter(|claim| !claim.is_null());
    assert!(header.get("kid").is_none_or(|kid| kid == "a" || kid.is_null()));
    assert!(["crit", "b64"].iter().all(|name| !header.contains_key(*name)));
    assert_eq!(claims["iss"], ISSUER);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!(claims["exp"].as_f64().unwrap() + 30.0 > now);
    assert!(["nbf", "iat"].iter().all(|name| present(name).is_none_or(|at| at.as_f64().unwrap() <= now + 31.0)));
    let audience = present("aud").filter(|audience| **audience != "" && **audience != json!([]));
    let audience = audience.unwrap_or_else(|| &claims["client_id"]);
    assert!(audience == AUDIENCE || audience.as_array().is_some_and(|many| many.contains(&json!(AUDIENCE))));
    assert!(present("token_use").is_none_or(|usage| usage.is_string() && usage != "id"));
    assert!(present("client_id").is_none_or(Value::is_string));
    for name in ["scope", "scp"] {
        let strings = |scope: &Value| scope.as_array().is_some_and(|scopes| scopes.iter().all(Value::is_string));
        assert!(present(name).is_none_or(|scope| scope.is_string() || strings(scope)), "{name}");
    }
    let node = &claims["node_id"];
    let node = node.as_array().map_or(node, |only| &only[0]);
    let groups: Vec<_> = node.as_str().unwrap().split('-').collect();
    assert!(groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]), "{groups:?}");
    assert!(groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit())), "{groups:?}");
}

/// A key set, and the `kid` and `alg` of a token's header on the line after it: the keys that are tried are few, named so,
/// and never shared secrets where the set was fetched; and one verifies the issuer's signature only where the set has
/// the issuer's key for it.
pub fn key_set(input: &[u8]) {
    let mut lines = input.splitn(2, |byte| *byte == b'\n');
    let (text, header) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let header: Value = serde_json::from_slice(header).unwrap_or_default();
    let kid = header["kid"].as_str();
    for is_fetched in [true, false] {
        let set = if is_fetched { KeySet::fetched(text) } else { KeySet::inline(text) };
        // What this cannot read, as a lone surrogate, is not judged here.
        let (Ok(set), Ok(plain)) = (set, serde_json::from_slice::<Value>(text)) else { continue };
        let keys = plain["keys"].as_array().expect("a set has keys");
        let skipped = &set.warnings.skipped;
        assert!(skipped.named.len() + skipped.others < keys.len(), "no key is left");
        for alg in ALGORITHMS {
            let algorithm = Algorithm::from_name(alg).expect("it is known");
            let candidates: Vec<_> = set.candidates(kid, algorithm).collect();
            assert!(candidates.len() <= 4, "{} candidates", candidates.len());
            assert!(candidates.is_empty() || kid.is_none_or(|kid| set.has_kid(kid)));
            assert!(candidates.is_empty() || !is_fetched || !alg.starts_with("HS"), "a secret that everyone knows");
            let token = Signer::fixed().sign("EdDSA", &json!({"alg": alg, "kid": kid}), &json!({}));
            if candidates.into_iter().any(|key| key.verifies(&token, algorithm)) {
                assert_eq!(alg, "EdDSA");
                assert!(keys.iter().any(|key| is_issuers(key, kid)), "accepted without the issuer's key");
            }
        }
    }
}

const ALGORITHMS: [&str; 13] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
];

/// Whether a JWK is the issuer's public key, for signatures, and has this name.
fn is_issuers(key: &Value, kid: Option<&str>) -> bool {
    let optional = |name: &str, allowed: &[&str]| {
        key[name].is_null() || key[name].as_str().is_some_and(|value| allowed.contains(&value))
    };
    let plain = |text: &str| text.trim_end_matches('=').replace('+', "-").replace('/', "_");
    key["kty"] == "OKP"
        && key["crv"] == "Ed25519"
        && key["x"].as_str().map(plain).as_deref() == Signer::fixed().jwk()["x"].as_str()
        && optional("use", &["sig"])
        && optional("alg", &["EdDSA", "Ed25519"])
        && kid.is_none_or(|kid| key["kid"] == kid)
}

/// A host that is accepted is spelled plainly and publicly reachable, by a judgement that shares nothing with ours.
pub fn host(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    assert!(Host::new(text, HostPolicy::Public).is_err() || Host::new(text, HostPolicy::Any).is_ok(), "{text}");
    if Host::new(text, HostPolicy::Any).is_err() {
        return;
    }
    let lower = text.to_ascii_lowercase();
    assert!(text.bytes().all(|byte| matches!(byte, b'!'..=b'~') && !b"%\\@?#".contains(&byte)), "{text}");
    let (scheme, authority) = lower.split_once("://").expect("a scheme");
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    assert!(!authority.contains('/'), "{text}");
    let url = Url::parse(text).expect("a URL");
    let plain = url.as_str().strip_suffix('/').unwrap();
    let default_port = if scheme == "https" { ":443" } else { ":80" };
    let given = format!("{scheme}://{authority}");
    assert!(given == plain || given == format!("{plain}{default_port}"), "{text}: {plain}");
    if Host::new(text, HostPolicy::Public).is_err() {
        return;
    }
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name).parse();
    if let Ok(address) = address {
        assert!(looks_public(address), "{text}");
        return;
    }
    let labels: Vec<_> = name.strip_suffix('.').unwrap_or(name).split('.').collect();
    assert!(labels.len() > 1 && labels.iter().all(|label| (1..=63).contains(&label.len())), "{text}");
    let last = labels.last().unwrap();
    // A last label of digits is an address to many a parser.
    assert!(!last.bytes().all(|byte| byte.is_ascii_digit()), "{text}");
    assert!(!["localhost", "local", "localdomain", "internal"].contains(last), "{text}");
}

fn looks_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_broadcast()
                || v4.is_documentation()
                || v4.is_unspecified()
                || v4.is_multicast()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 198 && (18..20).contains(&b))
                || v4.octets() == [168, 63, 129, 16])
        }
        IpAddr::V6(v6) => match v6.segments() {
            [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
            | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
            | [0x2002, high, low, ..] => {
                let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
                looks_public([a, b, c, d].into())
            }
            [0x2001, 0xdb8 | 0, ..] | [0x3fff, 0..=0xfff, ..] => false,
            [first, ..] => (0x2000..0x4000).contains(&first),
        },
    }
}

/// `If-Match` is read as a second reading of RFC 9110 reads it.
pub fn if_match(input: &[u8]) {
    let Ok(value) = std::str::from_utf8(input) else { return };
    let event = json!({"rawPath": "/", "requestContext": {"http": {"method": "PUT"}}, "headers": {"if-match": value}});
    let event = event.to_string();
    let Ok(event) = Event::parse(event.as_bytes()) else { panic!("an HTTP event") };
    let Ok(request) = Request::new(event) else { return };
    let expected = tags(value.trim_matches([' ', '\t']));
    match request.if_match() {
        Ok(IfMatch::Any) => assert_eq!(value.trim_matches([' ', '\t']), "*"),
        Ok(IfMatch::OneOf(found)) => {
            let found: Vec<_> = found.iter().map(|tag| tag.opaque().to_owned()).collect();
            assert_eq!(Some(found), expected);
        }
        Err(_) => assert_eq!(expected, None, "{value:?}"),
    }
}

/// The strong tags of a list, character by character.
fn tags(value: &str) -> Option<Vec<String>> {
    let (mut strong, mut count) = (Vec::new(), 0);
    let mut rest = value.chars().peekable();
    loop {
        while rest.next_if(|char| matches!(char, ' ' | '\t' | ',')).is_some() {}
        let Some(first) = rest.next() else { break };
        let weak = first == 'W';
        if (weak && (rest.next() != Some('/') || rest.next() != Some('"'))) || (!weak && first != '"') {
            return None;
        }
        let mut tag = String::new();
        loop {
            match rest.next()? {
                '"' => break,
                char if char == '!' || ('#'..='~').contains(&char) || char >= '\u{80}' => tag.push(char),
                _ => return None,
            }
        }
        count += 1;
        if !weak {
            strong.push(tag);
        }
        while rest.next_if(|char| matches!(char, ' ' | '\t')).is_some() {}
        if rest.peek().is_some_and(|next| *next != ',') {
            return None;
        }
    }
    (1..=100).contains(&count).then_some(strong)
}

fn accepted(token: &str) -> bool {
    let event = simulation::event(token, 0, None, "{}");
    with_function(|function| {
        let response = function.invoke(event.to_string().as_bytes()).expect("an HTTP event");
        function.take_log();
        well_formed(&response);
        response["statusCode"] == 200
    })
}

fn sign(header: &[u8], claims: &[u8]) -> String {
    Signer::fixed().sign_parts("EdDSA", header, claims)
}

fn token_that_verifies() -> String {
    let claims = json!({"iss": ISSUER, "aud": AUDIENCE, "exp": NEVER, "node_id": NODE});
    sign(br#"{"alg":"EdDSA","kid":"a"}"#, claims.to_string().as_bytes())
}

struct Function {
    app: App,
    runtime: Runtime,
    log: CapturedLog,
}

fn with_function<T>(then: impl FnOnce(&Function) -> T) -> T {
    thread_local!(static FUNCTION: RefCell<Option<Function>> = const { RefCell::new(None) });
    FUNCTION.with_borrow_mut(|function| then(function.get_or_insert_with(Function::new)))
}

impl Function {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let mut jwk = Signer::fixed().jwk();
        jwk["kid"] = "a".into();
        let (jwks, log) = (json!({"keys": [jwk]}).to_string(), CapturedLog::default());
        let clients = store::clients(Store, Clock::system());
        let app = runtime.block_on(lambda::start(clients, &jwks, &[], log.at(Level::Info)));
        Self { app, runtime, log }
    }

    fn invoke(&self, event: &[u8]) -> Option<Value> {
        let invocation = Invocation { request_id: "invocation-id".to_owned(), deadline: None, trace_root: None };
        let response = self.runtime.block_on(self.app.invoke(event, &invocation));
        response.ok().map(|response| serde_json::from_slice(&response).unwrap())
    }

    fn take_log(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.log.0.lock().unwrap())).unwrap()
    }
}

/// A store that responds to every call with the same item.
#[derive(Debug)]
struct Store;

impl HttpConnector for Store {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let item = json!({"Attributes": {"id": {"S": "x"}, "node_id": {"S": NODE}, "updated_at": {"S": "v1"}}});
        let response = HttpResponse::new(200.try_into().unwrap(), SdkBody::from(item.to_string()));
        HttpConnectorFuture::ready(Ok(response))
    }
}
