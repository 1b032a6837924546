//! The process that Lambda starts.

use std::env;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::runtime::Builder;
use update_distributor::clients::Clients;
use update_distributor::config::{Config, Platform};
use update_distributor::handler::App;
use update_distributor::log::{Level, Log, Writer, enable_diagnostics};
use update_distributor::runtime;

/// A request makes about 600 allocations, most by the SDK and the HTTP client. With the C library's allocator they would take
/// a sixth of a request's instructions.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let platform = Platform::from_env(env::var_os);
    let writer = Arc::new(Writer::new(platform.log_level, platform.log_json, Box::new(io::stdout())));
    let fatal = |message: &str| {
        writer.message(Level::Fatal, message);
        ExitCode::FAILURE
    };
    enable_diagnostics(Arc::clone(&writer));

    let config = Config::from_env(env::var_os)
        .and_then(|config| Platform::runtime_api(env::var_os).map(|endpoint| (config, endpoint)));
    let (config, endpoint) = match config {
        Ok(settings) => settings,
        Err(error) => return fatal(&error.to_string()),
    };
    let log = Log::new(Arc::clone(&writer), config.metrics_namespace.as_deref());
    // A single thread is cheaper per request. Several are needed only for concurrent invocations.
    let mut builder =
        if platform.concurrency > 1 { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fatal(&format!("no runtime: {error}")),
    };
    let Err(error) = runtime.block_on(async {
        let clients = Clients::from_env(&config.aws).await;
        let app = App::start(config, clients, log).await;
        runtime::run(app, endpoint, platform.concurrency).await
    });
    fatal(&error.to_string())
}
