//! libFuzzer's door to [`coati_fuzz::wire_chain`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coati_fuzz::wire_chain(data));
