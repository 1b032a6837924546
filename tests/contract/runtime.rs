//! The loop between the Runtime API and the function: every order of what can happen to its calls.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::{join_all, select};
use testing::fault::Fault;
use testing::issuer::{Issuer, claims};
use testing::lambda::function::embedded;
use testing::lambda::process::{Process, environment};
use testing::lambda::request::{FrontEnd, Request};
use testing::lambda::runtime_api::RuntimeApi;
use testing::proxy::Proxy;
use testing::store::embedded::{ID, NODE, documented_item};
use tokio::sync::Barrier;

use crate::BOOTSTRAP;

/// A request without a token: its response needs no one else.
const EVENT: &str = r#"{
    "rawPath": "/api/v1/integration/distributors/39e8003c-6342-4fd3-97a1-3f2a7b437d0a",
    "requestContext": {"http": {"method": "PUT"}}
}"#;

/// A process behind a Runtime API whose connections fail.
struct Instance {
    process: Process,
    proxy: Proxy,
    concurrency: usize,
    /// Lines at ERROR that were accounted for.
    errors: Cell<usize>,
}

impl Instance {
    async fn start(concurrency: usize) -> Self {
        Self::with_store(concurrency, "http://127.0.0.1:1", &Issuer::new("first")).await
    }

    async fn with_store(concurrency: usize, endpoint: &str, issuer: &Issuer) -> Self {
        let api = RuntimeApi::start();
        let proxy = Proxy::start(api.address).await;
        let mut environment = environment(endpoint, &issuer.jwks());
        environment.insert("AWS_LAMBDA_RUNTIME_API".to_owned(), proxy.address.to_string());
        environment.insert("AWS_LAMBDA_MAX_CONCURRENCY".to_owned(), concurrency.to_string());
        environment.insert("PRIME".to_owned(), "false".to_owned());
        let process = Process::spawn_for(api, BOOTSTRAP, environment);
        let instance = Self { process, proxy, concurrency, errors: Cell::new(0) };
        instance.polls().await;
        instance
    }

    /// Waits until every worker polls.
    async fn polls(&self) {
        while self.process.polls() < self.concurrency && !self.process.is_over() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn lines(&self, level: &str) -> usize {
        self.process.count(&format!("\"level\":\"{level}\""))
    }

    fn last(&self) -> Vec<String> {
        self.process.lines().into_iter().rev().take(4).collect()
    }

    /// Sends events at once. Returns `None` if the process has ended and said why, and else the number of the lines that
    /// say that something was lost. Each event has its response or such a line.
    async fn serve(&self, events: usize) -> Option<usize> {
        let answered = Cell::new(0);
        let calls = join_all((0..events).map(async |_| {
            let outcome = self.process.invoke(EVENT.as_bytes()).await;
            assert_eq!(outcome.response().outcome(), "401 missing_token");
            answered.set(answered.get() + 1);
        }));
        let accounted = async {
            while answered.get() + self.lines("ERROR") < self.errors.get() + events && !self.process.is_over() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let accounted = tokio::time::timeout(Duration::from_secs(20), select(Box::pin(calls), Box::pin(accounted)));
        assert!(
            accounted.await.is_ok(),
            "an event has neither a response nor a line; the last lines: {:#?}",
            self.last()
        );
        self.polls().await;
        if self.process.is_over() {
            assert_eq!(self.lines("FATAL"), 1, "{:#?}", self.last());
            return None;
        }
        let errors = self.lines("ERROR");
        Some(errors - self.errors.replace(errors))
    }
}

/// What can happen to a post, and whether the Runtime API has taken an outcome of which the process does not hear.
fn steps() -> Vec<(Fault, bool)> {
    vec![
        (Fault::NONE, false),
        (Fault::RESET, false),
        (Fault::RESET_AFTER, true),
        (Fault::CUT, true),
        (Fault::status(400, ""), false),
        (Fault::status_after(500, ""), true),
    ]
}

/// What can happen to polls in a row, and whether the process ends. One that is cut after the Runtime API has given its event
/// away is not among them: of that Lambda alone can know.
fn polls(concurrency: usize) -> [(Vec<Fault>, bool); 7] {
    [
        (vec![Fault::NONE], false),
        (vec![Fault::RESET], false),
        // The process ends when 16 polls of one worker have failed in a row.
        (vec![Fault::RESET; 15], false),
        (vec![Fault::RESET; 15 * concurrency + 1], true),
        (vec![Fault::CUT], false),
        (vec![Fault::status(204, "")], false),
        (vec![Fault::status(500, "")], true),
    ]
}

#[tokio::test]
async fn an_event_has_its_response_or_the_log_says_why_not() {
    meet_every_order(1).await;
}

#[tokio::test]
async fn so_has_each_of_several_at_once() {
    meet_every_order(4).await;
}

async fn meet_every_order(concurrency: usize) {
    let mut instance = Instance::start(concurrency).await;
    let (mut orders, mut ends, mut lost, mut repeated) = (0, 0, 0, 0);
    for (first, first_taken) in steps() {
        for (poll, ends_process) in polls(concurrency) {
            for (second, second_taken) in steps() {
                instance.proxy.script([first, second]);
                instance.proxy.script_polls(poll.iter().copied());
                let served = instance.serve(2).await;
                // The rest of the script is not for the next order.
                instance.proxy.script([]);
                instance.proxy.script_polls([]);
                orders += 1;
                let again = instance.process.take_repeated();
                repeated += again;
                let taken = u32::from(first_taken) + u32::from(second_taken);
                assert!(again <= taken, "{first:?}, {poll:?}, {second:?}: {again} posted again");
                // With several workers the poll meets its step when all of this is over. After it all goes on.
                let settled = match served {
                    Some(lines) => instance.serve(concurrency).await.map(|more| lines + more),
                    None => None,
                };
                if let Some(lines) = settled {
                    assert!(!ends_process, "{first:?}, {poll:?}, {second:?}");
                    assert_eq!(instance.serve(concurrency).await, Some(0), "{first:?}, {poll:?}, {second:?}");
                    lost += lines;
                } else {
                    assert!(ends_process, "{first:?}, {poll:?}, {second:?}");
                    ends += 1;
                    instance = Instance::start(concurrency).await;
                }
            }
        }
    }
    println!("{concurrency} at once: {orders} orders, {lost} lines, {ends} ends, {repeated} posted again");
    assert!(lost > 0 && ends > 0 && repeated > 0, "orders in which nothing fails prove nothing");
}

/// The way in which the work ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// A poll gets this status.
    Poll(u16),
    #[cfg(unix)]
    Sigterm,
}

/// While invocations are at work, a poll gets an error, or the process is to end.
#[tokio::test]
async fn invocations_at_work_are_responded_to_before_the_end() {
    let ends = [500, 503, 429, 403, 404].map(End::Poll).into_iter();
    #[cfg(unix)]
    let ends = ends.chain([End::Sigterm]);
    let rows = ends.flat_map(|end| [1, 4, 16].map(|concurrency| (end, concurrency)));
    join_all(rows.map(|(end, concurrency)| end_at_work(end, concurrency))).await;
}

async fn end_at_work(end: End, concurrency: usize) {
    // One worker is idle, unless there is no other.
    let at_work = (concurrency / 2).max(1);
    let store = embedded().await;
    let issuer = Issuer::new("first");
    let store_proxy = Proxy::start(store.address).await;
    let instance = Instance::with_store(concurrency, &store_proxy.endpoint(), &issuer).await;
    let ids: Vec<_> = (0..at_work).map(|number| format!("{number:08x}{}", &ID[8..])).collect();
    for id in &ids {
        let mut item = documented_item();
        item.insert("id".to_owned(), AttributeValue::S(id.clone()));
        store.put(item);
    }
    let release = Arc::new(Barrier::new(at_work + 1));
    store_proxy.gather(at_work, Arc::clone(&release));
    let token = issuer.sign(&claims(NODE, 600));
    let events = ids.iter().map(|id| {
        let request = Request::put(&token, r#"{"meta":null}"#).path(&format!("/api/v1/integration/distributors/{id}"));
        request.event(FrontEnd::HttpApi).to_string()
    });
    let process = &instance.process;
    let calls = join_all(events.map(async |event| process.invoke(event.as_bytes()).await.response().outcome()));
    let ending = async {
        let mut held = 0;
        while held < at_work {
            tokio::time::sleep(Duration::from_millis(1)).await;
            held += store_proxy.take_requests().len();
        }
        match end {
            #[cfg(unix)]
            End::Sigterm => process.signal("TERM").await,
            End::Poll(status) => {
                instance.proxy.script_polls([Fault::status(status, "")]);
                if concurrency > 1 {
                    // The worker that responds to it polls next.
                    assert_eq!(process.invoke(EVENT.as_bytes()).await.response().outcome(), "401 missing_token");
                }
            }
        }
        // No worker waits for an event any more.
        while process.polls() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        release.wait().await;
    };
    let (outcomes, ()) = tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(calls, ending) })
        .await
        .unwrap_or_else(|_| panic!("{end:?}, {concurrency} at once: no response; {:#?}", instance.last()));
    let mut written = 0;
    for id in &ids {
        let item = store.item(id).unwrap();
        written += usize::from(!item.contains_key("meta"));
    }
    let answered = outcomes.iter().filter(|outcome| *outcome == "200").count();
    let (status, lines) = instance.process.end().await;
    let of_level = |level: &str| lines.iter().filter(|line| line.contains(&format!("\"level\":\"{level}\""))).count();
    let row =
        format!("{end:?}, {concurrency} at once: {at_work} at work, {written} written, {answered} answered, {status}");
    println!("{row}");
    assert_eq!((written, answered), (at_work, at_work), "{row}");
    let (exit, fatal) = if let End::Poll(_) = end { (Some(1), 1) } else { (Some(0), 0) };
    assert_eq!((status.code(), of_level("FATAL"), of_level("ERROR")), (exit, fatal, 0), "{row}: {lines:#?}");
    let others = lines.len() - lines.iter().filter(|line| line.contains("\"status\":")).count();
    assert_eq!(others, 1, "{row}: {lines:#?}");
}

/// Without an invocation at work, SIGTERM ends the process at once: in its start, and while it polls.
#[cfg(unix)]
#[tokio::test]
async fn sigterm_ends_an_idle_process_with_success() {
    let issuer = Issuer::new("first");
    for concurrency in [1, 16] {
        let instance = Instance::with_store(concurrency, "http://127.0.0.1:1", &issuer).await;
        instance.process.signal("TERM").await;
        let (status, lines) = instance.process.end().await;
        assert_eq!((status.code(), lines.len()), (Some(0), 1), "{lines:?}");
    }
    // A start that waits for the store.
    let store = embedded().await;
    let proxy = Proxy::start(store.address).await;
    proxy.script([Fault::HANG]);
    let process = Process::spawn(BOOTSTRAP, environment(&proxy.endpoint(), &issuer.jwks()));
    while proxy.take_requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    process.signal("TERM").await;
    let (status, lines) = process.end().await;
    assert_eq!((status.code(), lines.len()), (Some(0), 1), "{lines:?}");
}

/// A response that the Runtime API does not take holds up the end until the deadline of its invocation, and no longer.
#[cfg(unix)]
#[tokio::test]
async fn sigterm_leaves_a_post_the_time_until_its_deadline() {
    let instance = Instance::start(1).await;
    instance.proxy.script([Fault::HANG]);
    let left = Duration::from_secs(2);
    let sent = tokio::time::Instant::now();
    let lost = instance.process.invoke_within(EVENT.as_bytes(), left);
    let terminated = async {
        while instance.lines("INFO") == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        instance.process.signal("TERM").await;
    };
    select(Box::pin(lost), Box::pin(terminated)).await;
    instance.process.ended().await;
    // Deadlines are whole milliseconds.
    assert!(sent.elapsed() + Duration::from_millis(1) >= left, "{:#?}", instance.last());
    assert_eq!(instance.lines("ERROR"), 1, "{:#?}", instance.last());
    let (status, lines) = instance.process.end().await;
    assert_eq!((status.code(), lines.len()), (Some(0), 3), "{lines:#?}");
}

/// A post whose connection is closed is made again, however often that happens in a row.
#[tokio::test]
async fn a_response_is_posted_until_its_connection_holds() {
    let instance = Instance::start(1).await;
    for closed in [1, 2, 3, 15] {
        instance.proxy.script_polls([]);
        instance.proxy.script(vec![Fault::RESET; closed]);
        assert_eq!(instance.serve(1).await, Some(0), "{closed} times");
    }
    instance.proxy.script(vec![Fault::RESET; 16]);
    assert_eq!(instance.serve(1).await, Some(1));
}

/// Polls and posts share a connection. A repetition makes one of its own: those that were kept while the instance was frozen
/// may all be closed.
#[tokio::test]
async fn only_repetitions_make_connections() {
    let instance = Instance::start(1).await;
    let served = async |events: usize, fault| {
        let before = instance.proxy.connections();
        for _ in 0..events {
            instance.proxy.script([fault]);
            assert_eq!(instance.serve(1).await, Some(0));
        }
        instance.proxy.connections() - before
    };
    // A poll may come before the connection of the last post is back in the pool.
    let made = served(8, Fault::NONE).await;
    assert!(made < 8, "{made}");
    // One for the repetition, and one for the poll after it.
    let made = served(8, Fault::RESET).await;
    assert!(made >= 16, "{made}");
}

/// An event that cannot be read, since its response is cut or has more headers than the client takes, is lost, and the
/// log says so.
#[tokio::test]
async fn an_event_that_cannot_be_read_costs_itself_only() {
    let many = (0..101).map(|number| format!("x-{number}").leak() as &'static str);
    let many: Vec<_> = many.map(|name| (name, Some(&b"x"[..]))).collect();
    for (concurrency, is_cut) in [(1, false), (4, false), (1, true)] {
        let instance = Instance::start(concurrency).await;
        let headers = if is_cut { &[] } else { &many[..] };
        if is_cut {
            // The poll that is under way has its event; the next one meets this.
            instance.proxy.script_polls([Fault::CUT]);
            assert_eq!(instance.serve(1).await, Some(0));
        }
        let lost = instance.process.invoke_with(EVENT.as_bytes(), headers);
        let logged = async {
            while instance.lines("ERROR") == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        select(Box::pin(lost), Box::pin(logged)).await;
        assert!(instance.last()[0].contains("an invocation was lost: "), "{:?}", instance.last());
        instance.errors.set(1);
        instance.polls().await;
        assert_eq!(instance.serve(4).await, Some(0), "{concurrency}");
    }
}

/// Where the instance is when it is frozen: its calls wait, or the connections that it keeps are not in use.
#[cfg(unix)]
#[tokio::test]
async fn an_instance_that_was_frozen_goes_on_whatever_became_of_its_connections() {
    for concurrency in [1, 4] {
        let instance = Instance::start(concurrency).await;
        for (cut, close_idle) in [(false, false), (true, false), (false, true), (true, true)] {
            let freeze = async || {
                instance.process.signal("STOP").await;
                if close_idle {
                    instance.proxy.close_idle();
                }
                // Until none waits: else the Runtime API would give an event to a poll that is gone.
                while cut && instance.process.polls() > 0 {
                    instance.proxy.cut();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            freeze().await;
            instance.process.signal("CONT").await;
            assert_eq!(instance.serve(4).await, Some(0), "{concurrency}, {cut}, {close_idle}");
            // The events are there when it wakes up.
            freeze().await;
            let (served, ()) = tokio::join!(instance.serve(4), instance.process.signal("CONT"));
            assert_eq!(served, Some(0), "{concurrency}, {cut}, {close_idle}");
        }
    }
}
