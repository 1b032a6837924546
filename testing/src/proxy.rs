//! A proxy in front of an HTTP server, which does to each request what a script says.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, Notify};

use crate::fault::{Arrival, Fault, Received};

pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

/// What the proxy and its connections know.
struct Shared {
    server: SocketAddr,
    /// What happens to the next requests. After the script has ended, all of them pass.
    script: Mutex<VecDeque<Fault>>,
    /// The script of `GET` requests, if they have one of their own.
    polls: Mutex<Option<VecDeque<Fault>>>,
    requests: Mutex<Vec<String>>,
    /// Requests that are still on their way.
    late: Mutex<Vec<Vec<u8>>>,
    /// How many of the next requests wait for the barrier.
    gathering: Mutex<Option<(usize, Arc<Barrier>)>>,
    idle: Notify,
    cut: Notify,
    connections: Mutex<Connections>,
}

/// The connections so far, and what happens to the next request on each of those that died.
#[derive(Default)]
struct Connections {
    count: usize,
    died: Option<(usize, Fault)>,
}

impl Proxy {
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            server,
            script: Mutex::default(),
            polls: Mutex::default(),
            requests: Mutex::default(),
            late: Mutex::default(),
            gathering: Mutex::default(),
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

    /// Sets what happens to the next requests.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        *self.shared.script.lock().unwrap() = faults.into_iter().collect();
    }

    /// Gives `GET` requests a script of their own, from now on.
    pub fn script_polls(&self, faults: impl IntoIterator<Item = Fault>) {
        *self.shared.polls.lock().unwrap() = Some(faults.into_iter().collect());
    }

    /// Lets the requests that are late arrive, and waits for their responses.
    pub async fn arrive(&self) {
        let late = std::mem::take(&mut *self.shared.late.lock().unwrap());
        for request in late {
            self.shared.forward(&request).await;
        }
    }

    /// Holds the next so many requests until the barrier lets them go, so that each has a connection of its own.
    pub fn gather(&self, requests: usize, barrier: Arc<Barrier>) {
        *self.shared.gathering.lock().unwrap() = Some((requests, barrier));
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
    pub fn break_connections(&self, fault: Fault) {
        let mut connections = self.shared.connections.lock().unwrap();
        connections.died = Some((connections.count, fault));
    }

    /// The number of connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.lock().unwrap().count
    }

    /// The bodies of the requests that came, and forgets them.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.requests.lock().unwrap())
    }
}

impl Shared {
    fn next_fault(&self, connection: usize, request: &[u8]) -> Fault {
        let died = self.connections.lock().unwrap().died.filter(|(last, _)| connection <= *last);
        let next = || match &mut *self.polls.lock().unwrap() {
            Some(polls) if request.starts_with(b"GET ") => polls.pop_front(),
            _ => self.script.lock().unwrap().pop_front(),
        };
        died.map(|(_, fault)| fault).or_else(next).unwrap_or(Fault::NONE)
    }

    fn gathering(&self) -> Option<Arc<Barrier>> {
        let mut gathering = self.gathering.lock().unwrap();
        let (left, barrier) = gathering.as_mut().filter(|(left, _)| *left > 0)?;
        *left -= 1;
        Some(Arc::clone(barrier))
    }

    /// Sends a request to the server and returns its response; `None` where the server is gone.
    async fn forward(&self, request: &[u8]) -> Option<Vec<u8>> {
        let mut server = TcpStream::connect(self.server).await.ok()?;
        server.write_all(request).await.ok()?;
        message(&mut server).await
    }
}

/// Ends with the connection, and where the server is gone.
async fn connection(mut client: TcpStream, number: usize, shared: &Shared) -> Option<()> {
    loop {
        let request = tokio::select! {
            request = message(&mut client) => request,
            () = shared.idle.notified() => None,
        }?;
        let body = request.windows(4).position(|end| end == b"\r\n\r\n").map_or(0, |end| end + 4);
        shared.requests.lock().unwrap().push(String::from_utf8_lossy(&request[body..]).into_owned());
        let Fault { arrival, received } = shared.next_fault(number, &request);
        if let Some(barrier) = shared.gathering() {
            barrier.wait().await;
        }
        if let Arrival::Late | Arrival::Twice = arrival {
            shared.late.lock().unwrap().push(request.clone());
        }
        let reply = match arrival {
            Arrival::Never | Arrival::Late => None,
            Arrival::Now | Arrival::Twice => tokio::select! {
                reply = shared.forward(&request) => Some(reply?),
                () = shared.cut.notified() => return None,
                () = closed(&client) => return None,
            },
        };
        match (received, reply) {
            (Received::Status(status, body), _) => client.write_all(&response(status, body)).await.ok()?,
            (Received::Body(body), Some(reply)) if reply.starts_with(b"HTTP/1.1 200") => {
                client.write_all(&response(200, body)).await.ok()?;
            }
            (Received::Response | Received::Body(_), Some(reply)) => client.write_all(&reply).await.ok()?,
            (Received::Cut, Some(reply)) => {
                client.write_all(&reply[..reply.len() - 10]).await.ok()?;
                return None;
            }
            (Received::Slowly, Some(reply)) => {
                for byte in reply {
                    client.write_all(&[byte]).await.ok()?;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            (Received::Reset, _) => return None,
            (Received::Nothing, _)
            | (Received::Response | Received::Body(_) | Received::Cut | Received::Slowly, None) => {
                closed(&client).await;
                return None;
            }
        }
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
