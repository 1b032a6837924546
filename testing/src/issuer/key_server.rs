//! A server that publishes documents of an issuer.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri};
use tokio::net::TcpListener;

use super::reply::Reply;

/// An HTTP server on loopback that hands out documents.
pub struct KeyServer {
    pub address: SocketAddr,
    state: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    once: VecDeque<Reply>,
    always: Vec<(String, Reply)>,
    requests: Vec<String>,
    headers: Vec<HeaderMap>,
}

impl KeyServer {
    pub async fn start() -> Self {
        let state = Arc::<Mutex<Script>>::default();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(reply).with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, state }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sets the response of a path from now on.
    pub fn serve(&self, path: &str, reply: Reply) {
        let mut state = self.state.lock().unwrap();
        state.always.retain(|(served, _)| served != path);
        state.always.push((path.to_owned(), reply));
    }

    /// What the next request gets, whatever it asks for.
    pub fn next(&self, reply: Reply) {
        self.state.lock().unwrap().once.push_back(reply);
    }

    /// The headers of the last request.
    pub fn last_headers(&self) -> HeaderMap {
        self.state.lock().unwrap().headers.last().unwrap().clone()
    }

    /// The paths that were asked for, and forgets them.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }
}

async fn reply(
    State(state): State<Arc<Mutex<Script>>>,
    uri: Uri,
    headers: HeaderMap,
) -> (StatusCode, HeaderMap, String) {
    let reply = {
        let mut state = state.lock().unwrap();
        state.requests.push(uri.path().to_owned());
        state.headers.push(headers);
        let always = state.always.iter().find(|(path, _)| path == uri.path()).map(|(_, reply)| reply.clone());
        state.once.pop_front().or(always).unwrap_or(Reply::Status(404))
    };
    let Some((status, header, body)) = reply.response().await else {
        // Ends the task of the connection, and so the connection.
        std::panic::resume_unwind(Box::new("the connection is closed"))
    };
    let mut headers = HeaderMap::new();
    headers.extend(header.map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())));
    (StatusCode::from_u16(status).unwrap(), headers, body)
}
