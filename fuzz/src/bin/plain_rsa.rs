//! libFuzzer's door to [`coati_fuzz::plain_rsa`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coati_fuzz::plain_rsa(data));
