//! libFuzzer's door to [`coati_fuzz::wire_header`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coati_fuzz::wire_header(data));
