//! Bodies of any bytes.
#![no_main]

use metrics_gateway::{Limits, PushFormat, parse};

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    let _ = parse(body, PushFormat::Protobuf, &Limits::default());
});
