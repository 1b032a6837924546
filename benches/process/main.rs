//! Start, first call, every call and package of the released function, as ratios to two floors: the same SDK and call on
//! `lambda_http` with no token and no checks, once with the defaults of its crates and once built for speed alone.
//!
//! All run as processes behind a Runtime API, in turn, with the embedded DynamoDB behind TLS on loopback.

// A benchmark prints, and what it cannot measure ends it.
#![allow(
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs
)]

mod chart;
mod refusals;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::stream::{self, StreamExt as _};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use testing::issuer::key_server::KeyServer;
use testing::issuer::reply::Reply;
use testing::issuer::signer::Signer;
use testing::lambda::function::embedded;
use testing::lambda::process::{build, environment};
use testing::lambda::request::{FrontEnd, READ, REMOVE, Request, SET};
use testing::lambda::runtime_api::RuntimeApi;
use testing::store::embedded::documented_item;
use testing::store::tls::SecureStore;
use tokio::process::{Child, Command};

/// Starts of each process at full speed, and with the share of a processor that 128 MB give.
const STARTS: usize = 15;
const SLOW_STARTS: usize = 9;
/// Requests of each operation after each start at full speed, and before them, for warmth.
const REQUESTS: usize = 100;
const WARMING: usize = 10;
/// The time without a request before each of those that find the process idle, with cold caches, as Lambda's do.
const PAUSE: Duration = Duration::from_millis(5);
/// Invocations at once in one process.
const AT_ONCE: [usize; 4] = [1, 4, 16, 64];
/// Requests of a process that takes so many.
const CONCURRENT_REQUESTS: usize = 800;
/// One for each request of a process.
const TOKENS: usize = 1 + 4 * (WARMING + REQUESTS);

const OPERATIONS: [(&str, &str); 3] = [("set", SET), ("remove", REMOVE), ("read", READ)];

#[tokio::main]
async fn main() {
    if let Some(json) = testing::path_after("--chart") {
        let chart = chart::draw(&serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap());
        return fs::write(testing::root().join("benches/process.svg"), chart).unwrap();
    }
    let json_file = testing::path_after("--json");
    let function = testing::path_after("--binary").unwrap_or_else(|| build("release"));
    let world = World::start().await;
    if std::env::args().any(|argument| argument == "--refusals") {
        let variant = Variant { name: "refusals", binary: &function, tokens: &[], keys: None };
        return refusals::measure(&world, &variant).await;
    }
    if let Some(before) = testing::path_after("--compare") {
        return compare(&world, &before, &function).await;
    }
    let (floor, optimized) = (build_floor("release", &[]), build_floor("optimized", &["--no-default-features"]));
    let variants = [
        Variant { name: "floor", binary: &floor, tokens: &[], keys: None },
        Variant { name: "optimized floor", binary: &optimized, tokens: &[], keys: None },
        Variant { name: "optimized, tokens", binary: &optimized, tokens: &world.es256, keys: None },
        Variant { name: "ES256", binary: &function, tokens: &world.es256[..1], keys: None },
        Variant { name: "RS256", binary: &function, tokens: &world.rs256[..1], keys: None },
        Variant { name: "ES256, new", binary: &function, tokens: &world.es256, keys: None },
        Variant { name: "RS256, new", binary: &function, tokens: &world.rs256, keys: None },
        Variant { name: "keys by URI", binary: &function, tokens: &world.es256[..1], keys: Some(&world.keys_uri) },
    ];
    let share = Share::find();
    let mut samples = BTreeMap::<&str, Samples>::new();
    let progress = progress(variants.len());
    for round in 0..STARTS {
        for variant in &variants {
            progress.set_message(format!("round {} of {STARTS}, {}", round + 1, variant.name));
            let samples = samples.entry(variant.name).or_default();
            measure(&world, variant, None, samples).await;
            if let Some(share) = &share
                && round < SLOW_STARTS
            {
                measure(&world, variant, Some(share), samples).await;
            }
            if matches!(variant.name, "floor" | "ES256, new") && round < SLOW_STARTS {
                for at_once in AT_ONCE {
                    measure_concurrent(&world, variant, at_once, samples).await;
                }
            }
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    for (name, binary) in [("floor", &floor), ("optimized floor", &optimized), ("ES256", &function)] {
        samples.entry(name).or_default().push("zip (MiB)", zip_size(binary));
    }
    report(&samples, share.is_some(), json_file);
}

/// Returns a bar for all rounds of so many programs, which is shown where standard error is a terminal.
fn progress(variants: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len}, {msg}, {elapsed}").expect("a template");
    ProgressBar::new((STARTS * variants) as u64).with_style(style)
}

/// Measures another build of the function and this one in turn, and prints medians and their ratios.
async fn compare(world: &World, before: &Path, after: &Path) {
    let tokens = &world.es256;
    let variants = [
        Variant { name: "before", binary: before, tokens, keys: None },
        Variant { name: "after", binary: after, tokens, keys: None },
        Variant { name: "before, keys by URI", binary: before, tokens, keys: Some(&world.keys_uri) },
        Variant { name: "after, keys by URI", binary: after, tokens, keys: Some(&world.keys_uri) },
    ];
    let mut samples = BTreeMap::<&str, Samples>::new();
    let progress = progress(variants.len());
    for round in 0..STARTS {
        for variant in &variants {
            progress.set_message(format!("round {} of {STARTS}, {}", round + 1, variant.name));
            measure(world, variant, None, samples.entry(variant.name).or_default()).await;
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    for pair in variants.chunks(2) {
        println!("{:<32}{:>12}{:>24}{:>10}", "medians", pair[0].name, pair[1].name, "ratio");
        for figure in samples[pair[0].name].0.keys() {
            let values = [0, 1].map(|index| samples[pair[index].name].percentile(figure, 50).expect("it was measured"));
            println!("{figure:<32}{:>12.3}{:>24.3}{:>10.3}", values[0], values[1], values[1] / values[0]);
        }
    }
}

fn build_floor(profile: &str, features: &[&str]) -> PathBuf {
    let mut cargo = std::process::Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["build", "--quiet", "--locked", "--manifest-path", "benches/floor/Cargo.toml"]);
    cargo.args(["--target-dir", "target/floor", "--profile", profile]).args(features).current_dir(testing::root());
    // The folder's configuration would take the entropy from the floor, too.
    let built = cargo.env("AWS_LC_SYS_NO_JITTER_ENTROPY", "0").status();
    assert!(built.unwrap().success(), "it builds");
    testing::root().join("target/floor").join(profile).join("floor")
}

fn zip_size(binary: &Path) -> f64 {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&fs::read(binary).unwrap()).unwrap();
    mebibytes(encoder.finish().unwrap().len() as f64)
}

fn mebibytes(bytes: f64) -> f64 {
    bytes / 1_048_576.0
}

/// What every process meets: the store, the keys, and a certificate to trust them by.
struct World {
    store: SecureStore,
    _keys: KeyServer,
    keys_uri: String,
    jwks: String,
    es256: Vec<String>,
    rs256: Vec<String>,
}

impl World {
    async fn start() -> Self {
        let store = embedded().await;
        for number in 0..AT_ONCE[AT_ONCE.len() - 1] {
            let mut item = documented_item();
            item.insert("id".to_owned(), AttributeValue::S(distributor(number)));
            store.put(item);
        }
        let store = SecureStore::start(store, &testing::root().join("target")).await;
        let keys = KeyServer::start().await;
        let (es256, rs256) = (Signer::p256(), Signer::rsa(2_048));
        let jwks = json!({"keys": [es256.named_jwk("ES256"), rs256.named_jwk("RS256")]}).to_string();
        keys.serve("/jwks", Reply::Document(jwks.clone()));
        Self {
            keys_uri: format!("https://localhost:{}/jwks", store.tls.in_front_of(keys.address).await),
            es256: (0..TOKENS).map(|number| es256.numbered("ES256", number)).collect(),
            rs256: (0..TOKENS).map(|number| rs256.numbered("RS256", number)).collect(),
            store,
            _keys: keys,
            jwks,
        }
    }
}

/// A distributor for each of the requests that are made at once, so that none waits for another.
fn distributor(number: usize) -> String {
    format!("{:08x}-0000-4000-8000-000000000000", number % AT_ONCE[AT_ONCE.len() - 1])
}

struct Variant<'a> {
    name: &'static str,
    binary: &'a Path,
    /// One after the other, and then from the start.
    tokens: &'a [String],
    keys: Option<&'a String>,
}

#[derive(Default)]
struct Samples(BTreeMap<String, Vec<f64>>);

impl Samples {
    fn push(&mut self, figure: &str, value: f64) {
        self.0.entry(figure.to_owned()).or_default().push(value);
    }

    fn percentile(&self, figure: &str, percent: usize) -> Option<f64> {
        let mut values = self.0.get(figure)?.clone();
        values.sort_by(f64::total_cmp);
        values.get((values.len() - 1) * percent / 100).copied()
    }
}

async fn measure(world: &World, variant: &Variant<'_>, share: Option<&Share>, samples: &mut Samples) {
    let prefix = if share.is_some() { "128 MB: " } else { "" };
    // Once before, so that no figure depends on which program ran last.
    let api = RuntimeApi::start();
    let mut process = Process::start(world, variant, &api, 1, &[]);
    api.ready().await;
    process.child.kill().await.unwrap();
    let api = RuntimeApi::start();
    let mut push = |figure: &str, value: f64| samples.push(&format!("{prefix}{figure}"), value);
    let started = Instant::now();
    let process = Process::start(world, variant, &api, 1, &[]);
    api.ready().await;
    let init = started.elapsed();
    let (init_cpu, init_faults) = (process.cpu(), process.minor_faults());
    if let Some(share) = share {
        share.give(&process);
    }
    let tokens = [String::new()];
    let mut tokens = if variant.tokens.is_empty() { &tokens } else { variant.tokens }.iter().cycle();
    let mut event = |body: &str| Request::put(tokens.next().unwrap(), body).event(FrontEnd::HttpApi).to_string();
    let first = invoke(&api, &event(OPERATIONS[0].1)).await;
    let first_cpu = process.cpu();
    push("init (ms)", milliseconds(init));
    push("init CPU (ms)", milliseconds(init_cpu));
    push("init minor page faults", init_faults);
    push("first call (ms)", milliseconds(first));
    push("cold (ms)", milliseconds(init + first));
    push("CPU to first response (ms)", milliseconds(first_cpu));
    if share.is_none() {
        for (operation, body) in OPERATIONS {
            for _ in 0..WARMING {
                invoke(&api, &event(body)).await;
            }
            let before = process.cpu();
            for _ in 0..REQUESTS {
                push(&format!("{operation} (ms)"), milliseconds(invoke(&api, &event(body)).await));
            }
            let cpu = milliseconds(process.cpu().saturating_sub(before)) / REQUESTS as f64;
            push(&format!("{operation} CPU (ms)"), cpu);
            push("warm CPU (ms)", cpu);
        }
        let mut cpu = Duration::ZERO;
        for number in 0..WARMING + REQUESTS {
            tokio::time::sleep(PAUSE).await;
            let before = process.cpu();
            let took = invoke(&api, &event(OPERATIONS[0].1)).await;
            if number >= WARMING {
                cpu += process.cpu().saturating_sub(before);
                push("paused: set (ms)", milliseconds(took));
            }
        }
        push("paused: set CPU (ms)", milliseconds(cpu) / REQUESTS as f64);
        push("RSS (MiB)", process.peak_rss());
    }
    if share.is_some() {
        for _ in 0..REQUESTS {
            push("set (ms)", milliseconds(invoke(&api, &event(OPERATIONS[0].1)).await));
        }
    }
}

/// Requests of one process that takes several at once.
async fn measure_concurrent(world: &World, variant: &Variant<'_>, at_once: usize, samples: &mut Samples) {
    let api = RuntimeApi::start();
    let process = Process::start(world, variant, &api, at_once, &[]);
    api.ready().await;
    let requests = |count: usize| {
        let api = &api;
        let invoke = move |number: usize| async move {
            let token = variant.tokens.get(number % variant.tokens.len().max(1)).map_or("", String::as_str);
            let path = format!("/api/v1/integration/distributors/{}", distributor(number));
            let event = Request::put(token, OPERATIONS[0].1).path(&path).event(FrontEnd::HttpApi).to_string();
            let sent = Instant::now();
            assert_eq!(api.invoke(event.as_bytes()).await.response().outcome(), "200");
            milliseconds(sent.elapsed())
        };
        stream::iter((0..count).map(invoke)).buffer_unordered(at_once).collect::<Vec<_>>()
    };
    requests(WARMING * at_once).await;
    let before = process.cpu();
    let durations = requests(CONCURRENT_REQUESTS).await;
    let cpu = process.cpu().saturating_sub(before);
    let mut push = |figure: &str, value: f64| samples.push(&format!("{at_once} at once: {figure}"), value);
    push("requests per second of a core", durations.len() as f64 / cpu.as_secs_f64());
    for duration in durations {
        push("set (ms)", duration);
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

struct Process {
    child: Child,
}

impl Process {
    fn start(
        world: &World,
        variant: &Variant<'_>,
        api: &RuntimeApi,
        concurrency: usize,
        settings: &[(&str, &str)],
    ) -> Self {
        let mut command = Command::new(variant.binary);
        command.env_clear().kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.envs(environment(&world.store.endpoint, &world.jwks));
        command.env("AWS_LAMBDA_RUNTIME_API", api.address.to_string());
        command.env("SSL_CERT_FILE", &world.store.certificate);
        if concurrency > 1 {
            command.env("AWS_LAMBDA_MAX_CONCURRENCY", concurrency.to_string());
        }
        if let Some(uri) = variant.keys {
            command.env("TOKEN_JWKS_URI", uri).env_remove("TOKEN_JWKS");
        }
        command.envs(settings.iter().copied());
        Self { child: command.spawn().unwrap() }
    }

    /// Time on a processor of all its threads.
    fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id().unwrap())).unwrap();
        let nanoseconds = tasks.filter_map(|task| {
            let text = fs::read_to_string(task.unwrap().path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanoseconds.sum())
    }

    /// Pages that were mapped without reading them from a disk.
    fn minor_faults(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id().unwrap())).unwrap();
        // The tenth field; the second is a name in parentheses.
        stat.rsplit_once(')').unwrap().1.split_whitespace().nth(7).unwrap().parse().unwrap()
    }

    fn peak_rss(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1_024.0
    }
}

/// A control group that gives a process what Lambda gives 128 MB after the init phase: 128/1769 of a core.
struct Share(PathBuf);

impl Share {
    /// `None` where control groups cannot be written.
    fn find() -> Option<Self> {
        let share = Self(PathBuf::from("/sys/fs/cgroup/cpu/update-distributor-bench"));
        let _ = fs::create_dir(&share.0);
        fs::write(share.0.join("cpu.cfs_period_us"), "20000").ok()?;
        fs::write(share.0.join("cpu.cfs_quota_us"), (20_000 * 128 / 1_769).to_string()).ok()?;
        Some(share)
    }

    /// Moves a process into the group. That alone takes some 10 ms, so it is done between its start and the first request.
    fn give(&self, process: &Process) {
        fs::write(self.0.join("cgroup.procs"), process.child.id().unwrap().to_string()).unwrap();
    }
}

/// Returns the time from the event to its response; then the process has asked for the next one.
async fn invoke(api: &RuntimeApi, event: &str) -> Duration {
    let sent = Instant::now();
    let outcome = api.invoke(event.as_bytes()).await;
    let elapsed = sent.elapsed();
    assert_eq!(outcome.response().outcome(), "200");
    api.ready().await;
    elapsed
}

fn report(samples: &BTreeMap<&str, Samples>, throttled: bool, json_file: Option<PathBuf>) {
    const COLUMNS: [&str; 8] =
        ["floor", "optimized floor", "optimized, tokens", "ES256", "RS256", "ES256, new", "RS256, new", "keys by URI"];
    /// Columns that are divided.
    const RATIOS: [(usize, usize); 5] = [(3, 0), (5, 0), (3, 1), (5, 1), (5, 2)];

    print!("{:<44}", "medians");
    for column in COLUMNS {
        print!("{column:>14}");
    }
    for (ours, floor) in RATIOS {
        print!("{:>25}", format!("{}/{}", COLUMNS[ours], COLUMNS[floor]));
    }
    println!();
    let cell = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
    let mut table = serde_json::Map::new();
    let mut row = |name: &str, percent: usize, figure: &str| {
        let values = COLUMNS.map(|column| samples[column].percentile(figure, percent));
        print!("{name:<44}");
        for value in values {
            print!("{:>14}", cell(value));
        }
        let mut figures: serde_json::Map<_, _> =
            COLUMNS.iter().zip(values).map(|(column, value)| ((*column).to_owned(), json!(value))).collect();
        for (ours, floor) in RATIOS {
            let ratio = values[ours].zip(values[floor]).map(|(ours, floor)| ours / floor);
            print!("{:>25}", cell(ratio));
            figures.insert(format!("{}/{}", COLUMNS[ours], COLUMNS[floor]), json!(ratio));
        }
        println!();
        table.insert(name.to_owned(), figures.into());
    };
    for figure in [
        "init (ms)",
        "init CPU (ms)",
        "init minor page faults",
        "first call (ms)",
        "cold (ms)",
        "CPU to first response (ms)",
    ] {
        row(figure, 50, figure);
    }
    for figure in ["init (ms)", "first call (ms)", "cold (ms)"] {
        let figure = format!("128 MB: {figure}");
        row(&figure, 50, &figure);
    }
    for percent in [50, 90, 99] {
        row(&format!("128 MB: set p{percent} (ms)"), percent, "128 MB: set (ms)");
    }
    row("warm CPU (ms)", 50, "warm CPU (ms)");
    for (operation, _) in OPERATIONS {
        row(&format!("{operation} CPU (ms)"), 50, &format!("{operation} CPU (ms)"));
        for percent in [50, 90, 99] {
            row(&format!("{operation} p{percent} (ms)"), percent, &format!("{operation} (ms)"));
        }
    }
    row("paused: set CPU (ms)", 50, "paused: set CPU (ms)");
    for percent in [50, 90, 99] {
        row(&format!("paused: set p{percent} (ms)"), percent, "paused: set (ms)");
    }
    for at_once in AT_ONCE {
        let figure = format!("{at_once} at once: requests per second of a core");
        row(&figure, 50, &figure);
        for percent in [50, 99] {
            row(&format!("{at_once} at once: set p{percent} (ms)"), percent, &format!("{at_once} at once: set (ms)"));
        }
    }
    row("RSS (MiB)", 50, "RSS (MiB)");
    row("zip (MiB)", 50, "zip (MiB)");
    if !throttled {
        println!("The share of 128 MB was not measured: /sys/fs/cgroup/cpu cannot be written here.");
    }
    if let Some(file) = json_file {
        fs::write(file, serde_json::to_string_pretty(&table).unwrap()).unwrap();
    }
}
