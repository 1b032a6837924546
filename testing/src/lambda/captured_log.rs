//! Where the log goes, to be looked at.

use std::io::Write;
use std::sync::{Arc, Mutex};

use update_distributor::log::{Level, Log, Writer};

#[derive(Clone, Default)]
pub struct CapturedLog(pub Arc<Mutex<Vec<u8>>>);

impl Write for CapturedLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl CapturedLog {
    /// A log of JSON lines at this level, without metrics, that is written here.
    pub fn at(&self, level: Level) -> Log {
        Log::new(Arc::new(Writer::new(level, true, Box::new(self.clone()))), None)
    }
}
