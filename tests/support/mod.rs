//! What the tests stand on.

pub mod embedded;
pub mod function;
pub mod issuer;
pub mod lines;
pub mod process;
pub mod proxy;
pub mod request;
pub mod signer;
