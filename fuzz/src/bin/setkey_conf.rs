//! libFuzzer's door to [`coati_fuzz::setkey_conf`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coati_fuzz::setkey_conf(data));
