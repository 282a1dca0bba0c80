//! libFuzzer's door to [`coati_fuzz::racoon_conf`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coati_fuzz::racoon_conf(data));
