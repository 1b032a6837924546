//! A hundred thousand requests through one process, one at a time and eight at once: memory, file descriptors and
//! sockets stay as they are, and every response is the response to its own request.

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

use std::fs;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use testing::issuer::{Issuer, claims};
use testing::lambda::function::embedded;
use testing::lambda::process::{Process, build};
use testing::lambda::request::{FrontEnd, Request, Response};
use testing::store::embedded::NODE;

const REQUESTS: usize = 100_000;
/// A tenth for the process to reach its size, then this often a look at it.
const SAMPLES: usize = 10;

#[tokio::main]
async fn main() -> ExitCode {
    let mut flat = true;
    for concurrency in [1, 8] {
        flat &= run(concurrency).await;
    }
    if flat { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run(concurrency: usize) -> bool {
    let (store, issuer) = (embedded().await, Issuer::new("first"));
    let settings = [("AWS_LAMBDA_MAX_CONCURRENCY", &*concurrency.to_string())];
    let process = Process::start(build("release").to_str().expect("UTF-8"), &store, &issuer, &settings);
    process.ready().await;
    let token = issuer.sign(&claims(NODE, 36_000));
    let (next, times) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(REQUESTS)));
    let mut looks = Vec::new();
    println!("{REQUESTS} requests, {concurrency} at once");
    println!("{:>10}{:>12}{:>12}{:>10}", "requests", "RSS (KiB)", "descriptors", "sockets");
    for sample in 1..=SAMPLES {
        let until = REQUESTS * sample / SAMPLES;
        let workers = (0..concurrency).map(async |_| {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= until {
                    break;
                }
                let event = request(&token, number).event(FrontEnd::HttpApi).to_string();
                let sent = Instant::now();
                let response = process.invoke(event.as_bytes()).await.response();
                times.lock().unwrap().push(sent.elapsed());
                check(number, &response);
            }
        });
        join_all(workers).await;
        next.store(until, Ordering::Relaxed);
        let look = Look::at(process.id());
        println!("{until:>10}{:>12}{:>12}{:>10}", look.rss, look.descriptors, look.sockets);
        looks.push(look);
    }
    let lines = process.stop().await.len();
    assert_eq!(lines, REQUESTS, "one line for each request");

    let mut times = times.into_inner().unwrap();
    times.sort();
    let at = |percent: usize| milliseconds(times[(times.len() - 1) * percent / 100]);
    let (p50, p99, slowest) = (at(50), at(99), at(100));
    println!("p50 {p50:.3} ms, p99 {p99:.3} ms ({:.2} times p50), slowest {slowest:.3} ms", p99 / p50);
    let (first, last) = (&looks[0], &looks[SAMPLES - 1]);
    let grown = last.rss as f64 / first.rss as f64;
    println!("memory after the first tenth and at the end: 1 to {grown:.3}\n");
    // How many connections are kept depends on how many were needed at once, which the first tenth need not have seen. A
    // leak would be of thousands.
    grown <= 1.05 && last.descriptors < first.descriptors + concurrency
}

/// The response to each contains something that only this request has.
fn request(token: &str, number: usize) -> Request {
    match number % 4 {
        0 => Request::put(token, &format!(r#"{{"member-{number}":1}}"#)),
        1 => Request::put(token, "{}").with("if-match", "\"another\""),
        _ => Request::put(token, &format!(r#"{{"meta":{{"path":"/{number}","method":1}}}}"#)),
    }
}

fn check(number: usize, response: &Response) {
    match number % 4 {
        0 => assert_eq!(response.body["errors"][0]["pointer"], format!("/member-{number}")),
        1 => assert_eq!(response.outcome(), "412 precondition_failed"),
        _ => assert_eq!(response.body["meta"]["path"], format!("/{number}"), "{response:?}"),
    }
}

struct Look {
    rss: usize,
    descriptors: usize,
    sockets: usize,
}

impl Look {
    fn at(id: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let descriptors = fs::read_dir(format!("/proc/{id}/fd")).unwrap();
        // One that was closed meanwhile has no target any more.
        let targets: Vec<_> = descriptors.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok()).collect();
        Self {
            rss: rss.trim().trim_end_matches(" kB").parse().unwrap(),
            descriptors: targets.len(),
            sockets: targets.iter().filter(|target| target.to_string_lossy().starts_with("socket:")).count(),
        }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
