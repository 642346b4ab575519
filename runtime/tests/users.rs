//! Every way to log in, and TLS, against a real nats-server.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::{fs, path::Path, time::Duration};

use async_nats::connection::State;
use prometheus_client::registry::Registry;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use runtime::{args::NatsArgs, nats::connect};
use testkit::{NatsServer, wait_for};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);
/// Time after which a connection that is not there counts as refused: dozens of attempts.
const REFUSED_AFTER: Duration = Duration::from_secs(10);

async fn server(folder: &Path, config: &str) -> NatsServer {
    let path = folder.join("nats.conf");
    fs::write(&path, config).unwrap();
    NatsServer::start_with(&["-c", path.to_str().unwrap()]).await
}

/// Whether the server takes the connection.
async fn is_let_in(args: &NatsArgs) -> bool {
    let connection = connect(args, "test", &mut Registry::default()).await.unwrap();
    let client = connection.client();
    let answered = timeout(REFUSED_AFTER, async {
        wait_for(PATIENCE, || async { client.connection_state() == State::Connected }).await;
    });
    answered.await.is_ok()
}

#[tokio::test]
async fn a_user_logs_in_with_the_password_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), "authorization { users = [{ user: services, password: secret }] }").await;
    let password = folder.path().join("password");
    let user = Some("services".to_owned());
    let args =
        NatsArgs { nats_user: user, nats_password_file: Some(password.clone()), ..NatsArgs::plain(server.url()) };
    fs::write(&password, "secret\n").unwrap();
    assert!(is_let_in(&args).await);
    fs::write(&password, "wrong\n").unwrap();
    assert!(!is_let_in(&args).await);
    assert!(!is_let_in(&NatsArgs::plain(server.url())).await);
}

#[tokio::test]
async fn a_user_logs_in_with_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let key = nkeys::KeyPair::new_user();
    let config = format!("authorization {{ users = [{{ nkey: {} }}] }}", key.public_key());
    let server = server(folder.path(), &config).await;
    let seed = folder.path().join("seed");
    fs::write(&seed, key.seed().unwrap()).unwrap();
    assert!(is_let_in(&NatsArgs { nats_nkey_file: Some(seed), ..NatsArgs::plain(server.url()) }).await);
}

#[tokio::test]
async fn a_missing_password_file_is_an_error_that_names_it() {
    let args = NatsArgs {
        nats_user: Some("u".to_owned()),
        nats_password_file: Some("/nowhere/password".into()),
        ..NatsArgs::plain("nats://127.0.0.1:1")
    };
    let error = connect(&args, "test", &mut Registry::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "read /nowhere/password");
}

#[tokio::test]
async fn both_sides_show_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    fs::write(path("ca.pem"), authority.pem()).unwrap();
    for name in ["server", "client"] {
        let key = KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
        fs::write(path(&format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }
    let file = |name: &str| path(name).display().to_string();
    let config = format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}",
        file("server.pem"),
        file("server.key"),
        file("ca.pem")
    );
    let server = server(folder.path(), &config).await;
    let url = server.url().replace("nats://", "tls://");
    let args = NatsArgs {
        nats_ca_file: Some(path("ca.pem")),
        nats_certificate_file: Some(path("client.pem")),
        nats_key_file: Some(path("client.key")),
        ..NatsArgs::plain(&url)
    };
    assert!(is_let_in(&args).await);
    assert!(!is_let_in(&NatsArgs { nats_certificate_file: None, nats_key_file: None, ..args.clone() }).await);
    assert!(!is_let_in(&NatsArgs { nats_ca_file: None, ..args }).await);
}
