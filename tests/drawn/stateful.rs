//! Random sequences of requests, against the function with its store and against the model: responses and items agree
//! after each.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use crate::config;
use testing::issuer::{Issuer, claims, now};
use testing::lambda::function::Function;
use testing::lambda::request::{self, EVERY_MEMBER, FRONT_ENDS, Request};
use testing::store::embedded::{AT, Item as Stored};

use testing::model::{
    self, Body, CODINGS, CONTENT_TYPES, Draw, Form, HOOK_METHODS, HOOK_PATHS, HOSTS, IF_MATCHES, Item, Leaf, METHODS,
    Member, Meta, NOW, PASSWORDS, PATHS, READ_ONLY, Row, TARGETS, TOKENS, TYPES, Token, UNKNOWN, USERNAMES,
};

const STEPS: usize = 10_000;
const WORLDS: usize = 8;

const NODES: [&str; 2] = ["e40efce4-38a3-46c4-a202-e8db95d0409c", "0b1e2d3c-4a59-4687-8796-a5b4c3d2e1f0"];
/// The third does not exist.
const IDS: [&str; 3] = [
    "39e8003c-6342-4fd3-97a1-3f2a7b437d0a",
    "9f8e7d6c-5b4a-4938-8271-605f4e3d2c1b",
    "ffffffff-ffff-4fff-bfff-ffffffffffff",
];

/// The first of a table mostly, else any of it.
fn mostly<T: Clone + std::fmt::Debug + 'static>(table: &'static [T]) -> impl Strategy<Value = T> {
    prop_oneof![24 => Just(table[0].clone()), 1 => select(table)]
}

/// What is right mostly, else any of a table.
fn right(table: &'static [Row]) -> impl Strategy<Value = Row> {
    let right: Vec<Row> = table.iter().filter(|row| row.1.is_none()).copied().collect();
    prop_oneof![24 => select(right), 1 => select(table)]
}

fn leaf(table: &'static [Leaf]) -> impl Strategy<Value = Option<Leaf>> {
    let right: Vec<Leaf> = table.iter().filter(|leaf| leaf.2).copied().collect();
    let right = if right.is_empty() { None } else { Some(select(right)) };
    match right {
        Some(right) => {
            prop_oneof![6 => Just(None), 10 => right.prop_map(Some), 1 => select(table).prop_map(Some)].boxed()
        }
        None => prop_oneof![24 => Just(None), 1 => select(table).prop_map(Some)].boxed(),
    }
}

fn authentication() -> impl Strategy<Value = Option<Member>> {
    let members = (leaf(&TYPES), leaf(&USERNAMES), leaf(&PASSWORDS), leaf(&TOKENS), leaf(&UNKNOWN));
    let members = members.prop_map(|members| <[_; 5]>::from(members).into_iter().flatten().collect::<Vec<_>>());
    prop_oneof![
        12 => Just(None),
        24 => members.prop_shuffle().prop_map(|members| Some(Member::Object(members))),
        1 => Just(Some(Member::NoObject)),
    ]
}

fn meta() -> impl Strategy<Value = Meta> {
    let leaves = (leaf(&HOSTS), leaf(&HOOK_PATHS), leaf(&HOOK_METHODS), leaf(&UNKNOWN));
    let members = (leaves, authentication()).prop_map(|(leaves, authentication)| {
        let leaves = <[_; 4]>::from(leaves).into_iter().flatten().map(Member::Leaf);
        leaves.chain(authentication).collect::<Vec<_>>()
    });
    prop_oneof![
        6 => Just(Meta::Absent),
        6 => Just(Meta::Null),
        24 => members.prop_shuffle().prop_map(Meta::Object),
        4 => Just(Meta::SentBack),
        1 => Just(Meta::NoObject),
    ]
}

fn body() -> impl Strategy<Value = Body> {
    let form = prop_oneof![16 => Just(Form::Text), 6 => Just(Form::Base64), 2 => select(&Form::ALL[..])];
    (form, leaf(&READ_ONLY), meta(), leaf(&UNKNOWN)).prop_map(|(form, before, meta, after)| Body {
        form,
        before: before.into_iter().collect(),
        meta,
        after: after.into_iter().collect(),
    })
}

fn draw() -> impl Strategy<Value = Draw> {
    let who = (select(&FRONT_ENDS[..]), 0..2_usize, prop_oneof![20 => Just(None), 1 => (0..3_usize).prop_map(Some)]);
    let types = (right(&CONTENT_TYPES), right(&CODINGS));
    let parts = (mostly(&METHODS), right(&PATHS), mostly(&Token::ALL), right(&TARGETS), types);
    let if_match = prop_oneof![
        6 => Just(IF_MATCHES[0]),
        4 => Just(IF_MATCHES[2]),
        3 => select(&IF_MATCHES[..]),
    ];
    (who, parts, if_match, body()).prop_map(|(who, parts, if_match, body)| {
        let (front_end, caller, other) = who;
        let (method, path, token, target, (content_type, coding)) = parts;
        let distributor = other.unwrap_or(caller);
        Draw { front_end, caller, distributor, method, path, token, target, if_match, content_type, coding, body }
    })
}

struct World {
    function: Function,
    /// Signed once, since signatures would take a fifth of the time.
    authorizations: HashMap<(usize, Token), Option<String>>,
    items: Vec<Option<Item>>,
    last: Option<Value>,
    outcomes: BTreeSet<String>,
}

impl World {
    async fn new() -> Self {
        let function = Function::new().await;
        let tokens = (0..NODES.len()).flat_map(|caller| Token::ALL.map(|token| (caller, token)));
        let authorizations =
            tokens.map(|(caller, token)| ((caller, token), authorization(&function.issuer, caller, token))).collect();
        Self { function, authorizations, items: Vec::new(), last: None, outcomes: BTreeSet::new() }
    }

    /// Both distributors, as new.
    fn reset(&mut self) {
        self.items.clear();
        self.last = None;
        for owner in 0..2 {
            let s = |text: &str| AttributeValue::S(text.to_owned());
            let attributes = [("id", IDS[owner]), ("node_id", NODES[owner]), ("created_at", AT), ("updated_at", AT)];
            self.function.store.put(attributes.map(|(name, text)| (name.to_owned(), s(text))).into());
            self.items.push(Some(Item { owner, updated_at: AT.to_owned(), meta: None }));
        }
        self.items.push(None);
    }

    async fn step(&mut self, draw: &Draw) {
        let event = self.event(draw);
        let expected = model::response(draw, &mut self.items[draw.distributor], self.last.as_ref());
        let before = Utc::now();
        let response = self.function.send(&event).await;
        let items = self.stored();
        let written = self.items[draw.distributor].as_mut().filter(|item| item.updated_at == NOW);
        let mut now = String::new();
        if let Some(written) = written {
            // The one thing that the model cannot know.
            now.clone_from(items[draw.distributor].as_ref().unwrap()["updated_at"].as_s().unwrap());
            let at = DateTime::parse_from_rfc3339(&now).unwrap().to_utc();
            assert_eq!(at.to_rfc3339_opts(SecondsFormat::Micros, true), now);
            assert!(at >= before - chrono::TimeDelta::microseconds(1) && at <= Utc::now(), "{now}");
            now.clone_into(&mut written.updated_at);
        }
        for (index, (item, stored)) in self.items.iter().zip(&items).enumerate() {
            assert_eq!(stored.as_ref().map(plain), item.as_ref().map(|item| as_stored(index, item)), "{response:?}");
        }
        check(draw, &response, &expected, &now);
        self.outcomes.insert(response.outcome());
        if response.status == 200 {
            self.last = Some(response.body);
        }
    }

    fn stored(&self) -> Vec<Option<Stored>> {
        let items = self.function.store.items();
        assert_eq!(items.len(), 2);
        let find = |id: &str| items.iter().find(|item| item["id"].as_s().unwrap() == id).cloned();
        IDS.map(find).into()
    }

    fn event(&self, draw: &Draw) -> Value {
        let path = model::path(draw.path.0[0], IDS[draw.distributor]);
        let mut request = Request::put("", "").path(&path).method(draw.method.0[0]);
        request.headers.clear();
        let token = self.authorizations[&(draw.caller, draw.token)].as_ref();
        for value in [token, token.filter(|_| draw.token == Token::Twice)].into_iter().flatten() {
            request = request.with("Authorization", value);
        }
        for (name, row) in [
            ("x-target-server", &draw.target),
            ("Content-Type", &draw.content_type),
            ("Content-Encoding", &draw.coding),
        ] {
            request = row.0.iter().fold(request, |request, value| request.with(name, value));
        }
        let current = self.items[draw.distributor].as_ref().map_or(AT, |item| &item.updated_at);
        if let Some(value) = draw.if_match.0.first() {
            request = request.with("If-Match", &model::if_match(value, current));
        }
        let text = draw.body.text(self.last.as_ref());
        let filled = |length: usize| format!("{text}{}", " ".repeat(length - text.len()));
        let mut event = request.event(draw.front_end);
        let (body, flag) = match draw.body.form {
            Form::Text => (json!(text), json!(false)),
            Form::Base64 => (json!(STANDARD.encode(&text)), json!(true)),
            Form::Longest => (json!(filled(16_384)), json!(null)),
            Form::TooLong => (json!(filled(16_385)), json!(false)),
            Form::FlagOfAnotherType => (json!(text), json!("false")),
            Form::NotBase64 => (json!("{}"), json!(true)),
            Form::Absent => (json!(null), json!(true)),
            Form::Cut => (json!(text[..text.len() - 1]), json!(false)),
            Form::NotUtf8 => (json!(STANDARD.encode(b"{\"id\":\"\xff\"}")), json!(true)),
            Form::Bom => (json!(format!("\u{feff}{text}")), json!(false)),
            Form::TwoBoms => (json!(format!("\u{feff}\u{feff}{text}")), json!(false)),
        };
        event["body"] = body;
        event["isBase64Encoded"] = flag;
        event
    }
}

/// The value of `Authorization`.
fn authorization(issuer: &Issuer, caller: usize, token: Token) -> Option<String> {
    let mut content = claims(NODES[caller], 600);
    Some(match token {
        Token::Absent => return None,
        Token::Good | Token::Twice => format!("Bearer {}", issuer.sign(&content)),
        Token::Basic => "Basic dTpw".to_owned(),
        Token::Garbage => "bearer x".to_owned(),
        Token::Forged => format!("Bearer {}", Issuer::new("first").sign(&content)),
        Token::Expired => {
            content["exp"] = (now() - 60).into();
            format!("Bearer {}", issuer.sign(&content))
        }
        Token::NoNode => {
            content.as_object_mut().unwrap().remove("node_id");
            format!("Bearer {}", issuer.sign(&content))
        }
    })
}

fn as_stored(index: usize, item: &Item) -> Value {
    let mut stored =
        json!({"id": IDS[index], "node_id": NODES[item.owner], "created_at": AT, "updated_at": item.updated_at});
    if let Some(meta) = &item.meta {
        stored["meta"] = meta.clone();
    }
    stored
}

fn plain(item: &Stored) -> Value {
    let members = item.iter().map(|(name, value)| {
        let value = match value {
            AttributeValue::S(text) => json!(text),
            AttributeValue::N(number) => serde_json::from_str(number).unwrap(),
            AttributeValue::M(members) => plain(members),
            other => panic!("{other:?}"),
        };
        (name.clone(), value)
    });
    Value::Object(members.collect::<Map<_, _>>())
}

fn check(draw: &Draw, response: &request::Response, expected: &model::Response, now: &str) {
    let known = |version: &str| if version == NOW { now.to_owned() } else { version.to_owned() };
    let mut headers = vec![("cache-control", "no-store, no-transform".to_owned())];
    let mut challenge = None;
    match expected {
        model::Response::Distributor { meta, updated_at } => {
            let updated_at = known(updated_at);
            headers.push(("content-type", "application/json".to_owned()));
            headers.push(("etag", format!("\"{updated_at}\"")));
            let (id, node) = (IDS[draw.distributor], NODES[draw.caller]);
            let body = json!({"id": id, "node_id": node, "meta": meta, "created_at": AT, "updated_at": updated_at});
            assert_eq!((response.outcome().as_str(), &response.body), ("200", &body));
        }
        model::Response::Problem { problem: (status, code), pointers, version } => {
            assert_eq!(response.outcome(), format!("{status} {code}"));
            headers.push(("content-type", "application/problem+json".to_owned()));
            if let Some(version) = version {
                headers.push(("etag", format!("\"{}\"", known(version))));
            }
            match (status, *code) {
                (405, _) => headers.push(("allow", "PUT".to_owned())),
                // The type is judged before the coding.
                (415, _) if draw.content_type.1.is_none() => headers.push(("accept-encoding", "identity".to_owned())),
                (_, "missing_token") => headers.push(("www-authenticate", "Bearer".to_owned())),
                (401, _) => challenge = Some("Bearer error=\"invalid_token\", error_description=\""),
                (403, _) => challenge = Some("Bearer error=\"insufficient_scope\", error_description=\""),
                _ => {}
            }
            let body = &response.body;
            let found: Vec<_> =
                body["errors"].as_array().into_iter().flatten().map(|error| &error["pointer"]).collect();
            assert_eq!(found, pointers.iter().collect::<Vec<_>>());
            assert_eq!(body.get("errors").is_some(), *status == 422);
            assert_eq!((&body["type"], &body["status"]), (&json!("about:blank"), &json!(status)));
            assert_eq!(body["request_id"], "invocation-id");
            assert!(body["detail"].is_string() && body["title"].is_string(), "{body}");
        }
    }
    let mut found = response.headers.clone();
    if let Some(challenge) = challenge {
        let value = found.remove("www-authenticate").unwrap_or_default();
        assert!(value.starts_with(challenge), "{value}");
    }
    assert_eq!(found, headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
}

fn names(object: &Value) -> BTreeSet<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_model_knows_every_member() {
    let known = |tables: &[&[Leaf]]| -> BTreeSet<&str> { tables.iter().map(|table| table[0].0).collect() };
    let body: Value = serde_json::from_str(EVERY_MEMBER).unwrap();
    let mut meta = known(&[&HOSTS, &HOOK_PATHS, &HOOK_METHODS]);
    meta.insert("authentication");
    assert_eq!(names(&body["meta"]), meta);
    let authentication = known(&[&TYPES, &USERNAMES, &PASSWORDS, &TOKENS]);
    assert_eq!(names(&body["meta"]["authentication"]), authentication);
}

#[test]
fn function_and_model_agree() {
    // Each with a store of its own, side by side.
    let outcomes: BTreeSet<_> = std::thread::scope(|scope| {
        let worlds: Vec<_> = (0..WORLDS).map(|_| scope.spawn(|| agree_for(STEPS / WORLDS))).collect();
        worlds.into_iter().flat_map(|world| world.join().unwrap()).collect()
    });
    // Sequences that never got there would prove nothing.
    let expected = [
        "200",
        "400 invalid_event",
        "400 invalid_id",
        "400 invalid_if_match",
        "400 malformed_json",
        "400 wrong_target_server",
        "401 invalid_token",
        "401 missing_token",
        "403 node_claim_missing",
        "404 distributor_not_found",
        "404 route_not_found",
        "405 method_not_allowed",
        "412 precondition_failed",
        "413 body_too_large",
        "415 unsupported_media_type",
        "422 invalid_body",
    ];
    assert_eq!(outcomes, expected.map(str::to_owned).into());
}

/// The outcomes of at least so many steps.
fn agree_for(least: usize) -> BTreeSet<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = Mutex::new(runtime.block_on(World::new()));
    let steps = Cell::new(0);
    while steps.get() < least {
        // A sequence at a time, since their lengths are drawn.
        let mut runner = TestRunner::new(Config { max_shrink_iters: 500, ..config(1) });
        let outcome = runner.run(&vec(draw(), 1..=40), |draws| {
            runtime.block_on(async {
                let mut world = world.lock().await;
                world.reset();
                for draw in &draws {
                    world.step(draw).await;
                    steps.set(steps.get() + 1);
                }
            });
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{error}"));
    }
    world.into_inner().outcomes
}
