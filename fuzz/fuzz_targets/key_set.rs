#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| testing::invariants::key_set(input));
