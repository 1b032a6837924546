//! The instructions of a warm request outside of the kernel, by the part of the program that they are from, counted by
//! valgrind: unlike time, they are the same in every run, to a few per thousand.
//!
//! Fails where a request takes over 3 % more than the committed `benches/instructions.json` says; `-- --save` writes
//! that file anew. Without valgrind, it says so and measures nothing.
//!
//! `-- --train BINARY` counts nothing, and sends a binary the requests that a profile for its compiler is made of.

// A benchmark prints, and what it cannot measure ends it.
#![allow(
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs
)]

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::process::{ExitCode, Stdio};

use serde_json::json;
use testing::issuer::signer::Signer;
use testing::lambda::function::embedded;
use testing::lambda::process::{build, environment};
use testing::lambda::request::{FrontEnd, READ, REMOVE, Request, SET};
use testing::lambda::runtime_api::RuntimeApi;
use testing::store::tls::SecureStore;
use tokio::process::Command;

/// Requests of the short run and of the long one; the difference is what is counted.
const SHORT: usize = 40;
const LONG: usize = 240;
const GROWTH: f64 = 1.03;
/// Requests of a run that makes a profile.
const TRAINING: usize = 3_000;

/// The layer of a source file or of a function, by the first of these that is part of its path or name.
const LAYERS: [(&str, &str); 50] = [
    ("aws-lc", "AWS-LC (TLS, signatures of tokens)"),
    ("aws_lc", "AWS-LC (TLS, signatures of tokens)"),
    ("ecp_nistz256", "AWS-LC (TLS, signatures of tokens)"),
    ("aesni", "AWS-LC (TLS, signatures of tokens)"),
    ("mimalloc", "allocator"),
    ("mi_", "allocator"),
    ("src/event.rs", "event"),
    ("src/json.rs", "event and body, as JSON"),
    ("src/request.rs", "request"),
    ("src/token/", "token"),
    ("src/body.rs", "body"),
    ("src/webhook.rs", "body"),
    ("src/store/", "store"),
    ("src/log", "log"),
    ("chrono", "log"),
    ("src/handler.rs", "checks and response"),
    ("lambda_http", "checks and response"),
    ("aws_lambda_events", "checks and response"),
    ("src/runtime.rs", "Runtime API client"),
    ("lambda_runtime", "Runtime API client"),
    ("sigv4", "signing"),
    ("sha2", "signing"),
    ("hmac", "signing"),
    ("digest", "signing"),
    ("hex", "signing"),
    ("aws-", "SDK"),
    ("aws_", "SDK"),
    ("rustls", "TLS"),
    ("hyper", "HTTP client"),
    ("http", "HTTP client"),
    ("tower", "HTTP client"),
    ("bytes", "HTTP client"),
    ("want-", "HTTP client"),
    ("futures", "tokio"),
    ("tokio", "tokio"),
    ("mio", "tokio"),
    ("serde", "JSON"),
    ("itoa", "JSON"),
    ("zmij", "JSON"),
    ("tracing", "tracing"),
    ("/url-", "SDK"),
    ("url::", "SDK"),
    ("uuid", "request"),
    ("base64", "token"),
    ("hashbrown", "standard library"),
    ("/library/", "standard library"),
    ("core::", "standard library"),
    ("alloc::", "standard library"),
    ("std::", "standard library"),
    ("libc", "C library"),
];

#[tokio::main]
async fn main() -> ExitCode {
    if let Some(binary) = testing::path_after("--train") {
        let world = World::start().await;
        for tokens in [1, TRAINING / 5] {
            drive(Command::new(&binary), &world, &[SET, REMOVE, READ], TRAINING, tokens).await;
        }
        return ExitCode::SUCCESS;
    }
    if !std::process::Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
    {
        println!("valgrind is not installed: no instructions are counted");
        return ExitCode::SUCCESS;
    }
    // That which is deployed is built for other processors, and has no names by which the layers are told apart.
    let deployed = testing::path_after("--binary");
    let build_name = if deployed.is_some() { "deployed" } else { "built here" };
    let binary = deployed.unwrap_or_else(|| build("instructions"));
    let world = World::start().await;
    let mut measured = BTreeMap::new();
    for (name, tokens) in [("same token", 1), ("new tokens", LONG + 1)] {
        let long = count(&binary, &world, LONG, tokens).await;
        let short = count(&binary, &world, SHORT, tokens).await;
        let mut layers = BTreeMap::new();
        for (layer, instructions) in &long {
            let more = instructions.saturating_sub(short.get(layer).copied().unwrap_or_default());
            layers.insert(*layer, more / (LONG - SHORT) as u64);
        }
        measured.insert(name, layers);
    }
    report(build_name, &measured)
}

fn report(build_name: &str, measured: &BTreeMap<&str, BTreeMap<&'static str, u64>>) -> ExitCode {
    let columns = ["same token", "new tokens"].map(|name| &measured[name]);
    let mut layers: Vec<_> = columns[1].keys().copied().collect();
    layers.sort_by_key(|layer| std::cmp::Reverse(columns[0].get(layer)));
    println!("{:<28}{:>14}{:>14}", "instructions per request", "same token", "new tokens");
    for layer in layers {
        let [same, new] = columns.map(|column| column.get(layer).copied().unwrap_or_default());
        println!("{layer:<28}{same:>14}{new:>14}");
    }
    let [same, new] = columns.map(|column| column.values().sum::<u64>());
    println!("{:<28}{same:>14}{new:>14}", "sum");

    let file = testing::root().join("benches/instructions.json");
    let mut committed: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    if std::env::args().any(|argument| argument == "--save") {
        committed[build_name] = json!({"same token": same, "new tokens": new});
        fs::write(file, format!("{committed:#}\n")).unwrap();
        return ExitCode::SUCCESS;
    }
    let mut result = ExitCode::SUCCESS;
    for (name, now) in [("same token", same), ("new tokens", new)] {
        let before = committed[build_name][name].as_u64().expect("saved with --save");
        let ratio = now as f64 / before as f64;
        println!("{name}: {ratio:.3} of the committed {before}");
        if ratio > GROWTH {
            result = ExitCode::FAILURE;
        }
    }
    result
}

struct World {
    store: SecureStore,
    signer: Signer,
}

impl World {
    async fn start() -> Self {
        let folder = testing::root().join("target");
        Self { store: SecureStore::start(embedded().await, &folder).await, signer: Signer::p256() }
    }
}

/// Returns how many instructions of each layer a process has taken for its start and so many requests.
async fn count(binary: &Path, world: &World, requests: usize, tokens: usize) -> HashMap<&'static str, u64> {
    let file = testing::root().join(format!("target/instructions-{requests}-{tokens}.out"));
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--quiet", "--compress-pos=no"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(binary);
    drive(valgrind, world, &[SET], requests, tokens).await;
    layers(&fs::read_to_string(file).unwrap())
}

/// Starts the function and sends it so many requests, with these bodies and so many tokens in turn, until it has ended.
async fn drive(mut command: Command, world: &World, bodies: &[&str], requests: usize, tokens: usize) {
    let tokens: Vec<_> = (0..tokens).map(|number| world.signer.numbered("ES256", number)).collect();
    let api = RuntimeApi::start();
    let jwks = json!({"keys": [world.signer.named_jwk("ES256")]}).to_string();
    let mut child = command
        .env_clear()
        .envs(environment(&world.store.endpoint, &jwks))
        .env("AWS_LAMBDA_RUNTIME_API", api.address.to_string())
        .env("SSL_CERT_FILE", &world.store.certificate)
        // Nothing of the start differs between two runs.
        .env("PRIME", "false")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    api.ready().await;
    for (token, body) in tokens.iter().cycle().zip(bodies.iter().cycle()).take(requests) {
        let event = Request::put(token, body).event(FrontEnd::HttpApi).to_string();
        assert_eq!(api.invoke(event.as_bytes()).await.response().outcome(), "200");
        api.ready().await;
    }
    // Without a Runtime API the process ends, and what was counted in it is written.
    drop(api);
    child.wait().await.unwrap();
}

/// Sums up the own costs in a file of callgrind by layer.
fn layers(profile: &str) -> HashMap<&'static str, u64> {
    let mut names = HashMap::new();
    let mut name = |text: &str, kind: &'static str| {
        let (id, name) = text.split_once(' ').unwrap_or((text, ""));
        if !name.is_empty() {
            names.insert((kind, id.to_owned()), name.to_owned());
        }
        names.get(&(kind, id.to_owned())).cloned().unwrap_or_default()
    };
    let (mut object, mut file, mut function) = (String::new(), String::new(), String::new());
    let mut is_call = false;
    let mut costs = HashMap::new();
    for line in profile.lines() {
        if let Some(text) = line.strip_prefix("ob=") {
            object = name(text, "object");
        } else if let Some(text) = line.strip_prefix("fn=") {
            function = name(text, "function");
        } else if let Some(text) = ["fl=", "fi=", "fe="].iter().find_map(|prefix| line.strip_prefix(prefix)) {
            file = name(text, "file");
        } else if let Some(text) = line.strip_prefix("cob=") {
            name(text, "object");
        } else if let Some(text) = line.strip_prefix("cfn=") {
            name(text, "function");
        } else if let Some(text) = ["cfi=", "cfl="].iter().find_map(|prefix| line.strip_prefix(prefix)) {
            name(text, "file");
        } else if line.starts_with("calls=") {
            is_call = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit()) {
            // The line after a call has the costs of what was called.
            if !std::mem::take(&mut is_call) {
                let cost: u64 = line.split(' ').nth(1).and_then(|cost| cost.parse().ok()).unwrap_or_default();
                *costs.entry(layer(&object, &file, &function)).or_default() += cost;
            }
        }
    }
    costs
}

/// Code of the standard library that is inlined or instantiated belongs to the function, or to the type in its name.
fn layer(object: &str, file: &str, function: &str) -> &'static str {
    let find = |text: &str| LAYERS.iter().find(|(part, _)| text.contains(part)).map(|(_, layer)| *layer);
    let by_file = find(file).filter(|layer| *layer != "standard library");
    let by_object = || find(if object.contains(".so") { "libc" } else { object });
    by_file.or_else(|| find(function)).or_else(by_object).unwrap_or("other")
}
