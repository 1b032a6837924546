//! A proxy in front of the store that does to each request what a script says.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, Notify};

/// The body of DynamoDB's response, of status 400, to a request that it throttles.
pub const THROTTLED: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException"}"#;

/// What happens to one request. After the script has ended, all requests pass.
#[derive(Clone, Debug)]
pub enum Step {
    Pass,
    /// The connection is closed before the request reaches the store.
    ResetBefore,
    /// The request reaches the store, and the connection is closed before its response.
    ResetAfter,
    /// The request reaches the store, and half of its response comes back.
    Truncate,
    /// There is never a response.
    Hang,
    /// The request reaches the store, and there is never a response.
    HangAfter,
    /// The request reaches the store, and its response comes back byte by byte, too slowly.
    Trickle,
    /// The proxy responds with this itself.
    Respond(u16, &'static str),
    /// The request reaches the store, and the proxy responds with this.
    RespondAfter(u16, &'static str),
    /// There is no response, and the request reaches the store when it is released.
    Late(Arc<Release>),
    /// The request passes when so many others have come, so that each has a connection of its own.
    Together(Arc<Barrier>),
}

/// Lets a request go that is held back.
#[derive(Debug, Default)]
pub struct Release {
    now: Notify,
    arrived: Notify,
}

impl Release {
    /// Sends the request to the store and waits for its response.
    pub async fn arrive(&self) {
        self.now.notify_one();
        self.arrived.notified().await;
    }
}

pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

/// What the proxy and its connections know.
struct Shared {
    store: SocketAddr,
    script: Mutex<VecDeque<Step>>,
    /// The script of `GET` requests, if they have one of their own.
    polls: Mutex<Option<VecDeque<Step>>>,
    requests: Mutex<Vec<String>>,
    idle: Notify,
    cut: Notify,
    connections: Mutex<Connections>,
}

/// The connections so far, and what happens to the next request on each of those that died.
#[derive(Default)]
struct Connections {
    count: usize,
    died: Option<(usize, Step)>,
}

impl Proxy {
    pub async fn start(store: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            store,
            script: Mutex::default(),
            polls: Mutex::default(),
            requests: Mutex::default(),
            idle: Notify::default(),
            cut: Notify::default(),
            connections: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = {
                    let mut connections = accepting.connections.lock().unwrap();
                    connections.count += 1;
                    connections.count
                };
                let shared = Arc::clone(&accepting);
                tokio::spawn(async move { connection(client, number, &shared).await });
            }
        });
        Self { address, shared }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn script(&self, steps: impl IntoIterator<Item = Step>) {
        *self.shared.script.lock().unwrap() = steps.into_iter().collect();
    }

    /// Gives `GET` requests a script of their own, from now on.
    pub fn script_polls(&self, steps: impl IntoIterator<Item = Step>) {
        *self.shared.polls.lock().unwrap() = Some(steps.into_iter().collect());
    }

    /// Closes the connections that are kept for a next request.
    pub fn close_idle(&self) {
        self.shared.idle.notify_waiters();
    }

    /// Closes the connections whose request waits for its response.
    pub fn cut(&self) {
        self.shared.cut.notify_waiters();
    }

    /// Lets all connections die without a word: this happens to the next request on each of them.
    pub fn break_connections(&self, step: Step) {
        let mut connections = self.shared.connections.lock().unwrap();
        connections.died = Some((connections.count, step));
    }

    /// The number of connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.lock().unwrap().count
    }

    /// The body of the last request that came.
    pub fn last_request(&self) -> Option<String> {
        self.shared.requests.lock().unwrap().last().cloned()
    }

    /// The bodies of the requests that came, and forgets them.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.requests.lock().unwrap())
    }
}

/// Ends with the connection, and where the store is gone.
async fn connection(mut client: TcpStream, number: usize, shared: &Shared) -> Option<()> {
    loop {
        let request = tokio::select! {
            request = message(&mut client) => request,
            () = shared.idle.notified() => None,
        }?;
        let body = request.windows(4).position(|end| end == b"\r\n\r\n").map_or(0, |end| end + 4);
        shared.requests.lock().unwrap().push(String::from_utf8_lossy(&request[body..]).into_owned());
        let died = shared.connections.lock().unwrap().died.clone().filter(|(last, _)| number <= *last);
        let next = || match &mut *shared.polls.lock().unwrap() {
            Some(polls) if request.starts_with(b"GET ") => polls.pop_front(),
            _ => shared.script.lock().unwrap().pop_front(),
        };
        let step = died.map(|(_, step)| step).or_else(next).unwrap_or(Step::Pass);
        let forward = async {
            let mut upstream = TcpStream::connect(shared.store).await.ok()?;
            upstream.write_all(&request).await.ok()?;
            message(&mut upstream).await
        };
        let reply = match step {
            Step::Pass => tokio::select! {
                reply = forward => reply?,
                () = shared.cut.notified() => return None,
                () = closed(&client) => return None,
            },
            Step::ResetBefore => return None,
            Step::ResetAfter => {
                forward.await;
                return None;
            }
            Step::Truncate => {
                let reply = forward.await?;
                client.write_all(&reply[..reply.len() - 10]).await.ok()?;
                return None;
            }
            Step::Hang => return std::future::pending().await,
            Step::HangAfter => {
                forward.await?;
                return std::future::pending().await;
            }
            Step::Trickle => {
                for byte in forward.await? {
                    client.write_all(&[byte]).await.ok()?;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                continue;
            }
            Step::Respond(status, body) => response(status, body),
            Step::RespondAfter(status, body) => {
                forward.await?;
                response(status, body)
            }
            Step::Late(release) => {
                release.now.notified().await;
                forward.await?;
                release.arrived.notify_one();
                return None;
            }
            Step::Together(barrier) => {
                barrier.wait().await;
                forward.await?
            }
        };
        client.write_all(&reply).await.ok()?;
    }
}

/// Waits until the client has closed the connection.
async fn closed(client: &TcpStream) {
    if matches!(client.peek(&mut [0]).await, Ok(1)) {
        // It goes on sending.
        std::future::pending::<()>().await;
    }
}

fn response(status: u16, body: &str) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/x-amz-json-1.0\r\nx-amzn-requestid: AWSREQUESTID\r\n"
    );
    format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// One HTTP message with a `Content-Length`; `None` where the connection ends.
async fn message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    let mut buffer = vec![0; 16_384];
    loop {
        if let Some(end) = message.windows(4).position(|end| end == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&message[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
            if message.len() >= end + 4 + length {
                return Some(message);
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => message.extend_from_slice(&buffer[..read]),
        }
    }
}
