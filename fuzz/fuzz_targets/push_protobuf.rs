#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| stowage_fuzz::push(body, metrics_gateway::PushFormat::Protobuf));
