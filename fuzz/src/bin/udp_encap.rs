//! libFuzzer's door to [`coati_fuzz::udp_encap`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coati_fuzz::udp_encap(data));
