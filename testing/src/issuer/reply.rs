//! What an issuer does with a request for one of its documents: the same words for the server on loopback, for the
//! simulation and for tests on paused time.

use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;
use tokio::time::sleep;

/// What an issuer does with a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// It sends this document.
    Document(String),
    /// It sends this document after so long.
    DocumentAfter(Duration, String),
    /// It sends this document in this content coding.
    Encoded(&'static str, String),
    /// It responds with this status.
    Status(u16),
    /// It redirects to this.
    Redirect(String),
    /// It closes the connection.
    Reset,
    /// It never responds.
    Hang,
}

/// A response: its status, a header and its body.
pub type Parts = (u16, Option<(&'static str, String)>, String);

impl Reply {
    /// Waits as long as the issuer takes, and returns its response; `None` where it closes the connection.
    pub async fn response(self) -> Option<Parts> {
        Some(match self {
            Self::Document(document) => (200, None, document),
            Self::DocumentAfter(time, document) => {
                sleep(time).await;
                (200, None, document)
            }
            Self::Encoded(coding, document) => (200, Some(("content-encoding", coding.to_owned())), document),
            Self::Status(status) => (status, None, String::new()),
            Self::Redirect(location) => (302, Some(("location", location)), String::new()),
            Self::Reset => return None,
            Self::Hang => std::future::pending().await,
        })
    }

    /// Waits as long as the issuer takes, and returns what a connector's call comes to.
    pub async fn deliver(self) -> Result<HttpResponse, ConnectorError> {
        let (status, header, body) =
            self.response().await.ok_or_else(|| ConnectorError::io("the connection ended".into()))?;
        let mut response = HttpResponse::new(status.try_into().expect("a status"), body.into());
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, value);
        }
        Ok(response)
    }
}
