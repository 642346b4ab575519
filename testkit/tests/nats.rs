//! The NATS server answers, with JetStream.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpStream,
};

use testkit::NatsServer;

#[tokio::test]
async fn two_servers_offer_jetstream_on_their_own_ports() {
    let (one, other) = tokio::join!(NatsServer::start(), NatsServer::start());
    assert_ne!(one.url(), other.url());
    for server in [one, other] {
        let connection = TcpStream::connect(server.url().trim_start_matches("nats://")).unwrap();
        let mut greeting = String::new();
        BufReader::new(connection).read_line(&mut greeting).unwrap();
        assert!(greeting.starts_with("INFO {") && greeting.contains("\"jetstream\":true"), "{greeting}");
    }
}
