//! What the function makes of a token, step by step, with the function's own code.

use std::fmt::Write as _;
use std::sync::Arc;
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
use update_distributor::token::Verifier;
use update_distributor::token::claims::{Caller, ClaimName, ClaimRules, LEEWAY};
use update_distributor::token::error::{InvalidToken, Part, Unverified};
use update_distributor::token::fetch::{Endpoint, FetchError, Fetcher};
use update_distributor::token::issuer::Keys;
use update_distributor::token::jws::{self, Jws};
use update_distributor::token::key::Key;
use update_distributor::token::key_set::{FirstTen, KeySet, SkippedKey};
use update_distributor::token::key_store::{KeysUnavailable, TokenError};
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
pub async fn explain(rules: ClaimRules, http: &SharedHttpConnector, token: &str, colored: bool) -> Explanation {
    let mut report = Report { text: String::new(), colored };
    let fetcher = Fetcher { http: http.clone(), clock: Clock::system() };
    let refused = judge(&mut report, rules, fetcher, token).await.err().map(|problem| problem.code);
    report.section("A request with this token");
    match refused {
        None => report.passed("result", "the token is accepted: 200, unless a later check fails"),
        Some(code) => report.failed("result", &format!("{} {}", code.status().as_u16(), code.name())),
    }
    Explanation { text: report.text, refused }
}

async fn judge(report: &mut Report, mut rules: ClaimRules, fetcher: Fetcher, token: &str) -> Result<(), Problem> {
    report.section("Header field Authorization");
    let token = &bearer_token(token)
        .inspect_err(|problem| report.failed("Bearer", problem.reason.as_deref().unwrap_or(problem.code.name())))?;
    report.passed("Bearer", &format!("one token of {} bytes", token.len()));

    report.section("Header");
    let header = token.split('.').next().and_then(|header| URL_SAFE_NO_PAD.decode(header).ok());
    if let Some(header) = header.as_deref().and_then(|header| UniqueMembers::parse(header).ok()) {
        for name in ["alg", "kid", "typ", "crit", "b64"].into_iter().filter(|name| header.has(name)) {
            report.noted(name, header.get(name).map_or("null".to_owned(), |value| printable(value.get())));
        }
    }
    let jws = Jws::parse(token).map_err(|error| refuse(report, "header", error))?;
    report.passed("header", "valid");
    let payload = jws.payload().map_err(|error| refuse(report, "claims", error))?;
    let claims = jws::object(Part::Payload, &payload).map_err(|error| refuse(report, "claims", error))?;

    report.section("Issuer");
    report.noted("accepted", list(rules.issuers.iter().map(|issuer| &issuer.name)));
    let issuer = rules.issuer(&claims).map_err(|error| {
        report.failed("iss", &shown(&claims, "iss"));
        refuse(report, "iss", error)
    })?;
    report.passed("iss", &quoted(&issuer.name));

    report.section("Keys");
    let set = match &issuer.keys {
        Keys::Inline(set) => {
            report.noted("from", "a set that is given");
            Arc::clone(set)
        }
        // As the function does, before it fetches anything.
        Keys::Fetched(_) if jws.algorithm.is_symmetric() => {
            return Err(refuse(report, "alg", Unverified::Algorithm.into()));
        }
        Keys::Fetched(set) => {
            let set = fetched(report, &set.endpoint, &fetcher).await.map_err(|error| {
                report.failed("keys", &error.to_string());
                Problem::from(TokenError::from(KeysUnavailable::Fetch(error)))
            })?;
            Arc::new(set)
        }
    };
    report_keys(report, set.keys());
    report_skipped(report, &set.warnings.skipped);
    for kid in &set.warnings.crowded.named {
        report.noted("crowded", kid);
    }

    report.section("Signature");
    for key in set.candidates(jws.kid.as_deref(), jws.algorithm) {
        report.noted("tried", key.kid.as_deref().map_or("a key without kid".to_owned(), quoted));
    }
    set.verify(&jws).map_err(|reason| {
        report.noted("refetch", "the function fetches the set again, at most every 10 s, before it refuses the token");
        refuse(report, "signature", reason.into())
    })?;
    report.passed("signature", "verifies");

    report.section("Claims");
    let mut audience: Vec<_> = rules.audience.iter().cloned().collect();
    audience.sort();
    report.noted("audience", format!("one of {}", list(&audience)));
    let (scope, node_claim) = (rules.scope.clone(), rules.node_claim.clone());
    for issuer in &mut rules.issuers {
        issuer.keys = Keys::Inline(Arc::clone(&set));
    }
    let result = Verifier::new(rules, fetcher.clone()).verify(token, Instant::now() + FETCHING).await;
    report_claims(report, &claims, result.as_ref().err(), fetcher.clock.now());
    report_caller(report, result?, scope, node_claim, &claims)
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
    TokenError::from(error).into()
}

/// Returns the keys of an issuer, and reports where they are looked for.
async fn fetched(report: &mut Report, endpoint: &Endpoint, fetcher: &Fetcher) -> Result<KeySet, FetchError> {
    let deadline = Some(Instant::now() + FETCHING);
    if let Endpoint::Discovery { metadata, .. } = endpoint {
        report.noted("metadata", metadata);
    }
    let url = fetcher.jwks_url(endpoint, deadline).await?;
    report.noted("from", &url);
    let set = fetcher.key_set(&Endpoint::Jwks(url), deadline).await;
    set.map(|(set, _)| set).inspect_err(|error| report_skipped(report, error.skipped().unwrap_or(&FirstTen::default())))
}

fn report_keys(report: &mut Report, keys: &[Key]) {
    for key in keys {
        let name = key.kid.as_deref().map_or("without kid".to_owned(), quoted);
        let algorithms: Vec<_> = key.algorithms.iter().map(ToString::to_string).collect();
        let kind = match algorithms.first().map_or("", |name| &name[..2]) {
            "RS" | "PS" => "RSA",
            "ES" => "EC",
            "HS" => "oct",
            _ => "OKP",
        };
        report.passed(&name, &format!("{kind}, for {}", algorithms.join(", ")));
    }
}

fn report_skipped(report: &mut Report, skipped: &FirstTen<SkippedKey>) {
    for key in &skipped.named {
        report.noted("skipped", key);
    }
    if skipped.others > 0 {
        report.noted("skipped", format!("{} others", skipped.others));
    }
}

/// Reports the claims that are judged, and the one that breaks a rule.
fn report_claims(report: &mut Report, claims: &UniqueMembers<'_>, failed: Option<&TokenError>, now: SystemTime) {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let failed = failed.map(|error| match error {
        TokenError::Invalid { reason, .. } => reason,
        TokenError::Keys(_) => unreachable!("the keys are there"),
    });
    for name in ["aud", "client_id", "exp", "nbf", "iat", "token_use", "scope", "scp", "sub"] {
        let is_date = matches!(name, "exp" | "nbf" | "iat");
        let value = match claims.read::<f64>(name) {
            Ok(Some(seconds)) if is_date => format!("{} ({})", shown(claims, name), in_words(name, seconds, now)),
            _ => shown(claims, name),
        };
        if failed.and_then(InvalidToken::claim) == Some(name) {
            report.failed(name, &value);
        } else {
            report.noted(name, value);
        }
    }
    match failed {
        Some(error) => report.failed("claims", &error.to_string()),
        None => report.passed("claims", &format!("valid, with a leeway of {} s", LEEWAY.as_secs())),
    }
}

fn report_caller(
    report: &mut Report,
    caller: Caller,
    scope: Option<String>,
    node_claim: Option<ClaimName>,
    claims: &UniqueMembers<'_>,
) -> Result<(), Problem> {
    report.section("Scope and node");
    let node = match node_claim {
        None => "not compared (TOKEN_NODE_CLAIM is empty)".to_owned(),
        Some(ClaimName::Member(name)) => format!("claim {}: {}", quoted(&name), shown(claims, &name)),
        Some(ClaimName::Pointer(first, rest)) => {
            let value = claims.get(&first).and_then(|value| serde_json::from_str::<Value>(value.get()).ok());
            let node = value.as_ref().and_then(|value| value.pointer(&rest));
            let node = node.map_or("absent".to_owned(), |node| printable(&node.to_string()));
            format!("claim {} with the pointer {}: {node}", quoted(&first), quoted(&rest))
        }
    };
    report.noted("scope", scope.map_or("not compared".to_owned(), |scope| quoted(&scope)));
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
