//! Bodies that are pushed to the metrics gateway, as a function of bytes.

use metrics_gateway::{Limits, PushFormat, encode_protobuf, parse};

/// Parses a body. What is accepted can be passed on in protobuf, and is the same there.
pub fn push(body: &[u8], format: PushFormat) {
    let Ok(families) = parse(body, format, &Limits::default()) else { return };
    let passed_on = encode_protobuf(&families);
    let again = parse(&passed_on, PushFormat::Protobuf, &Limits::default()).expect("what is written is read");
    // Not the families: a NaN is no other NaN's equal.
    assert_eq!(encode_protobuf(&again), passed_on, "what is written is read as it was");
}

const TEXT: &str = "# HELP c_total a \\\\ b\\n\n# TYPE c_total counter\nc_total{a=\"x\\\"y\",b=\"\"} 1.5e-7\n# TYPE h histogram\n\
    h_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_sum NaN\nh_count 3\n# TYPE s summary\ns{quantile=\"0.5\"} -1\ns_sum 2\n\
    s_count 3\n{\"u.8\",\"l.x\"=\"\u{fc}\"} 8 9\n";

const OPEN_METRICS: &str = "# TYPE c counter\n# UNIT c_s s\n# HELP c x\nc_total{a=\"1\"} 5 # {t=\"x\"} 0.5 12.25\nc_created{a=\"1\"} 1.5\n\
    # TYPE h histogram\nh_bucket{le=\"+Inf\"} 2 # {} 1\nh_sum 3.0\nh_count 2\n# TYPE i info\ni_info{v=\"2\"} 1\n\
    # TYPE e stateset\ne{e=\"on\"} 1\n# EOF\n";

/// Bodies to start from.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let in_protobuf = |(body, format): (&str, PushFormat)| {
        encode_protobuf(&parse(body.as_bytes(), format, &Limits::default()).expect("seeds are accepted"))
    };
    match target {
        "push_text" => vec![TEXT.into()],
        "push_open_metrics" => vec![OPEN_METRICS.into()],
        "push_protobuf" => [(TEXT, PushFormat::Text), (OPEN_METRICS, PushFormat::OpenMetrics)].map(in_protobuf).into(),
        _ => Vec::new(),
    }
}
