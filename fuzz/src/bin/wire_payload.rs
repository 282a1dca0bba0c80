//! libFuzzer's door to [`coati_fuzz::wire_payload`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coati_fuzz::wire_payload(data));
