//! Pushes that mean harm cost bounded memory and get a clear answer.

use std::io::{Read as _, Write as _};

use http::Method;

use crate::{
    generate::gzip,
    support::{Gateway, Web},
};

/// More than this a gateway that holds nothing must not use, whatever it is sent: limits of one push (16 MiB decoded, 16 times that
/// while it is read), and room for two at a time.
const MEMORY_MAX: f64 = 700e6;

/// What it is, the status it must get, headers, body.
type Case = (&'static str, u16, Vec<(&'static str, &'static str)>, Vec<u8>);

#[tokio::test]
async fn hostile_bodies_get_a_clear_answer_and_bounded_memory() {
    let gateway = Gateway::start(&[]).await;
    let (web, url) = (Web::new(), format!("{}/metrics/job/j", gateway.url()));
    let many_labels: String = (0..1_000_000).map(|number| format!("l{number}=\"\",")).collect();
    let protobuf_type = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
    let mut empty_series = vec![10, 1, b'x'];
    empty_series.extend(std::iter::repeat_n([34, 0], 2_000_000).flatten());
    // The length in front of it, as a varint.
    let mut bomb = Vec::new();
    let mut length = empty_series.len();
    while length >= 0x80 {
        bomb.push(length.to_le_bytes()[0] | 0x80);
        length >>= 7;
    }
    bomb.push(length.to_le_bytes()[0]);
    bomb.extend(empty_series);
    let zeros = gzip(&vec![b'\n'; 200 << 20]);
    let zstd_zeros = zstd::encode_all(&vec![b'\n'; 200 << 20][..], 1).unwrap();
    let label = "x".repeat(100_000);
    let cases: Vec<Case> = vec![
        ("a million labels", 413, vec![], format!("a{{{many_labels}}} 1\n").into_bytes()),
        ("half a million labels", 400, vec![], format!("a{{{}}} 1\n", &many_labels[..6_000_000]).into_bytes()),
        ("a gzip bomb", 413, vec![("content-encoding", "gzip")], zeros),
        ("a zstd bomb", 413, vec![("content-encoding", "zstd")], zstd_zeros),
        ("empty series", 413, vec![("content-type", protobuf_type)], bomb),
        ("invalid UTF-8", 400, vec![], b"a{b=\"\xff\xfe\"} 1\n".to_vec()),
        ("a long label", 400, vec![], format!("a{{b=\"{label}\"}} 1\n").into_bytes()),
        ("a long name", 400, vec![], format!("{label} 1\n").into_bytes()),
        ("no gzip", 400, vec![("content-encoding", "gzip")], b"a 1\n".to_vec()),
        ("cut gzip", 400, vec![("content-encoding", "gzip")], gzip(b"a 1\n")[..15].to_vec()),
        (
            "too many series",
            413,
            vec![],
            (0..200_000).map(|number| format!("a{{n=\"{number}\"}} 1\n")).collect::<String>().into_bytes(),
        ),
        ("too large", 413, vec![], vec![b'\n'; 9 << 20]),
        ("a wrong time to live", 400, vec![("metrics-ttl", "soon")], b"a 1\n".to_vec()),
    ];
    for (what, status, headers, body) in cases {
        let answer = web.send(&Method::PUT, &url, &headers, body).await;
        assert_eq!(answer.status.as_u16(), status, "{what}: {}", answer.text());
        assert!(!answer.body.is_empty(), "{what}");
    }
    assert!(gateway.resident_bytes(&web).await < MEMORY_MAX, "{}", gateway.resident_bytes(&web).await);
    assert_eq!(web.put(&url, "fine 1\n").await.status, 200);
}

#[tokio::test]
async fn limits_on_everything_that_is_stored_are_answered_with_429() {
    let gateway = Gateway::start(&["--limit.groups=2", "--limit.series=5"]).await;
    let web = Web::new();
    let put = |group: &str, body: &'static str| {
        let (web, url) = (&web, format!("{}/metrics/job/{group}", gateway.url()));
        async move { web.put(&url, body).await.status.as_u16() }
    };
    assert_eq!((put("a", "x 1\n").await, put("b", "x 1\n").await, put("c", "x 1\n").await), (200, 200, 429));
    // A refused push makes no group either, also when it is refused for what it says.
    assert_eq!(put("c", "x 1 5\n").await, 400);
    assert!(!web.scrape(&gateway.url()).await.contains("job=\"c\""));
    assert_eq!(put("a", "a 1\nb 1\nc 1\nd 1\n").await, 429);
    assert_eq!(put("a", "a 1\nb 1\nc 1\n").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_body_and_a_silent_client_are_cut_off() {
    let gateway = Gateway::start(&["--limit.body-bytes=100000"]).await;
    let address = gateway.url().trim_start_matches("http://").to_owned();
    let status = |request: &str, repeated: &'static [u8]| {
        let (mut stream, request) = (std::net::TcpStream::connect(&address).unwrap(), request.to_owned());
        move || {
            stream.write_all(request.as_bytes()).unwrap();
            // Until the gateway has enough and closes.
            for _ in 0..100_000 {
                if repeated.is_empty() || stream.write_all(repeated).is_err() {
                    break;
                }
            }
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
        }
    };
    let head = "PUT /metrics/job/j HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk: &'static str = Box::leak(format!("100\r\n{}\r\n", "#".repeat(256)).into_boxed_str());
    let endless = tokio::task::spawn_blocking(status(head, chunk.as_bytes())).await.unwrap();
    assert!(endless.is_empty() || endless.contains("413"), "{endless}");
    // Half a head and then nothing: closed after the time for heads, with or without an answer.
    let silent = tokio::task::spawn_blocking(status("PUT /metrics/job/j HTTP/1.1\r\nhost:", b"")).await.unwrap();
    assert!(silent.is_empty() || silent.contains("408"), "{silent}");
    assert_eq!(Web::new().put(&format!("{}/metrics/job/j", gateway.url()), "fine 1\n").await.status, 200);
}
