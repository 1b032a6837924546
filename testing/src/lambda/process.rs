//! The real `bootstrap` binary behind a Runtime API.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::Settings;
use crate::issuer::Issuer;
use crate::lambda::runtime_api::RuntimeApi;
use crate::store::embedded::Embedded;

/// A process, and the Runtime API that it asks for events.
pub struct Process {
    child: Child,
    api: RuntimeApi,
    lines: Arc<Mutex<Vec<String>>>,
    output: Option<tokio::task::JoinHandle<()>>,
}

impl Deref for Process {
    type Target = RuntimeApi;

    fn deref(&self) -> &RuntimeApi {
        &self.api
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut RuntimeApi {
        &mut self.api
    }
}

/// Builds the binary with this profile, whose name is that of its folder.
pub fn build(profile: &str) -> PathBuf {
    let mut cargo = std::process::Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["build", "--quiet", "--locked", "--package", "update-distributor", "--bin", "bootstrap"]);
    let built = cargo.args(["--profile", profile]).current_dir(crate::root()).status();
    assert!(built.unwrap().success(), "it builds");
    crate::root().join("target").join(profile).join(format!("bootstrap{}", std::env::consts::EXE_SUFFIX))
}

/// The one authority, which has signed nothing. Reading those of the system would take most of the time of a start.
const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/lambda/authority.pem");

/// The environment that Lambda sets, and the settings of a deployment with this store and these keys.
pub fn environment(endpoint: &str, jwks: &str) -> Settings {
    let mut environment = super::settings(jwks);
    let of_lambda = [
        ("AWS_LAMBDA_FUNCTION_NAME", "update-distributor"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_ACCESS_KEY_ID", "any"),
        ("AWS_SECRET_ACCESS_KEY", "any"),
        ("AWS_ENDPOINT_URL_DYNAMODB", endpoint),
        ("SSL_CERT_FILE", AUTHORITY),
    ];
    environment.extend(of_lambda.map(|(name, value)| (name.to_owned(), value.to_owned())));
    environment
}

impl Process {
    /// Starts a binary with the usual environment, and with settings besides it or in its place.
    pub fn start(binary: &str, store: &Embedded, issuer: &Issuer, settings: &[(&str, &str)]) -> Self {
        let mut environment = environment(&store.endpoint(), &issuer.jwks());
        environment.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Self::spawn(binary, environment)
    }

    /// Starts a binary with this environment and nothing else of ours.
    pub fn spawn(binary: &str, mut environment: Settings) -> Self {
        let api = RuntimeApi::start();
        environment.entry("AWS_LAMBDA_RUNTIME_API".to_owned()).or_insert(api.address.to_string());
        Self::spawn_for(api, binary, environment)
    }

    /// Starts a binary with this environment, which says how to reach `api`.
    pub fn spawn_for(api: RuntimeApi, binary: &str, environment: Settings) -> Self {
        let mut child = Command::new(binary)
            .env_clear()
            // Without this one, no program of Windows has sockets. Elsewhere it does not exist.
            .envs(std::env::var_os("SystemRoot").map(|value| ("SystemRoot", value)))
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let collected = Arc::clone(&lines);
        let output = tokio::spawn(async move {
            let mut stdout = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = stdout.next_line().await {
                collected.lock().unwrap().push(line);
            }
            let mut rest = String::new();
            let _ = stderr.read_to_string(&mut rest).await;
            collected.lock().unwrap().extend(rest.lines().map(|line| format!("stderr: {line}")));
        });
        Self { child, api, lines, output: Some(output) }
    }

    pub fn id(&self) -> u32 {
        self.child.id().expect("the process runs")
    }

    /// Sends it `STOP`, `CONT` or `TERM`.
    #[cfg(unix)]
    pub async fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.id().to_string()]).status().await;
        assert!(sent.unwrap().success());
    }

    /// What it has printed so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// How many of the lines that it has printed so far contain this text.
    pub fn count(&self, text: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }

    /// Whether it has ended by itself, and all that it printed was read.
    pub fn is_over(&self) -> bool {
        self.output.as_ref().is_some_and(tokio::task::JoinHandle::is_finished)
    }

    /// Ends the process and returns all that it printed.
    pub async fn stop(mut self) -> Vec<String> {
        let _ = self.child.kill().await;
        self.output.take().unwrap().await.unwrap();
        self.lines.lock().unwrap().clone()
    }

    /// Waits until the process has ended by itself.
    pub async fn ended(&self) {
        // What it prints ends with it.
        while !self.is_over() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits for the process to end by itself, and returns what it printed.
    pub async fn end(mut self) -> (ExitStatus, Vec<String>) {
        let status = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await.expect("it ends").unwrap();
        self.output.take().unwrap().await.unwrap();
        (status, self.lines.lock().unwrap().clone())
    }
}
