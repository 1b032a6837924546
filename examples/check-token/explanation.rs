//! What the function makes of a token, step by step, with the function's own code.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use aws_smithy_runtime_api::client::http::SharedHttpConnector;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use tokio::time::Instant;
use update_distributor::clock::Clock;
use update_distributor::event::Event;
use update_distributor::excerpt::excerpt;
use update_distributor::json::UniqueMembers;
use update_distributor::problem::{Code, Problem};
use update_distributor::request::Request;
use update_distributor::token::claims::{ClaimName, ClaimRules, LEEWAY};
use update_distributor::token::error::{InvalidToken, KeysUnavailable, TokenError};
use update_distributor::token::fetch::{Endpoint, FetchError};
use update_distributor::token::jws::Jws;
use update_distributor::token::key::{Algorithm, Key};
use update_distributor::token::key_set::{KeySet, SkippedKeys};
use update_distributor::token::key_store::{KeySource, KeyStore};
use update_distributor::token::{Caller, Verifier};
use update_distributor::update::Access;

/// Metadata and keys take two seconds each at most.
const FETCHING: Duration = Duration::from_secs(5);

/// The explanation, and what it comes to.
pub struct Explanation {
    pub text: String,
    /// The problem that a request with the token would get, if the token is not accepted.
    pub refused: Option<Code>,
}

/// Explains a token. `colored` asks for the colors of a terminal.
pub async fn explain(
    rules: ClaimRules,
    source: KeySource,
    http: &SharedHttpConnector,
    token: &str,
    colored: bool,
) -> Explanation {
    let mut report = Report { text: String::new(), colored };
    let clock = Clock::system();
    let refused = judge(&mut report, rules, source, http, &clock, token).await.err().map(|problem| problem.code);
    report.section("A request with this token");
    match refused {
        None => report.passed("result", "the token is accepted: 200, unless a later check fails"),
        Some(code) => report.failed("result", &format!("{} {}", code.status().as_u16(), code.name())),
    }
    Explanation { text: report.text, refused }
}

async fn judge(
    report: &mut Report,
    rules: ClaimRules,
    source: KeySource,
    http: &SharedHttpConnector,
    clock: &Clock,
    token: &str,
) -> Result<(), Problem> {
    report.section("Header field Authorization");
    let token = &bearer_token(token)
        .inspect_err(|problem| report.failed("Bearer", problem.reason.as_deref().unwrap_or(problem.code.name())))?;
    report.passed("Bearer", &format!("one token of {} bytes", token.len()));

    report.section("Header");
    let header = token.split('.').next().and_then(|header| URL_SAFE_NO_PAD.decode(header).ok());
    if let Some(header) = header.as_deref().and_then(UniqueMembers::parse) {
        for name in ["alg", "kid", "typ", "crit", "b64"].into_iter().filter(|name| header.has(name)) {
            report.noted(name, header.get(name).map_or("null".to_owned(), |value| printable(value.get())));
        }
    }
    let jws = Jws::parse(token).map_err(|error| refuse(report, "header", error))?;
    report.passed("header", "valid");

    let payload = URL_SAFE_NO_PAD.decode(jws.payload).ok();
    let claims = payload.as_deref().and_then(UniqueMembers::parse);
    let claims = claims.ok_or(InvalidToken::Claims).map_err(|error| refuse(report, "claims", error))?;

    report.section("Issuer");
    report.noted("accepted", list(&rules.issuers));
    let issuer = rules.issuer(&claims).map_err(|error| {
        report.failed("iss", &shown(&claims, "iss"));
        refuse(report, "iss", error)
    })?;
    report.passed("iss", &quoted(issuer));

    report.section("Keys");
    let set = keys(report, source, issuer, http, clock).await.map_err(|error| {
        report.failed("keys", &error.to_string());
        Problem::from(TokenError::Keys(error))
    })?;
    report_keys(report, set.keys());
    report_skipped(report, &set.skipped);

    report.section("Signature");
    let kid = jws.kid.as_deref();
    for key in Algorithm::from_name(&jws.alg).into_iter().flat_map(|algorithm| set.candidates(kid, algorithm)) {
        report.noted("tried", key.kid.as_deref().map_or("a key without kid".to_owned(), quoted));
    }
    let expected = Expected::new(&rules);
    let verifier = Verifier::new(rules, KeyStore::new(KeySource::Inline(set), http, clock), clock.clone());
    let result = verifier.verify(token, Instant::now() + FETCHING).await;
    let failed = match &result {
        Ok(_) => None,
        Err(TokenError::Invalid(error)) => Some(error),
        Err(TokenError::Keys(_)) => unreachable!("the keys are there"),
    };
    if let Some(error @ (InvalidToken::UnknownKid { .. } | InvalidToken::Algorithm | InvalidToken::Signature)) = failed
    {
        report.failed("signature", &error.to_string());
    } else {
        report.passed("signature", "verifies");
        report.section("Claims");
        expected.report(report, &claims, failed, clock.now());
    }
    let caller = result.map_err(Problem::from)?;
    report_caller(report, caller, &expected, &claims)
}

/// Reads the token as the function does, from the header field of an event.
fn bearer_token(token: &str) -> Result<String, Problem> {
    let event = json!({
        "rawPath": "/",
        "headers": {"authorization": format!("Bearer {token}")},
        "requestContext": {"http": {"method": "PUT"}},
    });
    let event = event.to_string();
    let event = Event::parse(event.as_bytes()).expect("an HTTP event");
    Request::new(event)?.bearer_token().map(str::to_owned)
}

fn refuse(report: &mut Report, name: &str, error: InvalidToken) -> Problem {
    report.failed(name, &error.to_string());
    TokenError::Invalid(error).into()
}

/// Returns the keys of an issuer, and reports where they are looked for.
async fn keys(
    report: &mut Report,
    source: KeySource,
    issuer: &str,
    http: &SharedHttpConnector,
    clock: &Clock,
) -> Result<KeySet, KeysUnavailable> {
    let endpoints = match source {
        KeySource::Inline(set) => {
            report.noted("from", "a set that is given");
            return Ok(set);
        }
        KeySource::Fetched(endpoints) => endpoints,
    };
    let endpoint = endpoints.into_iter().find(|endpoint| endpoint.serves(issuer)).ok_or(KeysUnavailable::NoEndpoint)?;
    let deadline = Some(Instant::now() + FETCHING);
    if let Endpoint::Discovery { metadata, .. } = &endpoint {
        report.noted("metadata", metadata);
    }
    let unavailable = |report: &mut Report, error: FetchError| {
        report_skipped(report, error.skipped().unwrap_or(&SkippedKeys::default()));
        KeysUnavailable::Fetch(error)
    };
    let url = endpoint.jwks_url(http, deadline).await.map_err(|error| unavailable(report, error))?;
    report.noted("from", &url);
    let set = Endpoint::Jwks(url).fetch(http, clock, deadline).await;
    set.map(|(set, _)| set).map_err(|error| unavailable(report, error))
}

fn report_keys(report: &mut Report, keys: &[Key]) {
    for key in keys {
        let name = key.kid.as_deref().map_or("without kid".to_owned(), quoted);
        let algorithms: Vec<_> = key.algorithms.iter().copied().map(name_of).collect();
        let kind = match algorithms.first().map_or("", |name| &name[..2]) {
            "RS" | "PS" => "RSA",
            "ES" => "EC",
            "HS" => "oct",
            _ => "OKP",
        };
        report.passed(&name, &format!("{kind}, for {}", algorithms.join(", ")));
    }
}

fn report_skipped(report: &mut Report, skipped: &SkippedKeys) {
    for key in &skipped.named {
        report.noted("skipped", key);
    }
    if skipped.others > 0 {
        report.noted("skipped", format!("{} others", skipped.others));
    }
}

fn name_of(algorithm: Algorithm) -> String {
    match algorithm {
        Algorithm::Library(algorithm) => format!("{algorithm:?}"),
        Algorithm::Es512 => "ES512".to_owned(),
    }
}

/// What the rules expect, kept for the report when the verifier has them.
struct Expected {
    audience: Vec<String>,
    scope: Option<String>,
    node_claim: Option<ClaimName>,
}

impl Expected {
    fn new(rules: &ClaimRules) -> Self {
        let mut audience: Vec<_> = rules.audience.iter().cloned().collect();
        audience.sort();
        Self { audience, scope: rules.scope.clone(), node_claim: rules.node_claim.clone() }
    }

    /// Reports each claim, and which of them `failed` is about.
    fn report(&self, report: &mut Report, claims: &UniqueMembers<'_>, failed: Option<&InvalidToken>, now: SystemTime) {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let no_audience = claims.get("aud").is_none_or(|aud| matches!(aud.get(), "[]" | "\"\""));
        let audience = format!("one of {}", list(&self.audience));
        let scope = match &self.scope {
            Some(scope) => format!("{} here or in the other", quoted(scope)),
            None => "not compared".to_owned(),
        };
        let leeway = LEEWAY.as_secs();
        let rows: [(&str, Type, String); 9] = [
            (
                "aud",
                Type::Texts,
                if no_audience { "none, so client_id is compared".to_owned() } else { audience.clone() },
            ),
            ("client_id", Type::Text, if no_audience { audience } else { "not compared".to_owned() }),
            ("exp", Type::Date, format!("a time to come, {leeway} s leeway")),
            ("nbf", Type::Date, format!("a time that has come, {leeway} s leeway")),
            ("iat", Type::Date, format!("a time that has come, {leeway} s leeway")),
            ("token_use", Type::Text, "absent or not \"id\"".to_owned()),
            ("scope", Type::Texts, scope.clone()),
            ("scp", Type::Texts, scope),
            ("sub", Type::Any, "not compared".to_owned()),
        ];
        for (name, claim_type, expected) in rows {
            let date = claims.read::<f64>(name).ok().flatten().filter(|_| matches!(claim_type, Type::Date));
            let value = match date {
                Some(seconds) => format!("{} ({})", shown(claims, name), in_words(name, seconds, now)),
                None => shown(claims, name),
            };
            let is_wrong = failed.is_some_and(|error| match error {
                InvalidToken::ClaimType => !claim_type.matches(claims, name),
                InvalidToken::Audience => name == if no_audience { "client_id" } else { "aud" },
                InvalidToken::NoExpiry | InvalidToken::Expired => name == "exp",
                InvalidToken::NotYetValid => {
                    name != "exp" && date.is_some_and(|start| now + LEEWAY.as_secs_f64() < start)
                }
                InvalidToken::IdToken => name == "token_use",
                // Refused before the claims are validated.
                InvalidToken::NotSigned
                | InvalidToken::Header
                | InvalidToken::Extension
                | InvalidToken::Type
                | InvalidToken::Claims
                | InvalidToken::Issuer
                | InvalidToken::UnknownKid { .. }
                | InvalidToken::Algorithm
                | InvalidToken::Signature => false,
            });
            let line = format!("{value}; expected: {expected}");
            if is_wrong {
                report.failed(name, &line);
            } else {
                report.noted(name, line);
            }
        }
        match failed {
            Some(error) => report.failed("claims", &error.to_string()),
            None => report.passed("claims", "valid"),
        }
    }
}

/// The JSON type that a claim must have.
enum Type {
    Any,
    Date,
    Text,
    Texts,
}

impl Type {
    fn matches(&self, claims: &UniqueMembers<'_>, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Date => claims.read::<f64>(name).is_ok(),
            Self::Text => claims.read::<String>(name).is_ok(),
            Self::Texts => claims.read::<String>(name).is_ok() || claims.read::<Vec<String>>(name).is_ok(),
        }
    }
}

fn report_caller(
    report: &mut Report,
    caller: Caller,
    expected: &Expected,
    claims: &UniqueMembers<'_>,
) -> Result<(), Problem> {
    report.section("Scope and node");
    let node = match &expected.node_claim {
        None => "not compared (TOKEN_NODE_CLAIM is empty)".to_owned(),
        Some(ClaimName::Member(name)) => format!("claim {}: {}", quoted(name), shown(claims, name)),
        Some(ClaimName::Pointer(first, rest)) => {
            let value = claims.get(first).and_then(|value| serde_json::from_str::<Value>(value.get()).ok());
            let node = value.as_ref().and_then(|value| value.pointer(rest));
            let node = node.map_or("absent".to_owned(), |node| printable(&node.to_string()));
            format!("claim {} with the pointer {}: {node}", quoted(first), quoted(rest))
        }
    };
    if let Some(scope) = &expected.scope {
        report.noted("scope", quoted(scope));
    }
    report.noted("node", node);
    match caller.authorize() {
        Ok(Access::Node(node)) => report.passed("access", &format!("to the distributors of node {node}")),
        Ok(Access::AnyNode) => report.passed("access", "to every distributor"),
        Err(forbidden) => {
            report.failed("access", &forbidden.to_string());
            return Err(forbidden.into());
        }
    }
    Ok(())
}

/// Returns when a date is, in words, as of `now`.
fn in_words(claim: &str, seconds: f64, now: f64) -> String {
    // As much as an integer holds is enough: no calendar reaches that far.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let difference = (seconds - now).abs() as u64;
    let units = [("day", 86_400), ("hour", 3_600), ("minute", 60)];
    let (unit, length) = units.into_iter().find(|(_, length)| difference >= *length).unwrap_or(("second", 1));
    let count = difference / length;
    let span = format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
    let words = match (claim, seconds <= now) {
        ("exp", true) => format!("expired {span} ago"),
        ("exp", false) => format!("expires in {span}"),
        (_, true) => format!("{span} ago"),
        (_, false) => format!("in {span}"),
    };
    // A date that no calendar has stays a number.
    #[allow(clippy::cast_possible_truncation)]
    let date = DateTime::<Utc>::from_timestamp(seconds as i64, 0);
    date.map_or(words.clone(), |date| format!("{}, {words}", date.to_rfc3339_opts(SecondsFormat::Secs, true)))
}

/// Returns the value of a claim as the token has it.
fn shown(claims: &UniqueMembers<'_>, name: &str) -> String {
    claims.get(name).map_or("absent".to_owned(), |value| printable(value.get()))
}

fn quoted(text: &str) -> String {
    format!("{:?}", excerpt(text))
}

fn list<'a>(texts: impl IntoIterator<Item = &'a String>) -> String {
    texts.into_iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ")
}

/// Returns what someone else wrote without what a terminal would obey.
fn printable(text: &str) -> String {
    let escape = |char: char| if char.is_control() { char.escape_unicode().to_string() } else { char.to_string() };
    excerpt(text).chars().map(escape).collect()
}

struct Report {
    text: String,
    colored: bool,
}

impl Report {
    fn section(&mut self, title: &str) {
        let separator = if self.text.is_empty() { "" } else { "\n" };
        let (start, end) = if self.colored { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        self.line(&format!("{separator}{start}{title}{end}"));
    }

    fn passed(&mut self, name: &str, value: &str) {
        self.row("32", "✓", name, value);
    }

    fn failed(&mut self, name: &str, value: &str) {
        self.row("31", "✗", name, value);
    }

    fn noted(&mut self, name: &str, value: impl std::fmt::Display) {
        self.row("0", "", name, &value.to_string());
    }

    fn row(&mut self, color: &str, mark: &str, name: &str, value: &str) {
        let (start, end) = if self.colored { (format!("\x1b[{color}m"), "\x1b[0m") } else { (String::new(), "") };
        self.line(&format!("  {start}{mark:<1}{end} {name:<10} {value}"));
    }

    fn line(&mut self, line: &str) {
        writeln!(self.text, "{line}").expect("written to memory");
    }
}
