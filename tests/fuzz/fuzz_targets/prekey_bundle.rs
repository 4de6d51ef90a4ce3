#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    silbo_fuzz::target("prekey_bundle", data);
});
