//! What can go wrong between a client and a server: when a request arrives, and what comes back for it.
//!
//! The [proxy](crate::proxy) does it to connections, the [simulation](crate::simulation) to messages.

/// When a request arrives.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Arrival {
    /// Never.
    Never,
    /// At once.
    Now,
    /// When its sender no longer waits for it.
    Late,
    /// At once, and once more later.
    Twice,
}

/// What comes back.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Received {
    /// The server's response, if the request has arrived.
    Response,
    /// The server's response, but a success has this body.
    Body(&'static str),
    /// A response with this status and body, whatever the server's is.
    Status(u16, &'static str),
    /// The end of the connection.
    Reset,
    /// Half of the server's response, and then the end of the connection.
    Cut,
    /// The server's response, byte by byte, too slowly.
    Slowly,
    /// Nothing.
    Nothing,
}

/// What happens to one request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Fault {
    /// When it arrives.
    pub arrival: Arrival,
    /// What comes back.
    pub received: Received,
}

/// The body of DynamoDB's response, of status 400, to a request that it throttles.
pub const THROTTLED: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException"}"#;
/// The body of DynamoDB's response, of status 400, to a request that the role may not make.
pub const DENIED: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#AccessDeniedException"}"#;

impl Fault {
    /// Nothing goes wrong.
    pub const NONE: Self = Self::new(Arrival::Now, Received::Response);
    /// The request is lost.
    pub const HANG: Self = Self::new(Arrival::Never, Received::Nothing);
    /// The response is lost.
    pub const HANG_AFTER: Self = Self::new(Arrival::Now, Received::Nothing);
    /// The request is late, and its response is lost.
    pub const LATE: Self = Self::new(Arrival::Late, Received::Nothing);
    /// The request is repeated on its way.
    pub const TWICE: Self = Self::new(Arrival::Twice, Received::Response);
    /// The connection ends before the request arrives.
    pub const RESET: Self = Self::new(Arrival::Never, Received::Reset);
    /// The connection ends after the request has arrived.
    pub const RESET_AFTER: Self = Self::new(Arrival::Now, Received::Reset);
    /// The connection ends in the middle of the response.
    pub const CUT: Self = Self::new(Arrival::Now, Received::Cut);
    /// The response takes too long.
    pub const SLOWLY: Self = Self::new(Arrival::Now, Received::Slowly);

    const fn new(arrival: Arrival, received: Received) -> Self {
        Self { arrival, received }
    }

    /// The request does not arrive, and this comes back.
    pub const fn status(status: u16, body: &'static str) -> Self {
        Self::new(Arrival::Never, Received::Status(status, body))
    }

    /// The request arrives, and this comes back all the same.
    pub const fn status_after(status: u16, body: &'static str) -> Self {
        Self::new(Arrival::Now, Received::Status(status, body))
    }

    /// The request arrives, and a success comes back with this body.
    pub const fn body(body: &'static str) -> Self {
        Self::new(Arrival::Now, Received::Body(body))
    }
}
