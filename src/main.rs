//! The process that Lambda starts.

use std::env;
use std::io;
use std::panic;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::runtime::Builder;
use update_distributor::clients::Clients;
use update_distributor::config::{Config, Platform};
use update_distributor::handler::App;
use update_distributor::log::{self, Log};
use update_distributor::runtime;

/// A request makes about a thousand allocations, nearly all by the SDK and the HTTP client: with the allocator of the C
/// library they would be a sixth of its instructions.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let platform = Platform::from_env(env::var_os);
    let log = |namespace| Log::new(platform.log_level, platform.log_json, namespace, Box::new(io::stdout()));
    let process_log = Arc::new(log(None));
    let fatal = |message: &str| {
        process_log.fatal(message);
        ExitCode::FAILURE
    };
    log::enable_diagnostics(platform.log_level, platform.log_json);
    report_panics(Arc::clone(&process_log));

    let config = Config::from_env(env::var_os)
        .and_then(|config| Platform::runtime_api(env::var_os).map(|endpoint| (config, endpoint)));
    let (mut config, endpoint) = match config {
        Ok(settings) => settings,
        Err(error) => return fatal(&error.to_string()),
    };
    let log = log(config.metrics_namespace.take());
    // One thread costs less per request than several; more than one invocation at once is what several are for.
    let mut builder =
        if platform.concurrency > 1 { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fatal(&format!("no runtime: {error}")),
    };
    let Err(error) = runtime.block_on(async {
        let clients = Clients::from_env(config.region.clone()).await;
        let app = App::new(config, clients, log).await;
        runtime::run(app, endpoint, platform.concurrency).await
    });
    fatal(&error.to_string())
}

/// A panic's message may hold what must not be logged; where it happened cannot.
fn report_panics(log: Arc<Log>) {
    panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(|location| format!(" at {}:{}", location.file(), location.line()));
        log.error(&format!("panicked{}", place.unwrap_or_default()));
    }));
}
