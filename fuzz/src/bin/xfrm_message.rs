//! libFuzzer's door to [`coati_fuzz::xfrm_message`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coati_fuzz::xfrm_message(data));
