//! Makes a zip of the function, as Lambda takes it: the same bytes for the same binary, whatever the machine.
//!
//! Python's zip, and the zip that cargo-lambda makes, have the compression of the zlib that is installed, and the time of the
//! file. Here the time is zip's first, 1980-01-01, and the compressor is one of Cargo.lock.

// What it cannot read or write ends it.
#![allow(clippy::expect_used, missing_docs)]

use std::fs::{self, File};
use std::io::Write;

use flate2::Compression;
use zip::write::{SimpleFileOptions, ZipWriter};
use zip::{CompressionMethod, DateTime, System};

fn main() {
    let [binary, package] = std::env::args().skip(1).collect::<Vec<_>>().try_into().expect("package BINARY ZIP");
    let binary = fs::read(&binary).expect("the binary can be read");
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(i64::from(Compression::best().level())))
        .last_modified_time(DateTime::default())
        .system(System::Unix)
        .unix_permissions(0o755);
    let mut zip = ZipWriter::new(File::create(&package).expect("the package can be written"));
    // The name that the `provided.*` runtimes start.
    zip.start_file("bootstrap", options).expect("the name is valid");
    zip.write_all(&binary).expect("the package can be written");
    zip.finish().expect("the package can be written");
}
