#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    silbo_fuzz::target("channel_link", data);
});
