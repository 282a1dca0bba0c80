//! libFuzzer's door to [`coati_fuzz::psk_txt`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coati_fuzz::psk_txt(data));
