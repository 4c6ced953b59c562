#![no_main]
#![allow(
    unsafe_code,
    missing_docs,
    reason = "libFuzzer calls the exported function that the macro makes"
)]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| overboot_fuzz::unpack(bytes));
