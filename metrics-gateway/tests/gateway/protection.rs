//! Authentication and TLS by the web configuration.

use std::{fs, process::Command, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use testkit::wait_for;

use crate::support::{Gateway, Web};

async fn start(config: &str) -> Gateway {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    fs::write(folder.path().join("web.yml"), config).unwrap();
    for name in ["server", "other"] {
        let identity = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        fs::write(folder.path().join(format!("{name}.crt")), identity.cert.pem()).unwrap();
        fs::write(folder.path().join(format!("{name}.key")), identity.signing_key.serialize_pem()).unwrap();
    }
    Gateway::start_in(folder, &["--web.config.file=web.yml"]).await
}

async fn status(web: &Web, gateway: &Gateway, user: &str, password: &str) -> u16 {
    let basic = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    web.send(&Method::GET, &format!("{}/metrics", gateway.url()), &[("authorization", &basic)], "")
        .await
        .status
        .as_u16()
}

#[tokio::test]
async fn only_users_of_the_file_get_in_and_changes_are_noticed() {
    let hash = |password: &str| bcrypt::hash(password, 4).unwrap();
    let config = |password: &str| {
        format!(
            "basic_auth_users:\n  ann: {}\nhttp_server_config:\n  headers: {{X-Frame-Options: deny}}\n",
            hash(password)
        )
    };
    let gateway = start(&config("secret")).await;
    let web = Web::new();
    let answer = web.get(&format!("{}/metrics", gateway.url())).await;
    assert_eq!((answer.status.as_u16(), answer.headers["www-authenticate"].as_bytes()), (401, &b"Basic"[..]));
    assert_eq!(answer.headers["x-frame-options"], "deny");
    for (user, password, expected) in
        [("ann", "secret", 200), ("ann", "wrong", 401), ("bob", "secret", 401), ("", "", 401), ("ann", "secret", 200)]
    {
        assert_eq!(status(&web, &gateway, user, password).await, expected, "{user}:{password}");
    }
    assert_eq!(web.put(&format!("{}/metrics/job/j", gateway.url()), "a 1\n").await.status, 401);
    fs::write(gateway.folder().join("web.yml"), config("changed")).unwrap();
    wait_for(Duration::from_secs(20), || async { status(&web, &gateway, "ann", "changed").await == 200 }).await;
    assert_eq!(status(&web, &gateway, "ann", "secret").await, 401);
    // A file that cannot be used leaves the last one in place.
    fs::write(gateway.folder().join("web.yml"), "basic_auth_user: {}\n").unwrap();
    let reported = || async {
        status(&web, &gateway, "ann", "changed").await == 200 && gateway.server.log_tail().contains("cannot be used")
    };
    wait_for(Duration::from_secs(20), reported).await;
    assert_eq!(status(&web, &gateway, "ann", "nobody").await, 401);
}

fn curl(gateway: &Gateway, arguments: &[&str]) -> (bool, String) {
    let url = gateway.url().replace("http://127.0.0.1", "https://localhost") + "/-/healthy";
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "20"])
        .args(arguments)
        .arg(url)
        .current_dir(gateway.folder())
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_spoken_and_clients_are_asked_for_their_certificate() {
    let gateway = start("tls_server_config: {cert_file: server.crt, key_file: server.key, min_version: TLS13}\n").await;
    assert_eq!(curl(&gateway, &["--cacert", "server.crt"]), (true, "OK".to_owned()));
    assert!(!curl(&gateway, &[]).0, "an unknown certificate");
    assert!(!curl(&gateway, &["--cacert", "server.crt", "--tls-max", "1.2"]).0, "an old version");
    let asks = "tls_server_config: {cert_file: server.crt, key_file: server.key, client_auth_type: RequireAndVerifyClientCert, client_ca_file: other.crt}\n";
    let gateway = start(asks).await;
    assert_eq!(
        curl(&gateway, &["--cacert", "server.crt", "--cert", "other.crt", "--key", "other.key"]),
        (true, "OK".to_owned())
    );
    assert!(!curl(&gateway, &["--cacert", "server.crt"]).0, "no certificate");
    assert!(
        !curl(&gateway, &["--cacert", "server.crt", "--cert", "server.crt", "--key", "server.key"]).0,
        "a wrong one"
    );
}

#[tokio::test]
async fn what_is_not_supported_is_an_error_at_the_start() {
    let configs = [
        "tls_server_config: {cert_file: server.crt, key_file: server.key, cipher_suites: [TLS_AES_128_GCM_SHA256]}\n",
        "tls_server_config: {cert_file: missing.crt, key_file: server.key}\n",
        "tls_server_config: {cert_file: server.crt, key_file: other.key}\n",
        "tls_server_config: {cert_file: server.crt, key_file: server.key, min_version: TLS10}\n",
        "basic_auth: {ann: x}\n",
        "http_server_config: {headers: {Set-Cookie: x}}\n",
    ];
    let gateway = start("").await;
    for config in configs {
        fs::write(gateway.folder().join("wrong.yml"), config).unwrap();
        let program = Command::new(env!("CARGO_BIN_EXE_metrics-gateway"))
            .args(["--web.listen-address=127.0.0.1:0", "--web.config.file=wrong.yml"])
            .current_dir(gateway.folder())
            .output()
            .unwrap();
        assert_eq!(program.status.code(), Some(1), "{config}");
    }
}
