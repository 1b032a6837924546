//! The process that Lambda starts.

use std::env;
use std::error::Error;
use std::io;
#[cfg(unix)]
use std::os::unix::process::CommandExt as _;
use std::pin::pin;
#[cfg(unix)]
use std::process::Command;
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
    enable_diagnostics(Arc::clone(&writer));
    match run(&platform, &writer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writer.message(Level::Fatal, &error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Runs the function until SIGTERM.
fn run(platform: &Platform, writer: &Arc<Writer>) -> Result<(), Box<dyn Error>> {
    let config = Config::from_env(env::var_os)?;
    let endpoint = Platform::runtime_api(env::var_os)?;
    without_empty_cert_file()?;
    let log = Log::new(Arc::clone(writer), config.metrics_namespace.as_deref());
    // A single thread is cheaper per request. Several are needed only for concurrent invocations.
    let mut builder =
        if platform.concurrency > 1 { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    let runtime = builder.enable_all().build()?;
    let result = runtime.block_on(async {
        let mut terminated = pin!(runtime::sigterm()?);
        let start = async {
            let clients = Clients::from_env(&config.aws).await;
            App::start(config, clients, log).await
        };
        let app = tokio::select! {
            app = start => app,
            () = &mut terminated => return Ok(()),
        };
        Ok(runtime::run(app, endpoint, platform.concurrency, terminated).await?)
    });
    // Without waiting for a name that is being resolved.
    runtime.shutdown_background();
    result
}

/// Starts this program again without `SSL_CERT_FILE` if that is empty. The HTTP client would look for its authorities in a
/// file without a name, and this process cannot change its environment safely.
fn without_empty_cert_file() -> io::Result<()> {
    const VARIABLE: &str = "SSL_CERT_FILE";

    if env::var_os(VARIABLE).is_none_or(|file| !file.is_empty()) {
        return Ok(());
    }
    #[cfg(unix)]
    {
        Err(Command::new(env::current_exe()?).args(env::args_os().skip(1)).env_remove(VARIABLE).exec())
    }
    #[cfg(not(unix))]
    Ok(())
}
