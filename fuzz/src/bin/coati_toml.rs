//! libFuzzer's door to [`coati_fuzz::coati_toml`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coati_fuzz::coati_toml(data));
