//! The log: one line an event, on standard error.

use std::io;

use crate::args::{LogArgs, LogFormat};

/// Sets the log of this process up. A second call changes nothing.
///
/// Lines of other libraries are logged from WARN on: at INFO they tell about themselves.
pub fn init(args: &LogArgs) {
    use tracing_subscriber::{filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _};

    let libraries = args.log_level.min(tracing_subscriber::filter::LevelFilter::WARN);
    let noisy = ["async_nats", "hyper", "hyper_util", "kube", "kube_client", "kube_runtime", "rustls", "tower"];
    let targets = Targets::new().with_default(args.log_level);
    let targets = noisy.into_iter().fold(targets, |targets, library| targets.with_target(library, libraries));
    let registry = tracing_subscriber::registry().with(targets);
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let set = match args.log_format {
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
        LogFormat::Plain => registry.with(layer.with_ansi(false)).try_init(),
    };
    // Only tests set it up twice, and there the first one stays.
    drop(set);
}
