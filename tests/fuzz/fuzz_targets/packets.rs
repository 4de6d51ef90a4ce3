#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    silbo_fuzz::target("packets", data);
});
